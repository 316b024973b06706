"""Reads of memory that have an address and wait until it is known when their beats pass."""

from rowcast.isa import Space

from .machine import NEVER, READS

__all__ = ["reads_unit"]


def reads_unit(m):
    """Serve the bursts that wait in `m.reads`.

    LOAD takes beats for the activation memory as POST leaves it the banks, but its addresses are so far ahead that what
    POST will do then is not known yet: such a burst waits until `lead` cycles before its first beat.  Others wait for
    the cycle of their address.
    """
    waiting, bus, keys, limits = m.reads, m.bus, m.keys, m.limits
    while True:
        while waiting:
            burst = waiting[0]
            serve, address, beats, about = burst
            if about:
                key = bus.first(address, bus.load_free) - bus.lead if about[0].work[2] == Space.ACT else address
                while key > limits[READS] and waiting[0] is burst:
                    keys[READS] = key
                    yield
                if waiting[0] is not burst:
                    continue
            waiting.popleft()
            serve(address, beats, *about)
        keys[READS], limits[READS] = NEVER, -1
        yield
