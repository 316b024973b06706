"""The command line: what goes in, what comes out, and one clear line for everything that cannot work."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from click.testing import CliRunner

from rowcast import PRESETS, isa
from rowcast.config import ConfigError
from rowcast.registers import COUNTERS, REGISTERS, Error
from rowcast_models.compiler.network import CompileError
from rowcast_models.zoo import digits, to_int8
from rowcast_sim import run as run_module
from rowcast_sim.cli import main
from rowcast_sim.documents import c_header, field_bits, interface_document
from rowcast_sim.tools import ToolError
from rowcast_sim.verilated import ProtocolViolation, SimulationStuck

IMAGES, LABELS = digits()


def rowcast(*arguments):
    """The result of a command."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def refused(*arguments, match):
    """The command ends with status 2 and exactly one line, which matches."""
    result = rowcast(*arguments)
    assert result.exit_code == 2, (result.exit_code, result.output, result.exception)
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1, result.stderr
    assert re.search(match, result.stderr), result.stderr
    assert not result.stdout


@pytest.fixture
def images(tmp_path):
    """A file of three digits."""
    path = tmp_path / "images.npy"
    np.save(path, IMAGES[:3])
    return path


# The command line itself -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [None, "", "demo", "generate", "run", "export", "config"])
def test_help(command):
    result = rowcast(*([command] if command else []), *(["--help"] if command is not None else []))
    assert result.exit_code == 0 and "Usage:" in result.stdout and not result.stderr


@pytest.mark.parametrize("arguments, match", [
    (["dance"], "no such command 'dance'"),
    (["--loud"], "no such option '--loud'"),
    (["run"], "missing argument 'MODEL' .see .* run --help"),
    (["run", "lenet5"], "missing option '--input'"),
    (["demo", "--digits", "0"], "0 is not in the range 1<=x<=500"),
    (["demo", "--preset", "huge"], "'huge' is not one of 'tiny', 'micro', 'small', 'base', 'wide', 'large'"),
    (["generate"], "missing option '-o'"),
], ids=str)  # fmt: skip
def test_usage_errors(arguments, match):
    refused(*arguments, match=match)


@pytest.mark.parametrize("arguments, match", [
    (["--set", "rows"], "--set must be FIELD=VALUE, not 'rows'"),
    (["--set", "rows=two"], "--set rows: the value must be an integer, not 'two'"),
    (["--set", "rows=99"], "rows must be an integer from 1 to 32, not 99"),
    (["--set", "lines=2"], "there is no field 'lines'; fields are: rows, columns"),
    (["--set", "dram_bytes=4"], r"dram_bytes \(4\) must be at least lanes \(8\)"),
    (["--preset", "tiny", "--config", "x.json"], "--preset and --config exclude each other"),
    (["--config", "missing.json"], "missing.json: No such file"),
])  # fmt: skip
def test_bad_configurations(arguments, match, tmp_path):
    refused("config", *arguments, match=match)
    refused("generate", *arguments, "-o", tmp_path / "out", match=match)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text, match", [
    ("[1", "not JSON: .*line 1"),
    ("[1]", "a configuration is a JSON object of fields, not a list"),
    ('{"rows": 2.5}', "rows must be an integer, not 2.5"),
    ('{"rows": true}', "rows must be an integer, not True"),
    ('{"raws": 2}', "there is no field 'raws'"),
    ("\xff", "not JSON"),
])  # fmt: skip
def test_bad_configuration_files(text, match, tmp_path):
    path = tmp_path / "config.json"
    path.write_bytes(text.encode("latin-1"))
    refused("config", "--config", path, match=match)


