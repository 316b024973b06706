"""Equal modules once: Amaranth emits a module for every instance, so 128 PEs would be 128 texts of the same PE.

When a design is elaborated for emission (`platform` is an `Emission`), `place` puts an `Instance` where the component
would stand, and remembers the component; the emitter converts each remembered one once.  In simulation and in any
other build the component itself stands there.
"""

from amaranth import ClockSignal, Instance, ResetSignal
from amaranth.lib.wiring import In

__all__ = ["Emission", "place"]


class Emission:
    """The platform of an emission: collects the components that `place` replaced, by module name."""

    def __init__(self):
        self.modules = {}


def place(component, name, platform):
    """The component, or under an `Emission` an instance of the module `name`.

    Components of one name must be equal.  The instance's clock and reset are those of the domain `sync`; a
    `ResetInserter` around it does not reach it, so a shared component has a `clear` input where it needs one.
    """
    if not isinstance(platform, Emission):
        return component
    platform.modules.setdefault(name, component)
    component._MustUse__used = True  # Amaranth warns of components that are made and never elaborated
    ports = {"i_clk": ClockSignal(), "i_rst": ResetSignal()}
    for path, member, value in component.signature.flatten(component):
        direction = "i" if member.flow == In else "o"
        ports[f"{direction}_{'__'.join(map(str, path))}"] = value
    return Instance(name, **ports)
