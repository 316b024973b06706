"""A model from outside as plain records: what the readers of both formats make, and what everything after them takes.

Nothing here knows a file format.  A value has the model's own axes and type; an operator has the names of its inputs and
outputs, its attributes, and how each of its inputs and outputs is quantised.
"""

from dataclasses import dataclass, field

import numpy as np

__all__ = ["Model", "ModelError", "Operator", "Problem", "Quantisation", "Value"]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a model.

    Parameters
    ----------
    node : the model's name of the operator, or of the tensor or file, in which it is.
    operator : kind of the operator, or "".
    text : what is wrong: the attribute or shape, its value, and what would work.
    """

    node: str
    operator: str
    text: str

    def __str__(self):
        kind = f" ({self.operator})" if self.operator else ""
        return f"{self.node!r}{kind}: {self.text}" if self.node else self.text


class ModelError(ValueError):
    """A model that cannot be used; `problems` has everything that was found, the message has a line for each."""

    def __init__(self, problems):
        self.problems = tuple([Problem("", "", problems)] if isinstance(problems, str) else problems)
        super().__init__("\n".join(map(str, self.problems)))


@dataclass(frozen=True, eq=False)
class Quantisation:
    """real = scale * (q - zero_point).

    Parameters
    ----------
    scale : float32 [1], or [size of `axis`].
    zero_point : int32, same shape.
    axis : the axis that scale and zero_point belong to, of more than one.
    """

    scale: np.ndarray
    zero_point: np.ndarray
    axis: int = 0

    def __post_init__(self):
        scale = np.atleast_1d(np.asarray(self.scale, np.float32))
        zero_point = np.atleast_1d(np.asarray(self.zero_point, np.int32))
        object.__setattr__(self, "scale", scale)
        object.__setattr__(self, "zero_point", np.broadcast_to(zero_point, scale.shape))

    @property
    def per_tensor(self):
        """Whether one scale stands for all."""
        return self.scale.size == 1

    def same(self, other):
        """Whether both mean the same."""
        if other is None:
            return False
        return np.array_equal(self.scale, other.scale) and np.array_equal(self.zero_point, other.zero_point)


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor of the model.

    Parameters
    ----------
    name : unique in the model.
    shape : in the model's own order of axes (TFLite NHWC, ONNX NCHW), batch first.
    dtype : numpy type.
    quantisation : None for values that are not quantised.
    data : the array of a constant, else None.
    """

    name: str
    shape: tuple
    dtype: np.dtype
    quantisation: Quantisation | None = None
    data: np.ndarray | None = None

    @property
    def is_byte(self):
        """Whether it can live on the accelerator."""
        return self.dtype in (np.int8, np.uint8)


@dataclass(frozen=True, eq=False)
class Operator:
    """One operator.

    Parameters
    ----------
    kind : its name in the format, such as "CONV_2D" or "QLinearConv".
    name : of the node, for people; unique.
    inputs, outputs : names of values; "" is an optional input that is absent.  Scales and zero points are no inputs.
    attributes : by name, defaults filled in, as plain Python and numpy values.
    input_quantisation, output_quantisation : one for each, None where there is none; what this operator means by
        its bytes, which a format may state for every use anew.
    """

    kind: str
    name: str
    inputs: tuple
    outputs: tuple
    attributes: dict = field(default_factory=dict)
    input_quantisation: tuple = ()
    output_quantisation: tuple = ()

    def problem(self, text):
        """A ModelError about this operator."""
        return ModelError([Problem(self.name, self.kind, text)])


@dataclass(frozen=True, eq=False)
class Model:
    """A model.

    Parameters
    ----------
    format : "tflite" or "onnx".
    name : of the model, for people: the file's name without its ending.
    values : Value by name, constants included.
    operators : each after those that make its inputs.
    inputs, outputs : names of values.
    """

    format: str
    name: str
    values: dict
    operators: tuple
    inputs: tuple
    outputs: tuple

    def constant(self, name):
        """The array of a constant; None if `name` is "" or no constant."""
        return self.values[name].data if name else None
