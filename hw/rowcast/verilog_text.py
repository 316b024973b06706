"""Modules of RTLIL as Verilog-2005 that people can read."""

from .rtlil_parse import Bits, Cell, Process, Slice, Switch, parse_module, width_of
from .verilog_expressions import constant, extend, identifier, joined, operator_text
from .verilog_instances import InstanceWriter
from .verilog_module import is_anonymous, prepare, remove_unread_inputs
from .verilog_values import COLUMNS, bit_range, parameter, single_bits, split, unique, wrapped

__all__ = ["write"]

_LONGEST = 100  # characters of an expression that stands inside another one
_SILENT = ("init", "enum_base_type")  # attributes that are said otherwise


def write(modules):
    """The Verilog of modules (`rtlil_text.Module`), the top first.

    Raises
    ------
    UnknownCell
        Something in them has no place in synthesisable Verilog.
    """
    designs = {module.name: parse_module(module.name, module.lines) for module in modules}
    ports = _port_names(list(designs.values()))
    directions = {}
    prepared = {}
    for name in _leaves_first(designs):
        prepared[name] = prepare(designs[name], directions)
        if name != modules[0].name:
            remove_unread_inputs(prepared[name])
        directions[name] = {wire.name: wire.direction for wire in designs[name].wires.values() if wire.direction}
    return "\n".join(_Writer(prepared[name], ports).text() for name in designs)


def _leaves_first(designs):
    """Names of the modules, each after those that it is made of."""
    order, pending = {}, list(reversed(designs))
    while pending:
        name = pending[-1]
        inner = [cell.kind for cell in designs[name].cells if cell.kind in designs and cell.kind not in order]
        if inner and name not in order:
            pending.extend(inner)
        else:
            order[pending.pop()] = None
    return list(order)


def _port_names(designs):
    """{module: {port: identifier}}, seen from the top: with the cell where a module is first used."""
    by_name, names = {design.name: design for design in designs}, {}
    pending = [(design, None, None) for design in reversed(designs)]
    while pending:
        design, cell, parent = pending.pop()
        if design.name not in names:
            names[design.name] = _ports_of(design, cell, parent, names)
            pending += [(by_name[c.kind], c, design) for c in reversed(design.cells) if c.kind in by_name]
    return names


def _ports_of(design, cell, parent, names):
    """A port under which a signal crosses the border without a name of its own has the name that it has outside."""
    table = {}
    for wire in sorted((wire for wire in design.wires.values() if wire.direction), key=lambda wire: wire.position):
        name = wire.name
        if name.startswith("port$"):
            value = joined(cell.ports.get(name, ())) if cell is not None else ()
            name = f"port_{wire.position}"
            if len(value) == 1 and isinstance(value[0], Slice) and not is_anonymous(value[0].wire):
                part = value[0]
                name = names[parent.name].get(part.wire, part.wire)
                if part != parent.wires[part.wire].whole:
                    name += f"_{part.high}" if part.high == part.low else f"_{part.high}_{part.low}"
        table[wire.name] = unique(identifier(name), table.values())
    return table


