"""Pieces of text and of values that the writer of Verilog is made of."""

from .rtlil_parse import Bits, Slice, width_of

__all__ = ["COLUMNS", "bit_range", "enables", "parameter", "single_bits", "split", "unique", "wrapped"]

COLUMNS = 120


def unique(name, taken):
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name}_{number}"
    return candidate


def bit_range(width):
    return f"[{width - 1}:0] " if width > 1 else ""


def wrapped(line):
    """A line that is too long, broken at spaces."""
    if len(line) <= COLUMNS or '"' in line:
        return line
    start = line[: len(line) - len(line.lstrip())]
    lines, current = [], start
    for word in line.split():
        if current.strip() and len(current) + 1 + len(word) > COLUMNS:
            lines.append(current)
            current = f"{start}    {word}"
        else:
            current = f"{current} {word}" if current.strip() else current + word
    return "\n".join([*lines, current])


def single_bits(value):
    """The single bits of a value, highest first."""
    bits = []
    for part in value:
        if isinstance(part, Bits):
            bits += [Bits(digit) for digit in part.digits]
        else:
            bits += [Slice(part.wire, i, i) for i in range(part.high, part.low - 1, -1)]
    return bits


def split(value, widths):
    """The value cut into pieces of these widths, highest first."""
    pieces, rest = [], width_of(value)
    for width in widths:
        rest -= width
        piece, position = [], width_of(value)
        for part in value:
            position -= part.width
            high, low = min(position + part.width, rest + width), max(position, rest)
            if high > low:
                if isinstance(part, Bits):
                    piece.append(Bits(part.digits[part.width - (high - position) : part.width - (low - position)]))
                else:
                    piece.append(Slice(part.wire, part.low + high - position - 1, part.low + low - position))
        pieces.append(tuple(piece))
    return pieces


def enables(value):
    """(enable bit, highest, lowest bit of the word) for each run of equal bits but constant 0."""
    bits = single_bits(value)
    width, start = len(bits), 0
    for end in range(1, width + 1):
        if end == width or bits[end] != bits[start]:
            if bits[start] != Bits("0"):
                yield bits[start], width - 1 - start, width - end
            start = end


def parameter(value):
    if isinstance(value, tuple):
        digits, signed = value
        return f"{len(digits)}'{'s' if signed else ''}b{digits}"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
        return f'"{escaped}"'
    return repr(value)
