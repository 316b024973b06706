"""Registers on every channel of a bus, so that no path goes through it."""

from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..skid import Skid

__all__ = ["BusRegisters"]


class BusRegisters(wiring.Component):
    """A `Skid` on each stream of a bus: a cycle more in each direction, as many transfers a cycle as without.

    Parameters
    ----------
    signature : of the bus, from the manager's side; all its members are streams.
    wanted : names of the channels that get one; the others pass as they are [all].

    Members
    -------
    i, o : the manager's and the subordinate's end.
    """

    i: wiring.PureInterface
    o: wiring.PureInterface

    def __init__(self, signature, wanted=None):
        self.channels = signature.members
        self.wanted = set(self.channels) if wanted is None else set(wanted)
        if unknown := self.wanted - set(self.channels):
            raise ValueError(f"no channel {', '.join(sorted(unknown))}; there are {', '.join(self.channels)}")
        super().__init__({"i": In(signature), "o": Out(signature)})

    def elaborate(self, platform):
        m = Module()
        for name, member in self.channels.items():
            near, far = getattr(wiring.flipped(self.i), name), getattr(wiring.flipped(self.o), name)
            if member.flow == In:
                near, far = far, near
            if name not in self.wanted:
                wiring.connect(m, near, far)
                continue
            m.submodules[name] = skid = Skid(member.signature.members["payload"].shape)
            wiring.connect(m, near, skid.i)
            wiring.connect(m, skid.o, far)
        return m
