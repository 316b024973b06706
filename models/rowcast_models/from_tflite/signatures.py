"""What each kind of operator takes and makes: types, ranks, constants, quantisation.  Checked before anything uses it."""

from dataclasses import dataclass

import numpy as np

__all__ = ["check_signature"]

FULL_INT8 = "convert the model to full int8"
OTHER_TYPES = {
    "float32": f"this operator works on bytes: {FULL_INT8}",
    "uint8": "uint8 is the older quantisation: convert the model to int8",
    "int16": "16-bit activations cannot be used: convert the model to int8",
}


@dataclass(frozen=True, kw_only=True)
class Role:
    """What a value must be to an operator.

    Parameters
    ----------
    what : for messages.
    types : names of numpy types.
    ranks : numbers of axes that work; () is any from 1 (constants: from 0).
    constant : True or False if it must be so, None if both work.
    scales : "one", "any" (one, or one for each entry of an axis; zero points 0), or "" where quantisation does not matter.
    optional : may be absent.
    """

    what: str
    types: tuple = ("int8",)
    ranks: tuple = ()
    constant: bool | None = False
    scales: str = "one"
    optional: bool = False

    def problem(self, value, quantisation):
        """What is wrong with a Value in this role; "" if nothing."""
        name, rank = value.name, len(value.shape)
        if self.constant is not None and (value.data is not None) != self.constant:
            is_what, must = ("is a constant", "computed") if value.data is not None else ("is computed", "a constant")
            return f"{self.what} {name!r} {is_what}, and must be {must}"
        if str(value.dtype) not in self.types:
            hint = OTHER_TYPES.get(str(value.dtype), FULL_INT8)
            return f"{self.what} {name!r} is {value.dtype}, and must be {' or '.join(self.types)}; {hint}"
        if rank not in (self.ranks or range(self.constant is False, rank + 1)):
            return f"{self.what} {name!r} {value.shape} must have {' or '.join(map(str, self.ranks or ('1',)))} axes"
        if not self.scales or value.dtype.kind == "f":
            return ""
        if quantisation is None:
            return f"{self.what} {name!r} has no scale: {FULL_INT8}"
        if self.scales == "one" and not quantisation.per_tensor:
            return f"{self.what} {name!r} has {quantisation.scale.size} scales, and must have one"
        if self.scales == "any" and np.any(quantisation.zero_point):
            return f"{self.what} {name!r} has zero points other than 0"
        return ""


@dataclass(frozen=True)
class Signature:
    """Roles of inputs and outputs; `variadic` repeats the only input's role; `one_type` is input 0's and output 0's."""

    inputs: tuple
    outputs: tuple
    variadic: bool = False
    one_type: bool = False


IFMAP, OFMAP = Role(what="the ifmap", ranks=(4,)), Role(what="the ofmap", ranks=(4,))
INPUT, OUTPUT = Role(what="input"), Role(what="output")
OPERAND = Role(what="operand", constant=None)
FILTER = Role(what="the filter", ranks=(4,), constant=True, scales="any")
WEIGHTS = Role(what="the weights", ranks=(2,), constant=True, scales="any")
BIAS = Role(what="the bias", types=("int32",), constant=True, scales="", optional=True)
FREE = ("int8", "uint8", "float32", "int32", "int64")  # moved only


def _anything(what):
    return Role(what=what, types=FREE, constant=False, scales="")


def _numbers(what, ranks=(), optional=False):
    return Role(what=what, types=("int32", "int64"), ranks=ranks, constant=True, scales="", optional=optional)


_CONVOLUTION = Signature((IFMAP, FILTER, BIAS), (OFMAP,))
_POOL = Signature((IFMAP,), (OFMAP,))
_PAIR = Signature((OPERAND, OPERAND), (OUTPUT,))
_UNARY = Signature((INPUT,), (OUTPUT,))

SIGNATURES = {
    "CONV_2D": _CONVOLUTION, "DEPTHWISE_CONV_2D": _CONVOLUTION,
    "FULLY_CONNECTED": Signature((INPUT, WEIGHTS, BIAS), (OUTPUT,)),
    "AVERAGE_POOL_2D": _POOL, "MAX_POOL_2D": _POOL,
    **dict.fromkeys(("ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM"), _PAIR),
    **dict.fromkeys(("RELU", "RELU6", "RELU_N1_TO_1", "LEAKY_RELU", "HARD_SWISH", "ELU", "LOGISTIC", "TANH", "SOFTMAX"), _UNARY),
    "PRELU": Signature((INPUT, Role(what="alpha", constant=True)), (OUTPUT,)),
    "MEAN": Signature((INPUT, _numbers("axes", (0, 1))), (OUTPUT,)),
    "CONCATENATION": Signature((OPERAND,), (OUTPUT,), variadic=True),
    "PAD": Signature((INPUT, _numbers("paddings", (2,))), (OUTPUT,)),
    "PADV2": Signature((INPUT, _numbers("paddings", (2,)), Role(what="the padding's value", constant=True)), (OUTPUT,)),
    "RESIZE_NEAREST_NEIGHBOR": Signature((IFMAP, _numbers("size", (1,))), (OFMAP,)),
    "RESHAPE": Signature(
        (_anything("input"), _numbers("shape", (1,), optional=True)), (_anything("output"),), one_type=True
    ),
    "SQUEEZE": Signature((_anything("input"),), (_anything("output"),), one_type=True),
    "EXPAND_DIMS": Signature((_anything("input"), _numbers("axis", (0, 1))), (_anything("output"),), one_type=True),
    "TRANSPOSE": Signature((_anything("input"), _numbers("perm", (1,))), (_anything("output"),), one_type=True),
    "QUANTIZE": Signature((Role(what="input", types=("float32", "int8", "uint8")),), (Role(what="output", types=("int8", "uint8")),)),
    "DEQUANTIZE": Signature((Role(what="input", types=("int8", "uint8")),), (Role(what="output", types=("float32",)),)),
    "ARG_MAX": Signature((_anything("input"), _numbers("axis", (0, 1))), (Role(what="output", types=("int32", "int64"), scales=""),)),
}  # fmt: skip


def check_signature(op, values):
    """What is wrong with the operator's inputs and outputs, one text each; () for kinds without signature."""
    signature = SIGNATURES.get(op.kind)
    if signature is None:
        return ()
    roles = signature.inputs * len(op.inputs) if signature.variadic else signature.inputs
    needed = sum(not role.optional for role in roles)
    if not max(needed, 1) <= len(op.inputs) <= len(roles):
        return (f"has {len(op.inputs)} inputs, and must have {' or '.join(map(str, sorted({needed, len(roles)})))}",)
    if len(op.outputs) != len(signature.outputs):
        return (f"has {len(op.outputs)} outputs, and must have {len(signature.outputs)}",)
    names = (*zip(roles, op.inputs, op.input_quantisation), *zip(signature.outputs, op.outputs, op.output_quantisation))
    texts = []
    for role, name, quantisation in names:
        if name:
            texts.append(role.problem(values[name], quantisation))
        elif not role.optional:
            texts.append(f"{role.what} is absent")
    if signature.one_type and op.inputs[0] and op.outputs[0]:
        source, output = (values[name].dtype for name in (op.inputs[0], op.outputs[0]))
        if source != output:
            texts.append(f"output {op.outputs[0]!r} is {output}, and must be {source} like the input")
    return tuple(text for text in texts if text)
