"""ResNet-50 and ResNet-152 (He et al., "Deep residual learning for image recognition", 2016, table 1), as the authors'
Caffe models have them: the first 1x1 of a stage has the stride, batch norm is folded into the convolutions."""

from .definition import Definition

__all__ = ["resnet50", "resnet152"]

STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))  # filters of the inner convolutions, stride of the first block


def resnet50():
    """The Definition of ResNet-50: 25,502,912 weights, 3,857,973,248 MACs an image."""
    return _resnet("resnet50", blocks=(3, 4, 6, 3))


def resnet152():
    """The Definition of ResNet-152: 60,040,384 weights, 11,282,415,616 MACs an image."""
    return _resnet("resnet152", blocks=(3, 8, 36, 3))


def _resnet(name, *, blocks):
    """Stages 2 to 5 of so many blocks each."""
    net = Definition(name, (224, 224, 3))
    x = net.conv("conv1", net.image, 64, 7, stride=2, pad=3)
    x = net.max_pool("pool1", x, 3, stride=2, ceil=True)
    for stage, (count, (filters, stride)) in enumerate(zip(blocks, STAGES, strict=True), 2):
        for number in range(count):
            letter = chr(ord("a") + number) if count <= 6 or not number else f"b{number}"
            x = _block(net, f"res{stage}{letter}", x, filters, stride=1 if number else stride, project=not number)
    x = net.global_average_pool("pool5", x)
    net.fc("fc1000", x, 1000)
    return net


def _block(net, name, x, filters, *, stride, project):
    """1x1, 3x3 and 1x1 to four times the filters, beside the ifmap itself or a 1x1 that projects it."""
    shortcut = net.conv(f"{name}_branch1", x, 4 * filters, 1, stride=stride, relu=False) if project else x
    y = net.conv(f"{name}_branch2a", x, filters, 1, stride=stride)
    y = net.conv(f"{name}_branch2b", y, filters, 3, pad=1)
    y = net.conv(f"{name}_branch2c", y, 4 * filters, 1, relu=False)
    return net.add(name, shortcut, y)
