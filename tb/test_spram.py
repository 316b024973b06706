"""The memory in an iCE40's SPRAM, with the vendor's cells as Yosys models them: see `spram_tb`."""

import pytest
import runner
from rowcast import Config, preset
from spram_top import SpramTop

CONFIGS = {"tiny": preset("tiny"), "narrow": Config(lanes=4, dram_bytes=4)}


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("case", runner.cases("spram_tb"))
def test_spram(name, case):
    runner.run(SpramTop, CONFIGS[name], module="spram_tb", case=case)
