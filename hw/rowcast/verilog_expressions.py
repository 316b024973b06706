"""Cells of RTLIL as Verilog expressions in which every operand has exactly the width of its operator.

With equal widths everywhere an expression means the same wherever it stands, so it can stand inside another one.
"""

import re

from .rtlil_parse import Bits, Slice, width_of

__all__ = [
    "KEYWORDS", "OPERATORS", "TRIMMABLE", "constant", "extend", "fit_operands", "identifier", "is_inlinable", "joined",
    "operator_text",
]  # fmt: skip

_BINARY = {
    "$add": "+", "$sub": "-", "$mul": "*", "$and": "&", "$or": "|", "$xor": "^", "$shl": "<<", "$shr": ">>",
    "$sshr": ">>>", "$eq": "==", "$ne": "!=", "$lt": "<", "$le": "<=", "$gt": ">", "$ge": ">=",
    "$divfloor": "/", "$modfloor": "%",
}  # fmt: skip
_UNARY = {"$not": "~", "$neg": "-", "$reduce_or": "|", "$reduce_bool": "|", "$reduce_and": "&", "$reduce_xor": "^"}
_COMPARE = ("$eq", "$ne", "$lt", "$le", "$gt", "$ge")
_SAME_WIDTH = ("$add", "$sub", "$mul", "$and", "$or", "$xor", "$divfloor", "$modfloor")  # all as wide as the result
_CHAINS = ("$add", "$and", "$or", "$xor")  # a + b + c needs no parentheses
# Results of which the low bits can be computed alone.
TRIMMABLE = ("$add", "$sub", "$mul", "$and", "$or", "$xor", "$not", "$neg", "$shl", "$mux")
OPERATORS = {*_BINARY, *_UNARY, "$mux"}

# Of Verilog-2005, and of SystemVerilog, since many tools read everything as that.
KEYWORDS = frozenset("""
    alias always always_comb always_ff always_latch and assert assign assume automatic before begin bind bins binsof bit
    break buf bufif0 bufif1 byte case casex casez cell chandle checker class clocking cmos config const constraint
    context continue cover covergroup coverpoint cross deassign default defparam design disable dist do edge else end
    endcase endchecker endclass endclocking endconfig endfunction endgenerate endgroup endinterface endmodule endpackage
    endprimitive endprogram endproperty endspecify endsequence endtable endtask enum event eventually expect export
    extends extern final first_match for force foreach forever fork forkjoin function generate genvar global highz0
    highz1 if iff ifnone ignore_bins illegal_bins implements implies import incdir include initial inout input inside
    instance int integer interconnect interface intersect join join_any join_none large let liblist library local
    localparam logic longint macromodule matches medium modport module nand negedge nettype new nexttime nmos nor
    noshowcancelled not notif0 notif1 null or output package packed parameter pmos posedge primitive priority program
    property protected pull0 pull1 pulldown pullup pulsestyle_ondetect pulsestyle_onevent pure rand randc randcase
    randsequence rcmos real realtime ref reg reject_on release repeat restrict return rnmos rpmos rtran rtranif0
    rtranif1 s_always s_eventually s_nexttime s_until s_until_with scalared sequence shortint shortreal showcancelled
    signed small soft solve specify specparam static string strong strong0 strong1 struct super supply0 supply1
    sync_accept_on sync_reject_on table tagged task this throughout time timeprecision timeunit tran tranif0 tranif1 tri
    tri0 tri1 triand trior trireg type typedef union unique unique0 unsigned until until_with untyped use uwire var
    vectored virtual void wait wait_order wand weak weak0 weak1 while wildcard wire with within wor xnor xor
""".split())


def identifier(name):
    """A Verilog identifier as near to the name as can be: `ar$79.addr` becomes `ar_79_addr`."""
    name = re.sub(r"\W", "_", re.sub(r"\$(\d+)", r"_\1", name.lstrip("$")))
    if not name or name[0].isdigit():
        name = f"_{name}"
    return f"{name}_" if name in KEYWORDS else name


def constant(digits):
    """A sized constant of binary digits."""
    if not set(digits) <= {"0", "1"}:
        return f"{len(digits)}'b{digits}"
    value = int(digits, 2)
    if len(digits) == 1:
        return f"1'b{value}"
    return f"{len(digits)}'d{value}" if value < 10 else f"{len(digits)}'h{value:x}"


