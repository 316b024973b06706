"""The zoo's networks by name, with what a tool must know to feed them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .alexnet import alexnet
from .definition import Definition
from .googlenet import googlenet
from .images import pixels_to_int8, random_images
from .inception_v3 import inception_v3
from .lenet5 import lenet5, seeded_digits, to_int8
from .lenet5_onnx import lenet5_definition, lenet5_model
from .mobilenet import mobilenet_v1
from .overfeat import overfeat_accurate, overfeat_fast
from .resnet import resnet50, resnet152
from .vgg import vgg16, vgg19

__all__ = ["NETWORKS", "ZooNetwork"]


@dataclass(frozen=True)
class ZooNetwork:
    """A network of the zoo.

    Parameters
    ----------
    title : what it is, in a line.
    build : called with `batch`, returns the integer graph: one input, whose first axis is the batch.
    image_shape : (H, W) or (H, W, C) of images, uint8 [N, ...], that `to_input` takes.
    to_input : images to the int8 input of the graph.
    images : images(count, seed=0) -> uint8 [count, ...], what to try the network on.
    define : returns the Definition, from which weights and MACs are known without building.
    model : returns the quantised ONNX model, a ModelProto.
    seeded : whether the weights are random; then `build` and `model` take a `seed`.
    """

    title: str
    build: Callable
    image_shape: tuple
    to_input: Callable
    images: Callable
    define: Callable
    model: Callable
    seeded: bool = True

    @property
    def definition(self) -> Definition:
        """The layers, without weights."""
        return self.define()

    @property
    def input_shape(self):
        """(H, W, C) of the graph's int8 input."""
        return self.to_input(np.zeros((1, *self.image_shape), np.uint8)).shape[1:]

    def inputs(self, count, *, seed=0):
        """Seeded images as the graph takes them, int8 [count, H, W, C]."""
        return self.to_input(self.images(count, seed=seed))

    def export(self, path, *, seed=0):
        """Write the network as a quantised ONNX model, int8, in one file below 2 GB.

        It takes images int8 [N, C, H, W] and leaves N open.
        """
        import onnx

        onnx.save(self.model(seed=seed) if self.seeded else self.model(), path)


def _seeded(title, define):
    """A ZooNetwork of a definition, with seeded weights."""
    shape = define().image.shape

    def build_graph(*, batch=1, seed=0):
        from .build import build  # and with it onnx

        return build(define(), batch=batch, seed=seed)

    def images(count, *, seed=0):
        return random_images(count, shape, seed=seed)

    def model(*, seed=0):
        from .to_onnx import onnx_model

        return onnx_model(define(), seed=seed)

    return ZooNetwork(title, build_graph, shape, pixels_to_int8, images, define, model)


NETWORKS = {
    "lenet5": ZooNetwork(
        title="LeNet-5 on handwritten digits",
        build=lenet5,
        image_shape=(28, 28),
        to_input=to_int8,
        images=seeded_digits,
        define=lenet5_definition,
        model=lenet5_model,
        seeded=False,
    ),
    "alexnet": _seeded("AlexNet, seeded weights", alexnet),
    "overfeat-fast": _seeded("OverFeat, the fast model, seeded weights", overfeat_fast),
    "overfeat-accurate": _seeded("OverFeat, the accurate model, seeded weights", overfeat_accurate),
    "vgg16": _seeded("VGG-16, seeded weights", vgg16),
    "vgg19": _seeded("VGG-19, seeded weights", vgg19),
    "googlenet": _seeded("GoogLeNet, Inception v1, seeded weights", googlenet),
    "inception-v3": _seeded("Inception v3, seeded weights", inception_v3),
    "resnet50": _seeded("ResNet-50, seeded weights", resnet50),
    "resnet152": _seeded("ResNet-152, seeded weights", resnet152),
    "mobilenet-v1": _seeded("MobileNet v1 1.0-224, seeded weights", mobilenet_v1),
}
