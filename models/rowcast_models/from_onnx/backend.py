"""Rowcast as a backend of ONNX's own test suite: `onnx.backend.base.Backend` on the integer graph's golden."""

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.base import Backend, BackendRep

from ..frontend import import_model

__all__ = ["FROZEN", "RowcastBackend", "freeze"]

# Inputs that are constants on the accelerator: the suite gives them when the model runs.
FROZEN = {
    "QLinearConv": range(1, 9), "QLinearMatMul": range(1, 8), "ConvInteger": range(1, 4), "MatMulInteger": range(1, 4),
    "QuantizeLinear": (1, 2), "DequantizeLinear": (1, 2), "Reshape": (1,), "Resize": (1, 2, 3), "Pad": (1, 2, 3),
    "Squeeze": (1,), "Unsqueeze": (1,), "Clip": (1, 2), "Conv": (1, 2), "Gemm": (1, 2), "MatMul": (1,),
    "BatchNormalization": (1, 2, 3, 4), "PRelu": (1,),
}  # fmt: skip


def freeze(model, inputs):
    """(a copy of the model with what must be constant as initializers, the inputs that are left, by name).

    Parameters
    ----------
    inputs : arrays in the order of the graph's inputs.
    """
    frozen, kept = onnx.ModelProto(), {}
    frozen.CopyFrom(model)
    wanted = {
        name for node in model.graph.node for place in FROZEN.get(node.op_type, ()) if place < len(node.input)
        for name in [node.input[place]]
    }  # fmt: skip
    del frozen.graph.input[:]
    for value, array in zip(model.graph.input, inputs):
        if value.name in wanted:
            frozen.graph.initializer.append(numpy_helper.from_array(np.asarray(array), value.name))
        else:
            frozen.graph.input.append(value)
            kept[value.name] = np.asarray(array)
    return frozen, kept


class _Rep(BackendRep):
    def __init__(self, model):
        self.model = model

    def run(self, inputs, **_):
        """The outputs in the graph's order; raises ModelError where the model cannot be used."""
        from . import kinds, read

        frozen, arrays = freeze(self.model, inputs)
        network = import_model(read(frozen), kinds())
        values = network.run({name: arrays[name] for name in network.model.inputs})
        return [values.get(value.name, network.model.constant(value.name) if value.name in network.model.values else None)
                for value in self.model.graph.output]  # fmt: skip


class RowcastBackend(Backend):
    """prepare(model).run(inputs): see `onnx.backend.base`."""

    @classmethod
    def prepare(cls, model, device="CPU", **kwargs):
        """A BackendRep; the model is read when its constants are known, at the first run."""
        return _Rep(model)

    @classmethod
    def supports_device(cls, device):
        """The golden runs on any."""
        return device == "CPU"
