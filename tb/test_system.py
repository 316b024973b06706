"""The system on chip's Verilog behind a foreign UART model: see `system_tb`.

With ROWCAST_LONG=1 in the environment LeNet-5 as well, which takes minutes.
"""

import os

import pytest
import runner
from rowcast import preset
from system_top import SystemTop

pytest.importorskip("cocotbext.uart", reason="cocotbext-uart is missing: pip install rowcast[test]")


LONG = {"lenet"}
CASES = [case for case in runner.cases("system_tb") if case not in LONG or os.environ.get("ROWCAST_LONG")]


@pytest.mark.parametrize("case", ["small_network"])
def test_compact(case):
    runner.run(SystemTop, preset("micro"), module="system_tb", case=case)


@pytest.mark.parametrize("case", CASES)
def test_system(case):
    runner.run(SystemTop, preset("tiny"), module="system_tb", case=case)
