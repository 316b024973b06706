"""MobileNet v1 1.0-224 (Howard et al., "MobileNets: efficient convolutional neural networks for mobile vision
applications", 2017, table 1), padded by 1 on each side.  Batch norm is folded; ReLU6 is the range of the bytes."""

from .definition import Definition

__all__ = ["mobilenet_v1"]

# Filters of the pointwise convolution, stride of the depthwise one before it.
BLOCKS = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1), (512, 1), (512, 1), (512, 1),
    (1024, 2), (1024, 1),
)  # fmt: skip


def mobilenet_v1():
    """The Definition: 4,209,088 weights, 568,740,352 MACs an image."""
    net = Definition("mobilenet-v1", (224, 224, 3))
    x = net.conv("conv1", net.image, 32, 3, stride=2, pad=1)
    for number, (filters, stride) in enumerate(BLOCKS, 1):
        x = net.depthwise(f"dw{number}", x, 3, stride=stride, pad=1)
        x = net.conv(f"pw{number}", x, filters, 1)
    x = net.global_average_pool("avgpool", x)
    net.fc("fc", x, 1000)
    return net
