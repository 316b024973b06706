"""Errors for people: what ends in a line (a model: in a line for each problem) and an exit status, and what is a bug."""

__all__ = ["InputError", "describe", "is_expected", "one_line"]


class InputError(ValueError):
    """Something that was given cannot be used: the message names it, what it is, and what it must be."""


# By name, so that nothing is imported to find out: a class whose module is not loaded has not been raised.
_EXPECTED = {
    "rowcast.boards.board.BoardError", "rowcast.boards.clocks.ClockError", "rowcast.config.ConfigError", "rowcast.emit.EmissionError", "rowcast.isa.IsaError",
    "rowcast_models.graph.tensor.GraphError", "rowcast_models.frontend.model.ModelError",
    "rowcast_models.compiler.errors.CompileError", "rowcast_models.compiler.tokens.TokenOverflow",
    "rowcast_models.quantise.QuantiseError", "rowcast_models.reference.ReferenceError",
    "rowcast_sim.tools.ToolError", "rowcast_sim.verilated.SimulationError", "rowcast_sim.functional.Deadlock",
    "rowcast_sim.host.link.LinkError", "rowcast_sim.host.device.DeviceError",
}  # fmt: skip


def is_expected(error):
    """Whether this is a problem of input, tools or a run, not of this program."""
    if isinstance(error, (InputError, OSError)):
        return True
    return any(f"{kind.__module__}.{kind.__qualname__}" in _EXPECTED for kind in type(error).__mro__)


def describe(error):
    """The error for the terminal: one line; of a model with several problems a first line, and an indented one for each."""
    problems = [" ".join(str(problem).split()) for problem in getattr(error, "problems", ())]
    if len(problems) > 1:
        return "\n  ".join([f"{len(problems)} problems:", *problems])
    return " ".join(one_line(error).split())


def one_line(error):
    """The error in one line; a tool's longer output goes to a file that the line names."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if len(lines) <= 1:
        return lines[0] if lines else type(error).__name__
    return " ".join(lines[:2]) + _details(str(error))


def _details(text):
    from .tools import cache_dir

    try:
        path = cache_dir() / "last-error.txt"
        path.write_text(text + "\n")
    except OSError:
        return ""
    return f" (all of it: {path})"
