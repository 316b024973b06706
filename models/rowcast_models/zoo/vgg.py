"""VGG (Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", 2015, table 1):
configurations D, of 16 layers, and E, of 19."""

from .definition import Definition

__all__ = ["vgg16", "vgg19"]

FILTERS = (64, 128, 256, 512, 512)


def vgg16():
    """The Definition of configuration D: 138,344,128 weights, 15,470,264,320 MACs an image."""
    return _vgg("vgg16", convs=(2, 2, 3, 3, 3))


def vgg19():
    """The Definition of configuration E: 143,652,544 weights, 19,632,062,464 MACs an image."""
    return _vgg("vgg19", convs=(2, 2, 4, 4, 4))


def _vgg(name, *, convs):
    """Five blocks of 3x3 convolutions, the plane halved after each."""
    net = Definition(name, (224, 224, 3))
    x = net.image
    for block, (count, filters) in enumerate(zip(convs, FILTERS, strict=True), 1):
        for number in range(1, count + 1):
            x = net.conv(f"CONV{block}-{number}", x, filters, 3, pad=1)
        x = net.max_pool(f"POOL{block}", x, 2, stride=2)
    x = net.fc("FC6", x, 4096, relu=True)
    x = net.fc("FC7", x, 4096, relu=True)
    net.fc("FC8", x, 1000)
    return net
