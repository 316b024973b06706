"""LOAD and STORE in Verilog under a foreign AXI memory: see `dma_tb`."""

import pytest
import runner
from dma_top import DmaTop
from rowcast import Config

SMALL = dict(rows=1, columns=1, act_words=1024, filter_buffer_words=256, param_channels=128)
CONFIGS = {
    "a word a beat": Config(dram_bytes=8, burst_beats=16, outstanding_reads=4, **SMALL),
    "four words a beat": Config(lanes=4, dram_bytes=16, burst_beats=4, outstanding_reads=2, **SMALL),
}


@pytest.mark.parametrize("case", runner.cases("dma_tb"))
@pytest.mark.parametrize("name", CONFIGS)
def test_dma(name, case):
    runner.run(DmaTop, CONFIGS[name], module="dma_tb", case=case)
