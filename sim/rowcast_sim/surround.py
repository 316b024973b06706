"""The Verilog between the design and the C++ of `harness/`: inputs through flip-flops, and what is watched inside.

The memory sets its outputs at the clock edge, as flip-flops would.  As flip-flops of the simulated logic they save the
simulator a second evaluation of everything that depends on an input in the same cycle: a fifth of its time.
"""

import re

from rowcast.registers import CAUSES, COUNTERS

__all__ = ["EVENTS", "TOP", "surround"]

TOP = "surround"
# Counters whose events are added up for each layer; the harness itself counts cycles, causes, and beats on the bus.
_OWN = ("cycles", *(f"cause_{cause}" for cause in CAUSES), "read_beats", "write_beats")
EVENTS = tuple(name for name in COUNTERS if name not in _OWN)
# What the design's own modules call the events of the previous cycle; what each unit does.
_STEP = "dut.counters.step_{}"
_UNITS = "{dut.engine.post.vector_run, dut.engine.units}"

_PORT = re.compile(r"\b(input|output)\s+(?:reg\s+|wire\s+)?(\[[^\]]*\]\s*)?(\w+)")


def surround(verilog, top):
    """A module `TOP` with the ports of `top` and two outputs, `events` and `units`.

    A design without the counters and the engine of `Accelerator` has no events, and units that do nothing.
    """
    text = re.search(rf"^module {re.escape(top)}\b.*?^endmodule", verilog, re.MULTILINE | re.DOTALL)
    if text is None:
        return ""  # Verilator says so better
    ports = [(way, size or "", name) for way, size, name in _PORT.findall(text[0])]
    whole = "module rowcast_counters(" in verilog
    events = [_STEP.format(name) if whole else "0" for name in EVENTS]
    inputs = [(size, name) for way, size, name in ports if way == "input"]
    held = [(size, name) for size, name in inputs if name == "rst" or name.startswith("m_axi_")]
    names = {name for _, name in held}
    lines = [
        f"module {TOP}(",
        *(f"  {way} {size}{name}," for way, size, name in ports),
        f"  output [7:0] events [0:{len(EVENTS) - 1}], output [15:0] units",
        ");",
        *(f"  reg {size}{name}_q;" for size, name in held),
        "  always @(posedge clk) begin",
        *(f"    {name}_q <= {name};" for _, name in held),
        "  end",
        f"  {top} dut(" + ", ".join(f".{name}({name}{'_q' if name in names else ''})" for _, _, name in ports) + ");",
        *(f"  assign events[{i}] = {event};" for i, event in enumerate(events)),
        f"  assign units = {_UNITS if whole else 0};",
        "endmodule",
    ]
    return "\n".join(lines) + "\n"
