# make demo, make test: everything else comes by itself.  Needs python3 (3.11 or later), g++, make, git.

PYTHON ?= python3
BIN := .venv/bin
WORKERS ?= 2
# The environment is made again when the list of dependencies changes, and not touched otherwise.  The demo needs the
# base dependencies only; tests also need the runtimes that they compare with.
READY := .venv/.ready
TESTS := .venv/.tests

.PHONY: demo test test-long bench lint clean distclean

demo: $(READY)
	$(BIN)/rowcast demo

# BLAS with a thread a core, in every worker, would wait for itself.
test: $(TESTS)
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS)

# LeNet-5 through the pins of the system on chip's UART, in simulation: some minutes.
test-long: $(TESTS)
	ROWCAST_LONG=1 $(BIN)/python -m pytest -k lenet tb/test_system.py

# One figure of the README a target: bench-NAME runs `rowcast bench NAME`.
bench-%: $(READY)
	$(BIN)/rowcast bench $*

bench: bench-layers bench-area bench-speed bench-tiny

lint: $(READY)
	$(BIN)/python -m pip install --quiet '.[lint]'
	$(BIN)/python -m ruff check .

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Rowcast needs Python 3.11 or later: make PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(TESTS): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@

# What the flows made, compiled simulators included; the environment stays.
clean:
	test ! -d build || find build -mindepth 1 ! -name README.md -delete
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

distclean: clean
	rm -rf .venv
