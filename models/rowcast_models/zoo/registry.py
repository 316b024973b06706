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
    image_shape : (H, W) or (H, W, C) of images, uint8 [N, ...], that `to_input` takes; None if there is no such form.
    to_input : images to the int8 input of the graph.
    images : images(count, seed=0) -> uint8 [count, ...], what to try the network on.
    define : returns the Definition, from which weights and MACs are known without building; None if there is none.
    """

    title: str
    build: Callable
    image_shape: tuple | None = None
    to_input: Callable | None = None
    images: Callable | None = None
    define: Callable | None = None

    @property
    def definition(self) -> Definition:
        """The layers, without weights.

        Raises
        ------
        ValueError
            This network has no definition.
        """
        if self.define is None:
            raise ValueError(f"{self.title} has no definition")
        return self.define()

    @property
    def input_shape(self):
        """(H, W, C) of the graph's int8 input."""
        return self.to_input(np.zeros((1, *self.image_shape), np.uint8)).shape[1:]

    def inputs(self, count, *, seed=0):
        """Seeded images as the graph takes them, int8 [count, H, W, C]."""
        return self.to_input(self.images(count, seed=seed))

    def export(self, path, *, seed=0):
        """Write the network as a quantised ONNX model; see `build.export`."""
        from .build import export

        export(self.definition, path, seed=seed)


def _seeded(title, define):
    """A ZooNetwork of a definition, with seeded weights."""

    shape = define().image.shape

    def build_graph(*, batch=1, seed=0):
        from .build import build  # and with it onnx

        return build(define(), batch=batch, seed=seed)

    def images(count, *, seed=0):
        return random_images(count, shape, seed=seed)

    return ZooNetwork(title, build_graph, shape, pixels_to_int8, images, define)


NETWORKS = {
    "lenet5": ZooNetwork("LeNet-5 on handwritten digits", lenet5, (28, 28), to_int8, seeded_digits),
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
