"""The host's registers in Verilog under a foreign AXI4-Lite manager: see `host_tb`."""

import pytest
import runner
from host_top import HostTop
from rowcast import preset

CONFIGS = {
    "20 bits": preset("base").replace(address_width=20, counter_width=64),
    "64 bits": preset("base").replace(address_width=64),
}


@pytest.mark.parametrize("case", runner.cases("host_tb"))
@pytest.mark.parametrize("name", CONFIGS)
def test_host(name, case):
    runner.run(HostTop, CONFIGS[name], module="host_tb", case=case)