def test_configurations(tmp_path):
    assert json.loads(rowcast("config", "--preset", "tiny", "--json").stdout) == PRESETS["tiny"].to_dict()
    path = tmp_path / "config.json"
    path.write_text('{"rows": 2}')
    shown = json.loads(rowcast("config", "--config", path, "--set", "columns=0x3", "--set", "lanes=4", "--json").stdout)
    assert shown == PRESETS["base"].replace(rows=2, columns=3, lanes=4).to_dict()
    assert f"{PRESETS['base'].digest():08x}" in rowcast("config").stdout


# Running -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["golden", "functional"])
@pytest.mark.parametrize("batch", [False, True])
def test_run(backend, batch, images, tmp_path):
    target = tmp_path / "logits.npy"
    result = rowcast("run", "lenet5", "--input", images, "--output", target, "--backend", backend, *["--batch"] * batch)
    assert result.exit_code == 0, result.output
    logits = np.load(target)
    assert logits.dtype == np.int8 and logits.shape == (3, 10)
    np.testing.assert_array_equal(logits.argmax(1), LABELS[:3])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images.npy", "logits.npy"]


def test_run_takes_int8_in_any_order(tmp_path):
    path, target, outputs = tmp_path / "images.npy", tmp_path / "y", []
    for array in (IMAGES[:2], np.asfortranarray(IMAGES[:2]), to_int8(IMAGES[:2])):
        np.save(path, array)
        result = rowcast("run", "lenet5", "--input", path, "--output", target, "--backend", "golden")
        assert result.exit_code == 0, result.output
        outputs.append(np.load(target))
    np.testing.assert_array_equal(outputs[0], outputs[1])
    np.testing.assert_array_equal(outputs[0], outputs[2])


def test_check(images, monkeypatch):
    arguments = ("run", "lenet5", "--input", images, "--backend", "functional", "--check")
    result = rowcast(*arguments)
    assert result.exit_code == 0 and "21 of 21 tensors equal the golden bit for bit." in result.stdout
    evaluate = run_module.evaluate

    def wrong(graph, inputs):
        values = evaluate(graph, inputs)
        values["S2"][1, 3, 2, 5] ^= 1
        return values

    monkeypatch.setattr(run_module, "evaluate", wrong)
    result = rowcast(*arguments)
    assert result.exit_code == 1
    assert "First difference: run 1: tensor 'S2': 1 of 1176 elements differ, first at [0, 3, 2, 5]" in result.stdout
    assert "20 of 21 tensors equal" in result.stdout


def save(path, values):
    """Write a .npy file, or bytes as they are."""
    if isinstance(values, bytes):
        path.write_bytes(values)
    else:
        np.save(path, values, allow_pickle=True)
    return path


def npy(values):
    """The bytes of a .npy file."""
    import io

    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


@pytest.mark.parametrize("values, match", [
    (IMAGES[0], r"must be int8 \[N, 28, 28, 1\] or uint8 \[N, 28, 28\], not uint8 \[28, 28\]"),
    (IMAGES[:2].astype(np.float32), r"not float32 \[2, 28, 28\]"),
    (IMAGES[:2].astype(np.int8), r"not int8 \[2, 28, 28\]"),
    (IMAGES[:2, :27], r"not uint8 \[2, 27, 28\]"),
    (np.uint8(3), r"not uint8 \[\]"),
    (IMAGES[:0], "there are no images in it"),
    (np.array([{}, 1], object), "it holds pickled Python objects, not numbers"),
    (npy(IMAGES[:2])[:-1], "it ends before its last value"),
    (npy(IMAGES[:2])[:50], "not a usable .npy file: EOF"),
    (npy(IMAGES[:2]).replace(b"(2, 28, 28), ", b"(2, 28, 9999999999), "), "it ends before its last value"),
    (npy(IMAGES[:2]).replace(b"(2, 28, 28)", b"(9**99,2,1)"), "not a usable .npy file: malformed"),
    (b"", "not a .npy file"),
    (b"PK\x03\x04 an archive", "not a .npy file"),
])  # fmt: skip
def test_bad_inputs(values, match, tmp_path):
    path = save(tmp_path / "x.npy", values)
    refused("run", "lenet5", "--input", path, "--output", tmp_path / "y.npy", match=match)
    assert not (tmp_path / "y.npy").exists()


