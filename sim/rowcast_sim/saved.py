"""Simulations that outlive their process: a long run that was stopped goes on where it was."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from .tools import ToolError, cache_dir
from .verilated import SimulationError

__all__ = ["State", "digest_of", "state_of"]

SECONDS = 60  # between saves; one of half a gigabyte takes less than a second


@dataclass(frozen=True)
class State:
    """A simulation in a file.

    Parameters
    ----------
    path : of the file, which is written as a whole or not at all.
    seconds : between two saves.
    """

    path: Path
    seconds: int = SECONDS

    def exists(self):
        """Whether there is something to go on with."""
        return self.path.exists()

    def restore(self, session):
        """Bring a session where the saved one was.

        Raises
        ------
        ToolError
            The file is not a complete saved simulation.
        """
        try:
            session.restore(self.path)
        except SimulationError as error:
            raise ToolError(
                f"{self.path} is not a complete saved simulation: remove it to begin from the start"
            ) from error

    def keep(self, session):
        """Let a session be saved from here on."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        session.keep(self.path, seconds=self.seconds)

    def remove(self):
        """The run is complete: nothing needs the file any more."""
        self.path.unlink(missing_ok=True)


def digest_of(program, inputs, *, model, timing):
    """What decides each cycle of a run: program and inputs, hardware and tool (by the simulator's folder), memory."""
    digest = hashlib.sha256(program.image(inputs))
    digest.update(repr((Path(model.program).parent.name, timing, program.layers)).encode())
    return digest.hexdigest()[:24]


def state_of(machine, inputs, *, about=""):
    """Where the State of an RtlBackend's run on these inputs is; `about` tells runs apart that record more."""
    name = digest_of(machine.program, inputs, model=machine.model, timing=machine.timing)
    return State(cache_dir() / "saved" / f"{name}{about}.state")
