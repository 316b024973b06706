"""LeNet-5, trained on real handwritten digits and quantised to int8 (LeCun et al., "Gradient-based learning applied to
document recognition", 1998, section II.B; dense C3, average pooling without parameters, linear output).

`models/train/train_lenet5.py` makes the data files; `data/DATA.md` says where the digits come from.
"""

from pathlib import Path

import numpy as np

from ..graph import AveragePool, Conv, FullyConnected, Graph, Requantisation, Tensor

__all__ = ["DATA", "digits", "lenet5", "seeded_digits", "to_int8"]

DATA = Path(__file__).resolve().parent.parent / "data"
IMAGE_ZERO_POINT = -128  # a black pixel, 0
TANH_SCALE = 1 / 128  # of every tensor after a tanh, zero point 0, as TFLite prescribes


def to_int8(images):
    """Pixels, uint8 [N, 28, 28], as the network takes them: int8 [N, 28, 28, 1], pixel - 128."""
    return (images[..., None].astype(np.int16) + IMAGE_ZERO_POINT).astype(np.int8)


def digits():
    """Held-out digits: images uint8 [500, 28, 28] (0 is paper, 255 is ink), labels uint8 [500]."""
    with np.load(DATA / "digits.npz") as arrays:
        return arrays["images"], arrays["labels"]


def seeded_digits(count, *, seed=0):
    """Some of the held-out digits, uint8 [count, 28, 28]; no digit twice up to 500."""
    images, _ = digits()
    return images[np.resize(np.random.default_rng(seed).permutation(len(images)), count)]


def lenet5(path=DATA / "lenet5_int8.npz", *, batch=1):
    """The integer graph of LeNet-5: input "image" [N, 28, 28, 1], output "OUT" [N, 10]: logits, largest for the digit.

    tanh is the table of the layer before it.  416,520 MACs an image.

    Parameters
    ----------
    path : npz file with, for each layer L of C1, C3, C5, F6 and OUT: `L.weights` int8 [M, R, S, C] or [M, K], `L.bias`
        int32 [M], `L.multiplier` int32 [M], `L.shift` int8 [M], `L.zero_point` and `L.scale` of the sums, and `L.table`
        int8 [256], which OUT has not.
    batch : N of the tensors' shapes.
    """
    with np.load(path) as file:
        arrays = dict(file)

    def layer(name):
        post = Requantisation(
            mode="tflite", multiplier=arrays[f"{name}.multiplier"], shift=arrays[f"{name}.shift"],
            zero_point=int(arrays[f"{name}.zero_point"]), table=arrays.get(f"{name}.table"),
        )  # fmt: skip
        return {
            "name": name,
            "output": name,
            "weights": arrays[f"{name}.weights"],
            "bias": arrays[f"{name}.bias"],
            "post": post,
        }

    halve = {"window": (2, 2), "stride": (2, 2)}
    nodes = (
        Conv(inputs=("image",), padding=((2, 2), (2, 2)), **layer("C1")),
        AveragePool(name="S2", inputs=("C1",), output="S2", **halve),
        Conv(inputs=("S2",), **layer("C3")),
        AveragePool(name="S4", inputs=("C3",), output="S4", **halve),
        FullyConnected(inputs=("S4",), **layer("C5")),
        FullyConnected(inputs=("C5",), **layer("F6")),
        FullyConnected(inputs=("F6",), **layer("OUT")),
    )
    tensors = [
        Tensor("image", (batch, 28, 28, 1), zero_point=IMAGE_ZERO_POINT, scale=1 / 255),
        *(Tensor(node.output, scale=TANH_SCALE) for node in nodes[:-1]),
        Tensor("OUT", zero_point=int(arrays["OUT.zero_point"]), scale=float(arrays["OUT.scale"])),
    ]
    return Graph(name="lenet5", tensors=tensors, inputs=("image",), outputs=("OUT",), nodes=nodes)