def test_bad_places(images, tmp_path):
    refused("run", "lenet5", "--input", tmp_path / "none.npy", match="none.npy: No such file or directory")
    refused("run", "lenet5", "--input", tmp_path, match="not a file")
    start = ("run", "lenet5", "--input", images, "--output")
    refused(*start, tmp_path / "none" / "y.npy", match="there is no folder .*none")
    refused(*start, tmp_path, match="is not a file but a folder")
    refused(*start, "/dev/null", match="is not a file but a device")


def test_bad_jobs(images):
    start = ("run", "lenet5", "--input", images)
    refused("run", "lenet6", "--input", images, match="there is no network 'lenet6'; networks are: lenet5, alexnet")
    refused(*start, "--backend", "golden", "--check", match="--check compares with the golden")
    refused(*start, "--memory", "64K", match=r"the program needs [\d,]+ bytes of memory .*, more than --memory 65,536")
    refused(*start, "--memory", "64Q", match="must be a number of bytes above 0, such as 65536 or 64K, not '64Q'")
    refused(*start, "--memory", "-1", match="must be a number of bytes")
    refused(*start, "--preset", "tiny", "--set", "ifmap_words=32", "--set", "filter_words=32", match="node 'C")
    assert rowcast(*start, "--memory", "1MiB", "--backend", "golden").exit_code == 0


def test_export(tmp_path):
    from rowcast_models.load import load_model

    path = tmp_path / "lenet5.onnx"
    result = rowcast("export", "lenet5", "-o", path)
    assert result.exit_code == 0 and f"{path.stat().st_size:,} bytes" in " ".join(result.stdout.split())
    assert load_model(path).model.outputs == ("OUT",)
    refused("export", "lenet6", "-o", path, match="there is no network 'lenet6'; networks are: lenet5, alexnet")
    refused("export", "lenet5", "-o", tmp_path / "lenet5.tflite", match="must end in .onnx")
    refused("export", "lenet5", "-o", tmp_path / "none" / "x.onnx", match="there is no folder")


@pytest.mark.parametrize("error", [
    SimulationStuck("no interrupt in 5 cycles"), ProtocolViolation("cycle 3: AR: too long"),
    CompileError("node 'a': no"), ConfigError("rows must be"), TimeoutError("no end after 9 cycles"),
    ToolError("g++ is needed"), OSError(28, "full", "x"),
    ToolError("the RTL simulator does not compile:\n%Error: rowcast.v:7: syntax\nmore"),
], ids=lambda error: type(error).__name__)  # fmt: skip
def test_problems_of_a_run_are_one_line(error, images, monkeypatch, tmp_path):
    monkeypatch.setenv("ROWCAST_CACHE", str(tmp_path))

    def fail(*_):
        raise error

    monkeypatch.setattr(run_module, "_run", fail)
    line = "x: full" if error.args[1:] else str(error).splitlines()[0]
    refused("run", "lenet5", "--input", images, match=f"^error: {re.escape(line)}")
    if "\n" in str(error):
        assert (tmp_path / "last-error.txt").read_text().endswith("more\n")


def test_engine_errors_are_expected():
    from rowcast_sim import pysim, verilated
    from rowcast_sim.errors import is_expected

    assert issubclass(pysim.EngineError, verilated.SimulationError)
    assert is_expected(pysim.EngineError(Error.FIELD, 3))
    assert not is_expected(KeyError("a bug"))


def test_bugs_keep_their_traceback(images, monkeypatch):
    def fail(*_):
        raise KeyError("a bug")

    monkeypatch.setattr(run_module, "_run", fail)
    assert isinstance(rowcast("run", "lenet5", "--input", images).exception, KeyError)