def joined(parts):
    """The parts of a value with neighbours put together that are one slice or one constant."""
    result = []
    for part in parts:
        last = result[-1] if result else None
        if isinstance(part, Bits) and isinstance(last, Bits):
            result[-1] = Bits(last.digits + part.digits)
        elif isinstance(part, Slice) and isinstance(last, Slice) and (part.wire, part.high + 1) == (last.wire, last.low):
            result[-1] = Slice(part.wire, last.high, part.low)
        else:
            result.append(part)
    return tuple(result)


def low_bits(value, width):
    """The lowest bits of a value."""
    kept = []
    for part in reversed(value):
        if width <= 0:
            break
        if part.width > width:
            low = getattr(part, "low", 0)
            part = Bits(part.digits[-width:]) if isinstance(part, Bits) else Slice(part.wire, low + width - 1, low)
        kept.append(part)
        width -= part.width
    return tuple(reversed(kept))


def extend(value, width, signed):
    """The value with exactly this width: cut, or continued by zeros or its sign."""
    missing = width - width_of(value)
    if missing <= 0:
        return value if missing == 0 else low_bits(value, width)
    if not signed or not value:
        return joined((Bits("0" * missing), *value))
    first = value[0]
    if isinstance(first, Bits):
        return joined((Bits(first.digits[0] * missing), *value))
    return (*[Slice(first.wire, first.high, first.high)] * missing, *value)


def fit_operands(cell, width):
    """Give the operands of an operator the width that its result, `width` bits, or its other operand needs."""
    ports, parameters = cell.ports, cell.parameters
    a, b = ports.get("A"), ports.get("B")
    a_signed, b_signed = parameters.get("A_SIGNED", 0), parameters.get("B_SIGNED", 0)
    if cell.kind in _COMPARE:
        common = max(width_of(a), width_of(b), 1)
        ports["A"], ports["B"] = extend(a, common, a_signed), extend(b, common, b_signed)
    elif cell.kind in _SAME_WIDTH or cell.kind == "$mux":
        ports["A"], ports["B"] = extend(a, width, a_signed), extend(b, width, b_signed)
    elif cell.kind in ("$not", "$neg", "$shl", "$sshr", "$shr"):
        ports["A"] = extend(a, width, a_signed)
    if cell.kind in ("$shl", "$sshr", "$shr"):
        ports["B"] = extend(b, max(width_of(b), 1), False)


def is_signed(cell):
    """Whether the operator takes its operands as signed: then it must not stand in an unsigned expression."""
    return cell.kind == "$sshr" or (cell.kind in ("$mul", *_COMPARE[2:]) and bool(cell.parameters.get("A_SIGNED")))


def is_inlinable(cell):
    """Whether the operator may stand inside another expression."""
    return cell.kind in OPERATORS and (not is_signed(cell) or cell.kind in _COMPARE)


def operator_text(cell, value_text):
    """The expression of an operator, and what binds its parts: "" (nothing can go between), or the cell's kind.

    `value_text` makes (text, kind) of a value.
    """

    def operand(name, *, chain=False):
        text, kind = value_text(cell.ports[name])
        return text if not kind or (chain and kind == cell.kind and kind in _CHAINS) else f"({text})"

    if cell.kind == "$mux":
        otherwise, kind = value_text(cell.ports["A"])
        otherwise = f"({otherwise})" if kind and kind != "$mux" else otherwise
        return f"{operand('S')} ? {operand('B')} : {otherwise}", "$mux"
    if cell.kind in _UNARY:
        inner = operand("A")
        inner = f"({inner})" if inner.startswith("~") else inner  # `^~` would be one operator
        return f"{_UNARY[cell.kind]}{inner}", "" if cell.kind == "$not" else cell.kind
    left, right = operand("A", chain=True), operand("B")
    if is_signed(cell):
        left = f"$signed({value_text(cell.ports['A'])[0]})"
        right = right if cell.kind == "$sshr" else f"$signed({value_text(cell.ports['B'])[0]})"
    return f"{left} {_BINARY[cell.kind]} {right}", cell.kind
