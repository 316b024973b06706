"""Several nodes at work at once: the vector unit's work goes between the passes and chunks of the array's.

A lowering is a generator (`flow.Need`); whatever order they are resumed in, the program is right as long as each finds what it
needs.  So the array's nodes go one after the other, and pooling, element-wise nodes and tables are worked off piece by
piece where the feeder and the post-processors would have nothing to do, as soon as the rows that they read are made.
"""

from dataclasses import dataclass

from rowcast.isa import IsaError

from .flow import COMPLETE, Need

__all__ = ["VECTORS", "Misfit", "Task", "Weaver", "Work", "at_once"]

LIGHT_SHARE = 0.5  # of the array's cycles, for a light task beside another one
LEAST = 160  # cycles: smaller gaps are not worth a run of the vector unit
PIECE = 2048  # cycles of a piece of work when the array has nothing to do
VECTORS = 4  # nodes of the vector unit at work at once


class Misfit(Exception):
    """A value of a node's instructions does not fit its field: `node`, `error`."""

    def __init__(self, node, error):
        super().__init__(str(error))
        self.node, self.error = node, error


@dataclass
class Work:
    """A node's lowering, ready to be emitted.

    Members
    -------
    steps : generator of Needs.
    mapping, estimate : what reports say.
    claim : first word and word after the last of activation memory in use until the end; None if none is.
    params : parameters that a step may load (uint32 [channels, 4]), or None.
    array : it is the array's work, not the vector unit's.
    light : its passes are short, so that they go between those of another node of the array.
    """

    steps: object
    mapping: str = ""
    estimate: int = 0
    claim: tuple | None = None
    params: object = None
    array: bool = False
    light: bool = False


class Task:
    """A node at work."""

    def __init__(self, number, node, work, builder):
        self.number, self.node, self.work, self.b = number, node, work, builder
        self.paused = False
        self.need = None
        self.advance(None, first=True)

    def advance(self, cycles, *, first=False):
        """Emit the next step, of about so many cycles; returns those that it takes."""
        try:
            with self.b.working_for(self.node.name):
                self.need = next(self.work.steps) if first else self.work.steps.send(cycles)
        except StopIteration:
            self.need = None
            return 0
        except IsaError as error:
            raise Misfit(self.node, error) from error
        self.paused = self.need.pause
        return self.need.spent

    @property
    def ended(self):
        """Whether everything is emitted."""
        return self.need is None


def at_once(inputs, emit):
    """The steps of what is emitted in one piece when all its inputs are complete."""
    yield Need((COMPLETE,) * inputs)
    emit()


class Weaver:
    """The tasks at work, and which goes next.

    Parameters
    ----------
    builder : whose `filler` this becomes.
    progress : Progress of the tensors.
    retire : called with a Task that has ended.
    """

    def __init__(self, builder, progress, retire):
        self.b, self.progress, self.retire = builder, progress, retire
        self.tasks = []
        self.credit = self.balance = 0
        builder.filler = self

    @property
    def array(self):
        """The task of the array, or None."""
        return next((task for task in self.tasks if task.work.array and not task.work.light), None)

    @property
    def light(self):
        """The task whose light pass of the array comes next, or None."""
        found = [task for task in self.tasks if task.work.light or task.need and task.need.light]
        return next((task for task in found if self.ready(task)), found[0] if found else None)

    @property
    def vectors(self):
        """The tasks of the vector unit, the last node first: what is behind others frees their memory."""
        found = (task for task in self.tasks if not task.work.array and not (task.need and task.need.light))
        return sorted(found, key=lambda task: -task.number)

    def add(self, task):
        """A task begins."""
        self.tasks.append(task)
        self.settle()

    def ready(self, task):
        """Whether the next step of a task finds what it reads."""
        if task.ended or task.need.when and not task.need.when():
            return False
        # A Concat whose parts are moved together has fewer needs than inputs: it begins when all are complete.
        return all(self.progress.of(name) >= need for name, need in zip(task.node.inputs, task.need.pixels))

    def settle(self):
        """Let the tasks that have ended go."""
        for task in [task for task in self.tasks if task.ended]:
            self.tasks.remove(task)
            self.retire(task)

    # Between the chunks of a pass ---------------------------------------------------------------------------------------

    def waiting(self):
        """Whether a task of the vector unit could go on."""
        return any(self.ready(task) for task in self.vectors)

    def fill(self, cycles):
        """Work of about so many cycles; what is too much is taken off the next call's."""
        self.credit = min(self.credit, 0) + cycles
        for task in self.vectors:
            while (
                self.credit >= LEAST and self.ready(task) and not task.paused and not task.need.light
                and self.b.has_room(task.work.params)
            ):  # fmt: skip
                self.credit -= task.advance(self.credit)
        for task in self.vectors:
            task.paused = False

    # Between passes -------------------------------------------------------------------------------------------------------

    def step(self):
        """Emit one step of the task whose turn it is; returns whether there was one."""
        if not self._step():
            self.b.flush()  # a drain that was put off may be what the others wait for
            if not self._step():
                return False
        self.settle()
        return True

    def _step(self):
        array, light = self.array, self.light
        ready = array is not None and self.ready(array)
        if light is not None and self.ready(light) and (not ready or self.balance > 0):
            spent = light.advance(None)
            self.balance -= spent
            self.credit -= spent
            return True
        if ready:
            spent = array.advance(None)
            self.balance = min(self.balance, spent) + LIGHT_SHARE * spent
            return True
        # First what the array may wait for.
        before = [task for task in self.vectors if array is not None and task.number < array.number]
        for task in [*before, *self.vectors]:
            if self.ready(task):
                task.advance(PIECE)
                return True
        return False
