"""GoogLeNet, Inception v1 (Szegedy et al., "Going deeper with convolutions", 2015, table 1), as Caffe's bvlc_googlenet has
it: LRN before and after the second convolutions, pooling planes rounded up, no auxiliary classifiers."""

from .definition import Definition

__all__ = ["googlenet"]


def googlenet():
    """The Definition: 6,990,272 weights, 1,582,671,872 MACs an image."""
    net = Definition("googlenet", (224, 224, 3), unit=20.0)
    x = net.conv("conv1/7x7_s2", net.image, 64, 7, stride=2, pad=3)
    x = net.max_pool("pool1/3x3_s2", x, 3, stride=2, ceil=True)
    x = net.lrn("pool1/norm1", x)
    x = net.conv("conv2/3x3_reduce", x, 64, 1)
    x = net.conv("conv2/3x3", x, 192, 3, pad=1)
    x = net.lrn("conv2/norm2", x)
    x = net.max_pool("pool2/3x3_s2", x, 3, stride=2, ceil=True)
    x = _inception(net, "3a", x, 64, (96, 128), (16, 32), 32)
    x = _inception(net, "3b", x, 128, (128, 192), (32, 96), 64)
    x = net.max_pool("pool3/3x3_s2", x, 3, stride=2, ceil=True)
    x = _inception(net, "4a", x, 192, (96, 208), (16, 48), 64)
    x = _inception(net, "4b", x, 160, (112, 224), (24, 64), 64)
    x = _inception(net, "4c", x, 128, (128, 256), (24, 64), 64)
    x = _inception(net, "4d", x, 112, (144, 288), (32, 64), 64)
    x = _inception(net, "4e", x, 256, (160, 320), (32, 128), 128)
    x = net.max_pool("pool4/3x3_s2", x, 3, stride=2, ceil=True)
    x = _inception(net, "5a", x, 256, (160, 320), (32, 128), 128)
    x = _inception(net, "5b", x, 384, (192, 384), (48, 128), 128)
    x = net.global_average_pool("pool5/7x7_s1", x)
    net.fc("loss3/classifier", x, 1000)
    return net


def _inception(net, name, x, one, three, five, pool):
    """Four branches side by side; `three` and `five` are (filters of the 1x1 that reduces, filters)."""
    name = f"inception_{name}"
    a = net.conv(f"{name}/1x1", x, one, 1)
    b = net.conv(f"{name}/3x3_reduce", x, three[0], 1)
    b = net.conv(f"{name}/3x3", b, three[1], 3, pad=1)
    c = net.conv(f"{name}/5x5_reduce", x, five[0], 1)
    c = net.conv(f"{name}/5x5", c, five[1], 5, pad=2)
    d = net.max_pool(f"{name}/pool", x, 3, stride=1, pad=1)
    d = net.conv(f"{name}/pool_proj", d, pool, 1)
    return net.concat(f"{name}/output", a, b, c, d)