class _Writer(InstanceWriter):
    """One module."""

    def __init__(self, prepared, ports):
        self.prepared, self.ports = prepared, ports
        self.design = prepared.design
        self.names = dict(ports[self.design.name])
        self.taken = set(self.names.values())
        self.fields = {}  # slice: identifier, of those that are used
        self.expressions = {}  # identifier: (width, text, identifiers that it reads)
        self.reads = set()  # identifiers in the text that is being made
        self.anonymous = 0
        self.needed = set()  # identifiers that finished text reads, besides that of `expressions`
        self.always = set()  # wires that an `always @*` makes
        self._name_everything()

    def _name_everything(self):
        for cell in self.prepared.instances:
            self._name(("cell", cell.name), cell.kind.lower() if is_anonymous(cell.name) else cell.name)
        for memory in self.design.memories:
            self._name(("memory", memory), memory)
        for name in self.design.wires:
            if name in self.prepared.live and name not in self.names and not is_anonymous(name):
                better = self.prepared.better.get(name) if name.startswith("$") else None
                self._name(name, better or name)

    def _name(self, key, name):
        self.names[key] = name = unique(identifier(name), self.taken)
        self.taken.add(name)
        return name

    def _wire_name(self, wire):
        if wire not in self.names:
            self.anonymous += 1
            self._name(wire, f"_{self.anonymous}")
        return self.names[wire]

    # Expressions ---------------------------------------------------------------------------------------------------

    def value(self, value):
        """(text, kind) of a value: kind is "" if nothing can go between its parts."""
        parts = joined(value) or (Bits("0"),)
        if len(parts) == 1:
            return self._part(parts[0])
        texts, i = [], 0
        while i < len(parts):
            again = i
            while again < len(parts) and parts[again] == parts[i]:
                again += 1
            text = self._part(parts[i])[0]
            texts.append(f"{{{again - i}{{{text}}}}}" if again - i > 1 else text)
            i = again
        return ("{" + ", ".join(texts) + "}" if len(texts) > 1 else texts[0]), ""

    def _part(self, part):
        if isinstance(part, Bits):
            return constant(part.digits), ""
        wire = self.design.wires[part.wire]
        if part == wire.whole:
            if part.wire in self.prepared.inlined:
                return self._inlined(part.wire)
            return self._read(self._wire_name(part.wire)), ""
        if part in self.prepared.fields:
            return self._field(part), ""
        name = self._read(self._wire_name(part.wire))
        return (f"{name}[{part.high}]" if part.high == part.low else f"{name}[{part.high}:{part.low}]"), ""

    def _read(self, name):
        self.reads.add(name)
        return name

    def _inlined(self, wire):
        before, self.reads = self.reads, set()
        text, kind = self.driver(self.prepared.drivers[wire])
        if len(text) > _LONGEST:
            name = self._wire_name(wire)
            self.expressions[name] = (self.design.wires[wire].width, text, self.reads)
            self.reads = before | {name}
            return name, ""
        self.reads |= before
        return text, kind

    def _field(self, part):
        if part not in self.fields:
            self.fields[part] = name = self._name(("field", part), self.prepared.fields[part])
            base = self._wire_name(part.wire)
            bits = f"[{part.high}]" if part.high == part.low else f"[{part.high}:{part.low}]"
            self.expressions[name] = (part.width, f"{base}{bits}", {base})
        return self._read(self.fields[part])

    def driver(self, driver):
        """(text, kind) of what makes a wire; (None, "") of a process that is no expression."""
        if isinstance(driver, tuple):
            return self.value(driver)
        if isinstance(driver, Process):
            return self._choice(driver.body), "$mux"
        if driver.kind == "$shift":
            return self._shift(driver)
        if driver.kind == "$memrd_v2":
            return self._memory_word(driver.parameters["MEMID"], driver.ports["ADDR"]), ""
        return operator_text(driver, self.value)

    def _memory_word(self, memory, address):
        name = self.names["memory", memory.lstrip("\\")]
        return f"{name}[{self.value(address)[0] if address else 0}]"

    def _shift(self, cell):
        """Y = A >> B with zeros, or A's sign, from above."""
        value, width = cell.ports["A"], cell.parameters["Y_WIDTH"]
        signed = cell.parameters["A_SIGNED"]
        amount, kind = self.value(cell.ports["B"] or (Bits("0"),))
        amount = f"({amount})" if kind else amount
        whole = extend(value, max(width, width_of(value)), signed)
        text, kind = self.value(whole)
        text = f"$signed({text}) >>> {amount}" if signed else f"{f'({text})' if kind else text} >> {amount}"
        if width_of(whole) == width:
            return text, "$sshr"
        name = self._name(("shift", id(cell)), f"_{self.anonymous + 1}")
        self.anonymous += 1
        self.expressions[name] = (width_of(whole), text, set(self.reads))
        self.reads = {name}
        return f"{name}[{width - 1}:0]" if width > 1 else f"{name}[0]", ""

    def _choice(self, body):
        """The conditional expression of statements that give one whole value in every case, or None."""
        width = width_of(body[0][0])
        default, *others = body
        if not others:
            return self.value(default[1])[0]
        if len(others) > 1 or not isinstance(others[0], Switch):
            return None
        chain = self._conditions(others[0])
        if chain is None or len(chain) > 3:
            return None
        for _condition, inner in chain:
            if len(inner) != 1 or isinstance(inner[0], Switch) or width_of(inner[0][0]) != width:
                return None
        texts, final = [], default[1]
        for condition, inner in chain:
            if condition is None:
                final = inner[0][1]
                break
            texts.append(f"{self._condition(condition, '?')} ? {self._operand(inner[0][1])} : ")
        return "".join(texts) + self._operand(final)

    def _operand(self, value):
        text, kind = self.value(value)
        return f"({text})" if kind else text

    def _conditions(self, switch):
        """[(bit and its wanted digit, or None for default, body)] if each case asks for one bit, else None."""
        chain, bits = [], single_bits(switch.value)
        for patterns, inner in switch.cases:
            if not patterns:
                chain.append((None, inner))
                break
            asked = [(i, digit) for i, digit in enumerate(patterns[0]) if digit != "-"]
            if len(patterns) > 1 or len(asked) != 1:
                return None
            bit, digit = bits[asked[0][0]], asked[0][1]
            if any(other == bit and before != digit for (other, before), _body in chain):
                chain.append((None, inner))
                break
            chain.append(((bit, digit), inner))
        return chain

    def _condition(self, condition, place="if"):
        bit, digit = condition
        text, kind = self.value((bit,))
        if digit == "0":
            return f"!({text})" if kind else f"!{text}"
        return f"({text})" if kind and place == "?" else text

    # Statements ----------------------------------------------------------------------------------------------------

    def statements(self, body, target, sign, indent, own=None):
        """Lines of the statements; `own` is a register whose old value the first of them may repeat for nothing."""
        lines = []
        for item in body:
            if isinstance(item, Switch):
                lines += self._switch(item, target, sign, indent)
            else:
                lines += self._assign(item, target, sign, indent, own)
            own = None
        return lines

    def _assign(self, item, target, sign, indent, own):
        where, value = item
        if len(where) > 1:
            lines, position = [], 0
            flat = split(value, [part.width for part in where])
            for part, piece in zip(where, flat, strict=True):
                lines += self._assign(((part,), piece), target, sign, indent, own)
            return lines
        part = where[0]
        whole = self.design.wires[part.wire].whole
        if own is not None:
            pieces, high = [], part.high
            for piece in joined(value):
                pieces.append((Slice(part.wire, high, high - piece.width + 1), piece))
                high -= piece.width
            changed = [(to, piece) for to, piece in pieces if piece != Slice(own, to.high, to.low)]
            if len(changed) < len(pieces):
                return [self._line(to, (piece,), whole, target, sign, indent) for to, piece in changed]
        return [self._line(part, value, whole, target, sign, indent)]

    def _line(self, part, value, whole, target, sign, indent):
        bits = "" if part == whole else f"[{part.high}]" if part.high == part.low else f"[{part.high}:{part.low}]"
        return f"{indent}{target}{bits} {sign} {self.value(value)[0]};"

    def _switch(self, switch, target, sign, indent):
        if not switch.value:
            return self.statements(switch.cases[0][1], target, sign, indent) if switch.cases else []
        inner = indent + "  "
        chain = self._conditions(switch)
        if chain is not None:
            while chain and not chain[-1][1]:
                chain.pop()
            lines = []
            for i, (condition, body) in enumerate(chain):
                start = "if" if i == 0 else "else if"
                start = f"{start} ({self._condition(condition)})" if condition is not None else "else" if i else "begin"
                block = self.statements(body, target, sign, inner)
                lines += self._block(start, block, indent)
            return lines
        wild = any("-" in pattern for patterns, _body in switch.cases for pattern in patterns)
        # A case without statements has only to be kept from later ones.
        otherwise = wild or any(not patterns and body for patterns, body in switch.cases)
        lines, default = [f"{indent}{'casez' if wild else 'case'} ({self.value(switch.value)[0]})"], False
        for patterns, body in switch.cases:
            labels = [constant(p) if "-" not in p else f"{len(p)}'b{p.replace('-', '?')}" for p in patterns]
            default |= not patterns
            block = self.statements(body, target, sign, inner + "  ")
            if block or otherwise:
                lines += self._block(f"{', '.join(labels) or 'default'}:", block, inner)
            if not patterns:
                break
        if not default or not otherwise:
            lines.append(f"{inner}default: ;")
        return [*lines, f"{indent}endcase"]

    def _block(self, start, block, indent):
        if start == "begin":
            return block
        if not block:
            return [f"{indent}{start} ;"]
        first = block[0].lstrip()
        # An `if` without `begin` would take an `else` that follows for its own.
        if len(block) == 1 and not first.startswith("if ") and len(indent) + len(start) + 1 + len(first) <= COLUMNS:
            return [f"{indent}{start} {first}"]
        return [f"{indent}{start} begin", *block, f"{indent}end"]

    # The module ----------------------------------------------------------------------------------------------------

    def text(self):
        """The module's text."""
        registers, combinational, clocked, memories = [], [], {}, []
        outputs = []
        design, prepared = self.design, self.prepared
        for name, wire in design.wires.items():
            if name not in prepared.live or name in prepared.inlined or wire.direction in ("input", "inout"):
                continue
            driver = prepared.drivers.get(name)
            if driver == "instance":
                if wire.direction is None:
                    registers.append(f"  wire {bit_range(wire.width)}{self._wire_name(name)};")
                continue
            self.reads = set()
            if isinstance(driver, Cell) and (driver.kind in ("$dff", "$adff") or self._reads_clocked(driver)):
                self._clocked(name, wire, driver, clocked)
                self.needed |= self.reads
                if wire.direction is None:
                    registers.append(f"  {self._attributes(wire)}reg {self._register(wire)};")
                if self._behind_memory(name):
                    start = f"  initial {self._wire_name(name)} = {constant(wire.attributes['init'][0])};"
                    registers += ["`ifndef SYNTHESIS", start, "`endif"]
                continue
            text = self.driver(driver)[0] if driver is not None else constant("x" * wire.width)
            target = self._wire_name(name)
            if text is None:
                self.always.add(name)
                lines = self.statements(driver.body, target, "=", "    ")
                self.needed |= self.reads
                combinational += ["  always @* begin", "    if (at_start) begin end", *lines, "  end"]
                if wire.direction is None:
                    registers.append(f"  reg {bit_range(wire.width)}{target};")
            elif wire.direction is None:
                self.expressions[target] = (wire.width, text, self.reads)
            else:
                self.needed |= self.reads
                outputs.append(f"  assign {target} = {text};")
        self.reads = set()
        outputs += [self._assignment(target, value) for target, value in prepared.assigned]
        memories = [line for memory in self._used_memories() for line in self._memory(memory)]
        instances = [self._instance(cell) for cell in prepared.instances]
        self.needed |= self.reads
        blocks = [line for lines in clocked.values() for line in lines]
        body = [
            *registers, *self._start(), *memories, *self._sorted_expressions(), *outputs, *combinational, *blocks,
            *instances,
        ]  # fmt: skip
        head = [f"module {design.name}(", ",\n".join(self._port_lines()), ");"]
        return "\n".join([*head, *(wrapped(line) for line in body), "endmodule\n"])

    def _reads_clocked(self, driver):
        return driver.kind == "$memrd_v2" and driver.parameters["CLK_ENABLE"]

    def _attributes(self, item):
        texts = []
        for key, value in item.attributes.items():
            if key not in _SILENT and not key.startswith("enum_value_"):
                texts.append(f"{key} = {parameter(value)}")
        return f"(* {', '.join(texts)} *) " if texts else ""

    def _behind_memory(self, name):
        """Whether a register does nothing but hold what a memory gives.  It starts with its value in simulation only: an
        iCE40's block RAM has none, and Yosys would build logic that hides the first read.
        """
        driver = self.prepared.drivers[name]
        if driver.kind != "$dff" or name in self.prepared.clocked or "init" not in self.design.wires[name].attributes:
            return False
        data = joined(driver.ports["D"])
        source = self.prepared.drivers.get(data[0].wire) if len(data) == 1 and isinstance(data[0], Slice) else None
        whole = isinstance(source, Cell) and data[0] == self.design.wires[data[0].wire].whole
        return whole and source.kind == "$memrd_v2"

    def _register(self, wire):
        init = None if self._behind_memory(wire.name) else wire.attributes.get("init")
        start = f" = {constant(init[0])}" if init is not None else ""
        return f"{bit_range(wire.width)}{self._wire_name(wire.name)}{start}"

    def _port_lines(self):
        wires = [wire for wire in self.design.wires.values() if wire.direction]
        for wire in sorted(wires, key=lambda wire: wire.position):
            driver = self.prepared.drivers.get(wire.name)
            if wire.direction == "output" and isinstance(driver, Cell) and (
                driver.kind in ("$dff", "$adff") or self._reads_clocked(driver)
            ):
                yield f"  output reg {self._register(wire)}"
            elif wire.direction == "output" and wire.name in self.always:
                yield f"  output reg {bit_range(wire.width)}{self.names[wire.name]}"
            else:
                yield f"  {wire.direction} wire {bit_range(wire.width)}{self.names[wire.name]}"

    def _clocked(self, name, wire, driver, clocked):
        target = self._wire_name(name)
        ports, parameters = driver.ports, driver.parameters
        edge = "posedge" if parameters["CLK_POLARITY"] else "negedge"
        event = f"{edge} {self.value(ports['CLK'])[0]}"
        if driver.kind == "$memrd_v2":
            lines = self._memory_read(target, driver)
        elif driver.kind == "$adff":
            reset = self.value(ports["ARST"])[0]
            event += f" or posedge {reset}"
            lines = [f"    if ({reset}) {target} <= {constant(parameters['ARST_VALUE'][0])};",
                     f"    else {target} <= {self.value(ports['D'])[0]};"]  # fmt: skip
        elif name in self.prepared.clocked:
            lines = self.statements(self.prepared.clocked[name].body, target, "<=", "    ", own=name)
        else:
            lines = [f"    {target} <= {self.value(ports['D'])[0]};"]
        if len(lines) <= 3 and not parameters.get("ARST_VALUE") or len(lines) == 1:
            block = clocked.setdefault(event, [f"  always @({event}) begin", "  end"])
            block[-1:-1] = lines
        elif lines:
            clocked[target] = [f"  always @({event}) begin", *lines, "  end"]

    def _start(self):
        """`always @*` waits for a change, and what it reads may never change: this does, once."""
        if not self.always:
            return []
        return [
            "  reg at_start = 1'b0;",
            "`ifndef SYNTHESIS", "`ifndef VERILATOR", "  initial at_start <= 1'b1;", "`endif", "`endif",
        ]  # fmt: skip

    def _sorted_expressions(self):
        """Declarations with their expressions, each after those that it reads.

        Bits of two wires may depend on each other in turns: then one of them is declared before.
        """
        lines, before, done = [], {}, set()
        for first in [name for name in self.expressions if name in self.needed]:
            path = {first: None}  # names in the order in which they were found to be needed
            while path:
                name = next(reversed(path))
                width, text, reads = self.expressions[name]
                missing = [other for other in sorted(reads) if other in self.expressions and other not in done]
                before |= {other: None for other in missing if other in path}
                missing = [other for other in missing if other not in path]
                if name not in done and missing:
                    path[missing[0]] = None
                    continue
                if name not in done:
                    done.add(name)
                    lines.append((name, width, text))
                del path[name]
        return [
            *(f"  wire {bit_range(self.expressions[name][0])}{name};" for name in before),
            *(f"  assign {name} = {text};" if name in before else f"  wire {bit_range(width)}{name} = {text};"
              for name, width, text in lines),
        ]  # fmt: skip
