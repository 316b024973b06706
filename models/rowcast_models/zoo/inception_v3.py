"""Inception v3 (Szegedy et al., "Rethinking the inception architecture for computer vision", 2016, table 1 and figures 5
to 7), with the filters of the authors' TensorFlow model, which the paper leaves out.  Batch norm is folded; no auxiliary
classifier."""

from .definition import Definition

__all__ = ["asymmetric_block", "inception_v3"]


def inception_v3():
    """The Definition: 23,799,136 weights, 5,713,216,096 MACs an image."""
    net = Definition("inception-v3", (299, 299, 3))
    x = net.conv("Conv2d_1a_3x3", net.image, 32, 3, stride=2)
    x = net.conv("Conv2d_2a_3x3", x, 32, 3)
    x = net.conv("Conv2d_2b_3x3", x, 64, 3, pad=1)
    x = net.max_pool("MaxPool_3a_3x3", x, 3, stride=2)
    x = net.conv("Conv2d_3b_1x1", x, 80, 1)
    x = net.conv("Conv2d_4a_3x3", x, 192, 3)
    x = net.max_pool("MaxPool_5a_3x3", x, 3, stride=2)
    for name, pool in (("Mixed_5b", 32), ("Mixed_5c", 64), ("Mixed_5d", 64)):
        x = _five(net, name, x, pool)
    x = _halve_35(net, "Mixed_6a", x)
    for name, inner in (("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192)):
        x = _seven(net, name, x, inner)
    x = _halve_17(net, "Mixed_7a", x)
    for name in ("Mixed_7b", "Mixed_7c"):
        x = _wide(net, name, x)
    x = net.global_average_pool("AvgPool", x)
    net.fc("Logits", x, 1000)
    return net


def asymmetric_block():
    """The Definition of Mixed_6b by itself, on a plane of 17 x 17: kernels of 1x7 and 7x1."""
    net = Definition("inception-v3-6b", (17, 17, 768))
    _seven(net, "Mixed_6b", net.image, 128)
    return net


def _pooled(net, name, x, filters):
    x = net.average_pool(f"{name}/pool", x, 3, stride=1, pad=1)
    return net.conv(f"{name}/pool_1x1", x, filters, 1)


def _five(net, name, x, pool):
    """1x1, 5x5, two 3x3, and a pool (figure 5)."""
    a = net.conv(f"{name}/1x1", x, 64, 1)
    b = net.conv(f"{name}/5x5_reduce", x, 48, 1)
    b = net.conv(f"{name}/5x5", b, 64, 5, pad=2)
    c = net.conv(f"{name}/double_reduce", x, 64, 1)
    c = net.conv(f"{name}/double_3x3_1", c, 96, 3, pad=1)
    c = net.conv(f"{name}/double_3x3_2", c, 96, 3, pad=1)
    return net.concat(name, a, b, c, _pooled(net, name, x, pool))


def _halve_35(net, name, x):
    """35 x 35 to 17 x 17 (figure 10)."""
    a = net.conv(f"{name}/3x3", x, 384, 3, stride=2)
    b = net.conv(f"{name}/double_reduce", x, 64, 1)
    b = net.conv(f"{name}/double_3x3_1", b, 96, 3, pad=1)
    b = net.conv(f"{name}/double_3x3_2", b, 96, 3, stride=2)
    c = net.max_pool(f"{name}/pool", x, 3, stride=2)
    return net.concat(name, a, b, c)


def _seven(net, name, x, inner):
    """7x7 as 1x7 and 7x1, once and twice (figure 6)."""
    across, down = {"kernel": (1, 7), "pad": (0, 3)}, {"kernel": (7, 1), "pad": (3, 0)}
    a = net.conv(f"{name}/1x1", x, 192, 1)
    b = net.conv(f"{name}/7x7_reduce", x, inner, 1)
    b = net.conv(f"{name}/1x7", b, inner, **across)
    b = net.conv(f"{name}/7x1", b, 192, **down)
    c = net.conv(f"{name}/double_reduce", x, inner, 1)
    c = net.conv(f"{name}/double_7x1_1", c, inner, **down)
    c = net.conv(f"{name}/double_1x7_1", c, inner, **across)
    c = net.conv(f"{name}/double_7x1_2", c, inner, **down)
    c = net.conv(f"{name}/double_1x7_2", c, 192, **across)
    return net.concat(name, a, b, c, _pooled(net, name, x, 192))


def _halve_17(net, name, x):
    """17 x 17 to 8 x 8 (figure 10)."""
    a = net.conv(f"{name}/3x3_reduce", x, 192, 1)
    a = net.conv(f"{name}/3x3", a, 320, 3, stride=2)
    b = net.conv(f"{name}/7x7_reduce", x, 192, 1)
    b = net.conv(f"{name}/1x7", b, 192, (1, 7), pad=(0, 3))
    b = net.conv(f"{name}/7x1", b, 192, (7, 1), pad=(3, 0))
    b = net.conv(f"{name}/7x7_3x3", b, 192, 3, stride=2)
    c = net.max_pool(f"{name}/pool", x, 3, stride=2)
    return net.concat(name, a, b, c)


def _wide(net, name, x):
    """3x3 as 1x3 beside 3x1 (figure 7)."""
    across, down = {"kernel": (1, 3), "pad": (0, 1)}, {"kernel": (3, 1), "pad": (1, 0)}
    a = net.conv(f"{name}/1x1", x, 320, 1)
    b = net.conv(f"{name}/3x3_reduce", x, 384, 1)
    b = net.conv(f"{name}/1x3", b, 384, **across), net.conv(f"{name}/3x1", b, 384, **down)
    c = net.conv(f"{name}/double_reduce", x, 448, 1)
    c = net.conv(f"{name}/double_3x3", c, 384, 3, pad=1)
    c = net.conv(f"{name}/double_1x3", c, 384, **across), net.conv(f"{name}/double_3x1", c, 384, **down)
    return net.concat(name, a, *b, *c, _pooled(net, name, x, 192))
