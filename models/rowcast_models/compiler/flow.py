"""How far tensors are while several nodes are at work at once."""

from dataclasses import dataclass

__all__ = ["COMPLETE", "Flow", "Need", "Progress", "in_turn"]

COMPLETE = 1 << 62  # pixels: all of them


@dataclass(frozen=True)
class Need:
    """What a lowering waits for before its next step.

    Parameters
    ----------
    pixels : of each input, from its first, that the next step reads.
    spent : estimated cycles of the step that was just emitted.
    pause : the next step reads what this one loads: better later than at once.
    light : the next step is a short pass of the array, of a task that is the vector unit's otherwise.
    when : function: whether the next step finds what else it needs; None if there is nothing else.
    """

    pixels: tuple
    spent: int = 0
    pause: bool = False
    light: bool = False
    when: object = None


def in_turn(parts):
    """One generator of Needs after the other."""
    for part in parts:
        yield from part


class Progress:
    """Pixels of each tensor, from its first, that instructions of the program so far have made.

    What is not known here (inputs, constants) is complete.
    """

    def __init__(self):
        self.done, self.names = {}, {}

    def begin(self, name):
        """Nothing of this tensor is there yet."""
        self.done[name] = 0

    def reach(self, name, pixels):
        """So many pixels of it are there now."""
        if name in self.done:
            self.done[name] = max(self.done[name], pixels)

    def alias(self, name, sources, *, same_pixels=True):
        """A tensor that lies in others, pixel by pixel; or, without `same_pixels`, only as a whole."""
        self.names[name] = (tuple(sources), same_pixels)

    def of(self, name):
        """Pixels of a tensor that are there."""
        if name not in self.names:
            return self.done.get(name, COMPLETE)
        sources, same_pixels = self.names[name]
        pixels = min(self.of(source) for source in sources)
        return pixels if same_pixels or pixels == COMPLETE else 0


@dataclass(frozen=True)
class Flow:
    """What a lowering knows of its inputs, and says of its output.

    Parameters
    ----------
    progress : Progress; None if all inputs are complete.
    inputs, output : names of tensors.
    read_before, made_before : pixels of the first input and of the output in front of the part that the lowering knows.
    """

    progress: Progress | None = None
    inputs: tuple = ()
    output: str = ""
    read_before: int = 0
    made_before: int = 0

    def ready(self, which=0):
        """Pixels of an input that are there."""
        return COMPLETE if self.progress is None else self.progress.of(self.inputs[which])

    def made(self, pixels):
        """So many pixels of the output are there, from its first; 0: none is new."""
        if self.progress is not None and pixels:
            self.progress.reach(self.output, self.made_before + pixels)
