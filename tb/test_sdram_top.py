"""The SDRAM controller in Verilog under a foreign AXI manager: see `sdram_tb`."""

import pytest
import runner
from rowcast import Config
from sdram_top import SdramTop

CONFIGS = {
    "8 bytes": Config(),
    "32 bytes": Config(dram_bytes=32, burst_beats=64),
}


@pytest.mark.parametrize("case", runner.cases("sdram_tb"))
@pytest.mark.parametrize("name", CONFIGS)
def test_sdram(name, case):
    runner.run(SdramTop, CONFIGS[name], module="sdram_tb", case=case)
