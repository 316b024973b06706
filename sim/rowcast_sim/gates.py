"""The accelerator after synthesis: the netlist of Yosys with its cells' models, run like the RTL.

All that has no reset starts at random (see `cells`), from a seed: flip-flops, block RAM and distributed RAM.
"""

import numpy as np
from rowcast_models import graph as g
from rowcast_models.golden.requantise import quantise_multiplier_tflite

from .cells import cell_models
from .synthesis import synthesise
from .verilate import emitted
from .verilated import build

__all__ = ["gate_model", "netlist_text", "sample_graph"]


def netlist_text(config, family, *, progress=None):
    """Verilog of a configuration's netlist for `family`, without its cells; errors are those of `synthesise`."""
    return synthesise(emitted(config), family=family, output_registers=family == "ecp5", progress=progress).verilog()


def gate_model(netlist, family, *, start=1, quiet=False):
    """The `verilated.Model` of a netlist, which starts with the random values of seed `start`."""
    return build(netlist + cell_models(family, netlist), netlist=True, start=start, quiet=quiet)


def sample_graph(*, size, channels, filters, vector=True, seed=1):
    """A graph of what the units do: a convolution, pooling, a depthwise convolution, average pooling, an addition.

    Parameters
    ----------
    size : height and width of the ifmap, even.
    channels, filters : of the first convolution, which has a table; the others have `filters` channels.
    vector : the configuration has a vector unit; else pooling is by averages, of windows that no padding touches, and
        nothing is added.
    """
    rng = np.random.default_rng(seed)
    same = ((1, 1), (1, 1))

    def convolution(name, source, output, inputs, groups, **more):
        weights = rng.integers(-127, 128, (filters, 3, 3, inputs // groups))
        scale = 1 / (140 * np.sqrt(weights[0].size))
        pairs = [quantise_multiplier_tflite(scale * rng.uniform(0.5, 2)) for _ in range(filters)]
        multiplier, shift = zip(*pairs, strict=True)
        post = g.Requantisation(mode="tflite", multiplier=multiplier, shift=shift, zero_point=-5, **more)
        bias = rng.integers(-5000, 5000, filters)
        return g.Conv(name=name, inputs=(source,), output=output, weights=weights, bias=bias, post=post,
                      groups=groups, padding=same)  # fmt: skip

    def tensor(name, shape=None):
        return g.Tensor(name, shape, -5, 0.1)

    names = ("conv", "pooled", "depthwise", "average", *(("sum",) if vector else ()))
    tensors = {name: tensor(name) for name in names} | {"ifmap": tensor("ifmap", (1, size, size, channels))}
    pool = {"inputs": ("conv",), "output": "pooled", "window": (2, 2), "stride": (2, 2)}
    nodes = [
        convolution("conv", "ifmap", "conv", channels, 1, table=rng.integers(-128, 128, 256)),
        g.MaxPool(name="max_pool", **pool) if vector else g.AveragePool(name="pool", **pool),
        convolution("depthwise", "pooled", "depthwise", filters, filters),
        g.AveragePool(name="average_pool", inputs=("depthwise",), output="average", window=(3, 3), stride=(1, 1),
                      padding=same if vector else ((0, 0), (0, 0))),
    ]  # fmt: skip
    if vector:
        nodes.append(g.tflite_add(name="add", a=tensors["pooled"], b=tensors["average"], output=tensors["sum"]))
    return g.Graph(name="sample", tensors=list(tensors.values()), inputs=["ifmap"], outputs=[names[-1]], nodes=nodes)
