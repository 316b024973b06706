"""float32 functions bit for bit as ONNX Runtime computes them on x86-64 with fused multiply-adds.

Its kernels are polynomials, whose last bits decide which way a value between two bytes is rounded.
"""

import numpy as np

__all__ = ["elu_exp", "exp", "fma", "logistic", "tanh"]

_F = np.float32

# MlasLogisticKernel, MlasTanhKernel (mlas/lib/logistic.cpp, tanh.cpp): x P(x^2) / Q(x^2), highest power first.
_LOGISTIC = (
    (4.37031012579801e-11, 1.15627324459942e-07, 6.08574864600143e-05, 8.51377133304701e-03, 2.48287947061529e-01),
    (6.10247389755681e-13, 5.76102136993427e-09, 6.29106785017040e-06, 1.70198817374094e-03, 1.16817656904453e-01,
     9.93151921023180e-01),
)  # fmt: skip
_TANH = (
    (-2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08, 1.48572235717979e-05,
     6.37261928875436e-04, 4.89352455891786e-03),
    (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03),
)  # fmt: skip
# MlasComputeExp (mlas/lib/compute.cpp): exp(r) for |r| <= ln(2) / 2, and ln(2) in two parts.
_EXP = tuple(map(float.fromhex, (
    "0x1.694000p-10", "0x1.125edcp-7", "0x1.555b5ap-5", "0x1.555450p-3", "0x1.fffff6p-2", "0x1p0", "0x1p0"
)))  # fmt: skip
_LN2 = (6.93145752e-1, 1.42860677e-6)
_INTEGER = 12582912.0  # 1.5 * 2^23: adding it leaves no fraction
# Eigen's pexp_float, without fused multiply-adds: powers 6 to 2 of exp(r).
_EIGEN = (1.37449637986719608306884765625e-3, 8.36894474923610687255859375e-3, 4.166965186595916748046875e-2,
          0.16666518151760101318359375, 0.49999988079071044921875)  # fmt: skip


def fma(a, b, c):
    """float32 `a * b + c`, rounded once.

    The product of two float32 is exact in float64.  The sum is rounded to odd there (`a + b` and what it lost, Knuth's two-sum), which
    53 bits are enough for, so that rounding to float32 is the only rounding that shows.
    """
    product = np.atleast_1d(np.asarray(a, np.float64) * np.asarray(b, np.float64))
    product, c = np.broadcast_arrays(product, np.asarray(c, np.float64))
    total = product + c
    part = total - product
    lost = (product - (total - part)) + (c - part)
    even = total.view(np.int64) & 1 == 0
    odd = np.nextafter(total, np.where(lost > 0, np.inf, -np.inf))
    made = np.where((lost != 0) & even, odd, total).astype(_F)
    return made if np.ndim(a) or np.ndim(b) or np.ndim(c) else made[0]


def _polynomial(x, coefficients):
    made = np.full(x.shape, coefficients[0], _F)
    for coefficient in coefficients[1:]:
        made = fma(made, x, _F(coefficient))
    return made


def _rational(x, limit, polynomials):
    x = np.clip(x, _F(-limit), _F(limit))
    above, below = (_polynomial(x * x, each) for each in polynomials)
    return x * above / below


def logistic(x):
    """1 / (1 + exp(-x)) of float32 [n]: MlasComputeLogistic."""
    return np.clip(_rational(x, 18, _LOGISTIC) + _F(0.5), _F(0), _F(1))


def tanh(x):
    """tanh(x) of float32 [n]: MlasComputeTanh."""
    return _rational(x, 9, _TANH)


def _scaled(x, power):
    """x * 2^power, rounded once where it is subnormal."""
    with np.errstate(over="ignore"):
        return np.ldexp(x.astype(np.float64), power.astype(np.int64)).astype(_F)


def exp(x):
    """exp(x) of float32 [n]: MlasComputeExp."""
    x = np.clip(x, _F(-103.9720840454), _F(88.7762626647950))
    power = fma(x, _F(1.44269504088896341), _F(_INTEGER)) - _F(_INTEGER)
    rest = fma(power, _F(-_LN2[1]), fma(power, _F(-_LN2[0]), x))
    return _scaled(_polynomial(rest, _EXP), power)


def elu_exp(x):
    """exp(x) of float32 [n] as Elu, Selu and Celu have it: Eigen's.

    Four values at a time; the last of a tensor whose size is not a multiple of four are the C library's, which differ
    by one unit of the last place in one of thousands.
    """
    x = np.clip(x, _F(-104), _F(88.723))
    power = np.floor(x * _F(1.44269504088896341) + _F(0.5))
    rest = (x - power * _F(0.693359375)) + power * _F(2.12194440e-4)
    square = rest * rest
    c6, c5, c4, c3, c2 = map(_F, _EIGEN)
    even, odd = (square * c6 + c4) * square + c2, square * c5 + c3
    return _scaled(square * (rest * odd + even) + (rest + _F(1)), power)
