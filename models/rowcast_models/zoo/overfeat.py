"""OverFeat (Sermanet et al., "OverFeat: integrated recognition, localization and detection using convolutional networks",
2014): the fast model, table 1, and the accurate one, table 3.  Neither normalises contrast; pooling does not overlap."""

from .definition import Definition

__all__ = ["overfeat_accurate", "overfeat_fast"]


def overfeat_fast():
    """The Definition of the fast model: 145,909,792 weights, 2,801,403,904 MACs an image."""
    net = Definition("overfeat-fast", (231, 231, 3))
    x = net.conv("CONV1", net.image, 96, 11, stride=4)
    x = net.max_pool("POOL1", x, 2, stride=2)
    x = net.conv("CONV2", x, 256, 5)
    x = net.max_pool("POOL2", x, 2, stride=2)
    x = net.conv("CONV3", x, 512, 3, pad=1)
    x = net.conv("CONV4", x, 1024, 3, pad=1)
    x = net.conv("CONV5", x, 1024, 3, pad=1)
    x = net.max_pool("POOL5", x, 2, stride=2)
    x = net.fc("FC6", x, 3072, relu=True)
    x = net.fc("FC7", x, 4096, relu=True)
    net.fc("FC8", x, 1000)
    return net


def overfeat_accurate():
    """The Definition of the accurate model: 144,643,872 weights, 5,355,446,784 MACs an image."""
    net = Definition("overfeat-accurate", (221, 221, 3))
    x = net.conv("CONV1", net.image, 96, 7, stride=2)
    x = net.max_pool("POOL1", x, 3, stride=3)
    x = net.conv("CONV2", x, 256, 7)
    x = net.max_pool("POOL2", x, 2, stride=2)
    x = net.conv("CONV3", x, 512, 3, pad=1)
    x = net.conv("CONV4", x, 512, 3, pad=1)
    x = net.conv("CONV5", x, 1024, 3, pad=1)
    x = net.conv("CONV6", x, 1024, 3, pad=1)
    x = net.max_pool("POOL6", x, 3, stride=3)
    x = net.fc("FC7", x, 4096, relu=True)
    x = net.fc("FC8", x, 4096, relu=True)
    net.fc("FC9", x, 1000)
    return net
