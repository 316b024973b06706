"""Functions of two bytes as Elementwise nodes.  A pair of bytes has 65,536 values, so whether a fixed-point form gives a
float computation's bytes is tried out on all of them, and the form is mended where it does not."""

import numpy as np

from ... import graph as g
from ...golden.requantise import postprocess, quantise_multiplier_onnx

__all__ = ["lower_product", "lower_sum", "pairs"]

FRACTION = 22  # fractional bits of a sum at most: results that matter are below 2^9
FACTOR = 15  # bits of a factor's magnitude, with its fraction: the vector unit multiplies 16 bits with sign
ROOM = 1024  # steps of the output by which an operand may pass the other's range: the sum saturates whatever it is
MENDS = 256  # wrong pairs that are looked at; usually there is none, and thousands cannot be mended
_EVERY = np.arange(-128, 128)
_UNIT = {"multiplier": 1 << 23, "shift": 23}  # mode "onnx": rounds to float32, and to an integer


def pairs(op, build, function):
    """The graph's bytes int64 [256, 256] of function(a, b), of model bytes, for graph bytes from -128 of either operand."""
    a, b = ((_EVERY - build.offset(name)).astype(build.value(name).dtype) for name in op.inputs[:2])
    return function(a[:, None], b[None, :]).astype(np.int64) + build.offset(op.outputs[0])


def _bytes_of(acc, post):
    return postprocess(acc, 0, post.multiplier, post.shift, post.post_mode, post.zero_point, post.low, post.high)


# Sums ---------------------------------------------------------------------------------------------------------------


def lower_sum(op, build, target, left, right, **clamp):
    """The Elementwise "add" that makes output 0.

    Parameters
    ----------
    target : [256, 256], see `pairs`: about rint(left[a] + right[b]) + zero_point, clamped.
    left, right : float64 [256], in steps of the output.
    clamp : zero_point, low and high of the graph's output.
    """
    furthest = [float(np.abs(operand).max()) + ROOM for operand in (left, right)]
    left, right = np.clip(left, -furthest[1], furthest[1]), np.clip(right, -furthest[0], furthest[0])
    largest = np.abs(left).max() + np.abs(right).max() + 1
    bits = min(FRACTION, 31 - int(np.frexp(largest)[1]))
    if bits < 0:
        raise op.problem(f"its operands reach {largest:.0f} steps of the output: scales that differ so much cannot be added")
    best = None
    for mode in ("onnx", "single"):
        tables = [np.rint(operand * 2.0**bits).astype(np.int64) for operand in (left, right)]
        post = g.Requantisation(mode=mode, multiplier=_UNIT["multiplier"], shift=_UNIT["shift"] + bits, **clamp)
        wrong = _mend(target, *tables, post, np.add)
        if best is None or wrong < best[0]:
            best = wrong, tables, post
        if not wrong:
            break
    _, tables, post = best
    (a, b), view = build.operands(op, (0, 1))
    build.output(op, g.Elementwise, [a, b], view=view, kind="add", table_a=tables[0], table_b=tables[1], post=post)


def _mend(target, table_a, table_b, post, combine):
    """Move entries by a few units, in place, as long as that leaves fewer wrong pairs; the number that is left."""
    got = _bytes_of(combine(table_a[:, None], table_b[None, :]), post)
    given_up = np.zeros(target.shape, bool)
    for _ in range(MENDS if np.count_nonzero(got != target) <= MENDS else 0):
        wrong = np.argwhere((got != target) & ~given_up)
        if not len(wrong):
            break
        a, b = wrong[0]
        given_up[a, b] = not (
            _nudge(table_a, a, table_b, got[a], target[a], post, combine)
            or _nudge(table_b, b, table_a, got[:, b], target[:, b], post, combine)
        )
    return np.count_nonzero(got != target)


def _nudge(table, entry, other, got, target, post, combine):
    """Whether moving one entry leaves fewer of its row or column wrong; `got` is then renewed."""
    before = np.count_nonzero(got != target)
    for step in (sign * (1 << power) for power in range(8) for sign in (1, -1)):
        if combine is np.multiply and abs(int(table[entry]) + step) >> FACTOR:
            continue
        made = _bytes_of(combine(table[entry] + step, other), post)
        if np.count_nonzero(made != target) < before:
            table[entry] += step
            got[:] = made
            return True
    return False


# Products -----------------------------------------------------------------------------------------------------------


def lower_product(op, build, target, left, right, scale, **clamp):
    """The Elementwise "mul" that makes output 0, or the nodes that do where none does.

    Parameters
    ----------
    target : [256, 256], see `pairs`: about rint(left[a] * right[b] * scale) + zero_point, clamped.
    left, right : integers [256], zero points subtracted.
    scale : float32.
    clamp : zero_point, low and high of the graph's output.
    """
    try:
        multiplier, shift = quantise_multiplier_onnx(scale)
    except ValueError as error:
        raise op.problem(f"input scales / output scale: {error}") from None
    nearest = g.Requantisation(mode="onnx", multiplier=multiplier, shift=shift, **clamp)
    acc = left[:, None] * right[None, :]
    made = _bytes_of(acc, nearest)
    if not np.array_equal(made, target):
        ties = _ties(nearest)
        away, towards = (_bytes_of(acc, post).astype(np.int64) for post in ties)
        if np.array_equal(away - made + towards, target):
            _lower_ties(op, build, left, right, nearest, ties)
            return
        # The same product with fractional bits, so that entries can be moved by little.
        bits = [FACTOR - int(np.abs(factor).max()).bit_length() for factor in (left, right)]
        left, right = left << bits[0], right << bits[1]
        nearest = g.Requantisation(mode="onnx", multiplier=multiplier, shift=shift + sum(bits), **clamp)
        _mend(target, left, right, nearest, np.multiply)
    (a, b), view = build.operands(op, (0, 1))
    build.output(op, g.Elementwise, [a, b], view=view, kind="mul", table_a=left, table_b=right, post=nearest)


def _lower_ties(op, build, left, right, nearest, ties):
    """What lies half way goes to the odd one, as an odd zero point has been added before: away - even + towards zero."""
    (a, b), view = build.operands(op, (0, 1))
    away, even, towards = (
        build.append(g.Elementwise, f"{op.name}/{name}", [a, b], zero_point=post.zero_point, kind="mul", table_a=left,
                     table_b=right, post=post)
        for name, post in zip(("away", "even", "towards"), (ties[0], nearest, ties[1]), strict=True)
    )  # fmt: skip
    unit = g.Requantisation(mode="onnx", **_UNIT)
    more = build.append(g.Elementwise, f"{op.name}/ties", [away, even], kind="add", table_a=_EVERY, table_b=-_EVERY, post=unit)
    build.output(op, g.Elementwise, [towards, more], view=view, kind="add", table_a=_EVERY, table_b=_EVERY, post=unit)


def _ties(nearest):
    """Requantisations of the same scale that take what lies half way away from zero, and towards it."""
    multiplier, shift = int(nearest.multiplier[0]) << 7, int(nearest.shift[0]) + 7  # 31 bits
    clamp = {name: getattr(nearest, name) for name in ("zero_point", "low", "high")}
    return [
        g.Requantisation(mode="single", multiplier=max(each, 0), shift=shift, **clamp) for each in (multiplier, multiplier - 1)
    ]
