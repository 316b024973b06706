"""The accelerator's Verilog under a foreign AXI manager and memory: see `accelerator_tb`."""

import pytest
import runner
from rowcast import Accelerator, Config, preset

CONFIGS = {
    "tiny": preset("tiny"),
    "2x2": Config(rows=2, columns=2, act_words=2048, filter_buffer_words=512, param_channels=128, burst_beats=16),
    # Beats of two instructions and four words, two words a network cycle, addresses above 4 GiB.
    "wide": Config(
        rows=1, columns=3, lanes=4, dram_bytes=16, noc_words=2, act_words=4096, filter_buffer_words=1024, address_width=40,
        burst_beats=4, outstanding_reads=2, param_channels=64, queue_depth=8,
    ),
}  # fmt: skip
ONLY = {"lenet5_digit": ("2x2",)}


@pytest.mark.parametrize("case", runner.cases("accelerator_tb"))
@pytest.mark.parametrize("name", CONFIGS)
def test_accelerator(name, case):
    if name not in ONLY.get(case, CONFIGS):
        pytest.skip(f"runs on {', '.join(ONLY[case])} only")
    runner.run(Accelerator, CONFIGS[name], module="accelerator_tb", case=case)
