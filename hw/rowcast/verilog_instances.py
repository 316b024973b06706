"""Memories, instances and pins of a module as Verilog."""

from .rtlil_parse import Bits, Cell, width_of
from .verilog_expressions import constant
from .verilog_values import bit_range, enables, parameter, split

__all__ = ["InstanceWriter"]


class InstanceWriter:
    """The part of a module's writer that needs no expressions of its own."""

    def _used_memories(self):
        used = []
        for name in self.prepared.live:
            driver = self.prepared.drivers.get(name)
            if isinstance(driver, Cell) and driver.kind == "$memrd_v2":
                used.append(driver.parameters["MEMID"].lstrip("\\"))
        return [memory for name, memory in self.design.memories.items() if name in used]

    def _memory(self, memory):
        name = self.names["memory", memory.name]
        yield f"  {self._attributes(memory)}reg {bit_range(memory.width)}{name} [{memory.depth - 1}:0];"
        mine = [cell for cell in self.design.cells if cell.parameters.get("MEMID") in (memory.name, f"\\{memory.name}")]
        contents = next((cell for cell in mine if cell.kind == "$meminit_v2"), None)
        if contents is None:
            index = self._name(("index", memory.name), f"{name}_i")
            yield "`ifndef SYNTHESIS"
            yield f"  integer {index};"
            loop = f"for ({index} = 0; {index} < {memory.depth}; {index} = {index} + 1)"
            yield f"  initial {loop} {name}[{index}] = {constant('0' * memory.width)};"
            yield "`endif"
        else:
            digits = "".join(part.digits for part in contents.ports["DATA"])
            yield "  initial begin"
            for row in range(memory.depth):
                end = len(digits) - row * memory.width
                yield f"    {name}[{row}] = {constant(digits[end - memory.width : end])};"
            yield "  end"
        for cell in mine:
            if cell.kind == "$memwr_v2":
                edge = "posedge" if cell.parameters["CLK_POLARITY"] else "negedge"
                yield f"  always @({edge} {self.value(cell.ports['CLK'])[0]}) begin"
                for enable, high, low in enables(cell.ports["EN"]):
                    yield self._memory_write(cell, memory, enable, high, low)
                yield "  end"

    def _memory_write(self, cell, memory, enable, high, low):
        word = self._memory_word(memory.name, cell.ports["ADDR"])
        value = split(cell.ports["DATA"], [memory.width - 1 - high, high - low + 1, low])[1]
        if (high, low) != (memory.width - 1, 0):
            word += f"[{high}:{low}]" if high > low else f"[{high}]"
        assign = f"{word} <= {self.value(value)[0]};"
        return f"    {assign}" if enable == Bits("1") else f"    if ({self.value((enable,))[0]}) {assign}"

    def _memory_read(self, target, cell):
        """A read port with a register: old contents, or for the write ports of its mask what they write."""
        address = cell.ports["ADDR"]
        lines = [f"{target} <= {self._memory_word(cell.parameters['MEMID'], address)};"]
        mask = cell.parameters["TRANSPARENCY_MASK"][0][::-1]
        for write in self.design.cells:
            if write.kind == "$memwr_v2" and write.parameters["MEMID"] == cell.parameters["MEMID"]:
                if mask[write.parameters["PORTID"]] != "1":
                    continue
                width = width_of(write.ports["DATA"])
                same = f"{self._operand(write.ports['ADDR'])} == {self._operand(address)}" if address else "1'b1"
                for enable, high, low in enables(write.ports["EN"]):
                    value = split(write.ports["DATA"], [width - 1 - high, high - low + 1, low])[1]
                    bits = "" if high - low + 1 == width else f"[{high}:{low}]" if high > low else f"[{high}]"
                    condition = f"{self._operand((enable,))} & ({same})"
                    lines.append(f"if ({condition}) {target}{bits} <= {self.value(value)[0]};")
        enable = cell.ports["EN"]
        if enable == (Bits("1"),):
            return [f"    {line}" for line in lines]
        return self._block(f"if ({self.value(enable)[0]})", [f"      {line}" for line in lines], "    ")

    def _instance(self, cell):
        table, outputs = self.ports.get(cell.kind, {}), self.prepared.outputs[id(cell)]
        connections = []
        for port, value in cell.ports.items():
            if port in outputs:
                wire = value[0].wire
                text = self._wire_name(wire) if wire in self.prepared.live else ""
            else:
                text = self.value(value)[0]
            connections.append(f".{table.get(port, port)}({text})")
        parameters = ", ".join(f".{key}({parameter(value)})" for key, value in cell.parameters.items())
        kind = f"{cell.kind} #({parameters})" if parameters else cell.kind
        return f"  {self._attributes(cell)}{kind} {self.names['cell', cell.name]}({', '.join(connections)});"

    def _assignment(self, target, value):
        if isinstance(value, Cell):  # a pin
            driven = f"{self._operand(value.ports['EN'])} ? {self._operand(value.ports['A'])} : "
            width = width_of((target,))
            return f"  assign {self.value((target,))[0]} = {driven}{width}'b{'z' * width};"
        return f"  assign {self.value(target)[0]} = {self.value(value)[0]};"
