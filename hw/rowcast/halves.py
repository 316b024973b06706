"""The count of free scratchpad halves that both feeders keep."""

from amaranth import Mux

__all__ = ["count_halves"]


def count_halves(halves, free, *, up, down):
    """Statements (for `sync`) that count halves up and down, from 0 to 2, and keep whether there are any in `free`.

    Parameters
    ----------
    halves, free : registers of two bits and of one.
    up : a half is given back.  down : one is taken; there must be one.
    """
    return [halves.eq(halves + up - down), free.eq(Mux(down, up | halves[1], up | free))]
