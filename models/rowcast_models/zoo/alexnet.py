"""AlexNet (Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional neural networks", 2012), as
Caffe's bvlc_alexnet has it: one image of 227 x 227, two groups in CONV2, CONV4 and CONV5."""

from .definition import Definition

__all__ = ["alexnet"]


def alexnet():
    """The Definition: 60,954,656 weights, 724,406,816 MACs an image."""
    net = Definition("alexnet", (227, 227, 3), unit=20.0)
    x = net.conv("CONV1", net.image, 96, 11, stride=4)
    x = net.lrn("NORM1", x)
    x = net.max_pool("POOL1", x, 3, stride=2)
    x = net.conv("CONV2", x, 256, 5, pad=2, groups=2)
    x = net.lrn("NORM2", x)
    x = net.max_pool("POOL2", x, 3, stride=2)
    x = net.conv("CONV3", x, 384, 3, pad=1)
    x = net.conv("CONV4", x, 384, 3, pad=1, groups=2)
    x = net.conv("CONV5", x, 256, 3, pad=1, groups=2)
    x = net.max_pool("POOL5", x, 3, stride=2)
    x = net.fc("FC6", x, 4096, relu=True)
    x = net.fc("FC7", x, 4096, relu=True)
    net.fc("FC8", x, 1000)
    return net
