"""The accelerator's Verilog under a foreign AXI manager and memory: see `accelerator_tb`."""

import pytest
import runner
from rowcast import Accelerator, Config, preset

CONFIGS = {
    "2x2": Config(
        rows=2, columns=2, psum_pixels=32, act_words=2048, act_banks=2, filter_buffer_words=512, param_channels=128,
        burst_beats=16,
    ),
    "tiny": preset("tiny"),
    # Beats of four words, two words a network cycle, addresses above 4 GiB, few bursts under way, an odd array.
    "wide": Config(
        rows=1, columns=3, lanes=4, dram_bytes=16, noc_words=2, psum_pixels=16, act_words=4096,
        filter_buffer_words=1024, address_width=40, burst_beats=4, outstanding_reads=2, param_channels=64,
        queue_depth=8,
    ),
}  # fmt: skip
# "2x2" runs everything; the others what depends on the configuration.
ALSO = {
    "tiny": ("every_node", "different_programs"),
    "wide": (
        "every_node", "different_programs", "bad_instructions", "out_of_order", "percent=40", "percent=50", "percent=30",
        "windows", "program_outside", "hard_reset",
    ),
}  # fmt: skip


def _selected():
    for name in CONFIGS:
        for case in runner.cases("accelerator_tb"):
            if name not in ALSO or any(part in case for part in ALSO[name]):
                yield pytest.param(name, case, id=f"{name}-{case}")


@pytest.mark.parametrize("name, case", _selected())
def test_accelerator(name, case):
    runner.run(Accelerator, CONFIGS[name], module="accelerator_tb", case=case)