# What is generated ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """Folder and output of `generate`."""
    folder = tmp_path_factory.mktemp("generate") / "not yet" / "there"
    result = rowcast("generate", "--preset", "tiny", "--set", "queue_depth=16", "-o", folder)
    assert result.exit_code == 0, result.output
    return folder, result.stdout


def test_generate(generated):
    folder, output = generated
    assert {path.name for path in folder.iterdir()} == {
        "rowcast.v", "rowcast.h", "rowcast_driver.h", "rowcast_driver.c", "rowcast.core", "rowcast.vlt", "rowcast.md",
        "rowcast.json",
    }  # fmt: skip
    assert not [path for path in folder.parent.rglob(".*")]
    for path in folder.iterdir():
        assert f"{path.stat().st_size:,}" in output
    config = PRESETS["tiny"].replace(queue_depth=16)
    assert json.loads((folder / "rowcast.json").read_text()) == config.to_dict()
    assert f"0x{config.digest():08x}u" in (folder / "rowcast.h").read_text()
    assert "module rowcast(" in (folder / "rowcast.v").read_text()


@pytest.mark.parametrize("language", [["c++", "-std=c++11"], ["c", "-std=c99"]], ids=["c++", "c"])
def test_header_compiles(language, tmp_path):
    if shutil.which("g++") is None:
        pytest.skip("g++ is missing")
    path = tmp_path / "rowcast.h"
    path.write_text(c_header(PRESETS["base"]))
    command = ["g++", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-pedantic", "-x", *language, str(path)]
    assert subprocess.run(command, capture_output=True, text=True).stderr == ""


def test_header_has_everything():
    header = c_header(PRESETS["base"])
    names = re.findall(r"#define (\w+) +\S+", header) + re.findall(r"^ +(\w+) =", header, re.MULTILINE)
    assert len(names) == len(set(names))
    for register in REGISTERS:
        assert re.search(rf"ROWCAST_REG_{register.name} +0x{register.offset:03x}u", header)
    for form in isa.FORMATS.values():
        assert f"ROWCAST_OP_{form.name} = {form.opcode}" in header
    assert "ROWCAST_CONTROL_SOFT_RESET" in names and "ROWCAST_IRQ_STATUS_ERROR" in names


@pytest.mark.parametrize("form", isa.FORMATS.values(), ids=lambda form: form.name)
def test_field_positions(form):
    """Alone, each field is where the header and the document say."""
    for field, position in field_bits(form):
        value = -1 if field.signed else 1
        code = int.from_bytes(isa.encode(isa.make(form.name, **{field.name: value})), "little")
        ones = (1 << field.width) - 1 if field.signed else 1
        assert code == form.opcode | ones << position, field.name


def test_document_has_everything():
    text = interface_document(PRESETS["tiny"])
    for register in REGISTERS:
        assert f"| `0x{register.offset:03x}` | {register.name} |" in text
    for form in isa.FORMATS.values():
        assert f"### {form.name}\n" in text
    for name in (*COUNTERS, "m_axi_awaddr", "s_axil_rdata", "irq", "cause", "clk", "rst"):
        assert f"`{name}`" in text
    for error in Error:
        assert f"| {error.value} | {error.name} |" in text
    widths = dict(re.findall(r"\| `(\w+)` \| \w+ \| (\d+) \|", text))
    assert widths["m_axi_wdata"] == "64" and widths["s_axil_wdata"] == "32" and widths["irq"] == "1"


def test_generate_leaves_nothing_behind(tmp_path, monkeypatch):
    from rowcast import emit

    def fail(*_):
        raise emit.EmissionError("no place in Verilog:\na reason")

    monkeypatch.setenv("ROWCAST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(emit, "emit_files", fail)
    refused("generate", "-o", tmp_path / "out", match="no place in Verilog: a reason")
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
    (tmp_path / "file").write_text("")
    refused("generate", "-o", tmp_path / "file", match="is not a folder")
