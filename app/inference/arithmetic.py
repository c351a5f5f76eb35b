"""exp, log1p, expm1, powers and piecewise linear maps in IEEE additions, multiplications and divisions alone.

A processor's or numpy's own exp differs in its last bit between machines and between one number and many; these do
not, and C repeats them bit for bit (`training/publishing/ensemble.c`). Errors stay near 1 ulp.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.features.ragged import natural_log

Floats = NDArray[np.float64]

LOWEST: Final = -746.0  # e^x is 0 in float64 from here down
_INVERSE_LN2: Final = 1.44269504088896338700e00
_LN2_HIGH: Final = 6.93147180369123816490e-01
_LN2_LOW: Final = 1.90821492927058770002e-10


def exp(x: Floats) -> Floats:
    """e^x.

    The reduction and the rational approximation are those of fdlibm's `__ieee754_exp` (Sun Microsystems, 2004):
    x = k·ln 2 + r with |r| ≤ ½ ln 2, e^r = 1 + r + r·c / (2 - c), c = r - t·P(t), t = r².

    Parameters
    ----------
    x : ndarray of any shape, float64, below 709
    """
    x = np.maximum(x, LOWEST)
    k = np.rint(x * _INVERSE_LN2)
    high, low = x - k * _LN2_HIGH, k * _LN2_LOW
    r = high - low
    t = r * r
    c = r - t * (
        1.66666666666666019037e-01
        + t
        * (
            -2.77777777770155933842e-03
            + t * (6.61375632143793436117e-05 + t * (-1.65339022054652515390e-06 + t * 4.13813679705723846039e-08))
        )
    )
    y = 1.0 - ((low - (r * c) / (2.0 - c)) - high)
    scaled: Floats = np.ldexp(y, k.astype(np.int32))
    return scaled


def log1p(x: Floats) -> Floats:
    """ln(1 + x), with the correction for what 1 + x rounds away [HP-15C Advanced Functions Handbook, 1982].

    Parameters
    ----------
    x : ndarray of any shape, float64, ≥ 0 and finite
    """
    u = 1.0 + x
    result: Floats = natural_log(u) - ((u - 1.0) - x) / u
    return result


def expm1(x: Floats) -> Floats:
    """e^x - 1, by Kahan's (u - 1)·x / ln u with u = e^x [Higham 2002, section 1.14.1].

    Parameters
    ----------
    x : ndarray of any shape, float64, ≥ 0 and below 709
    """
    u = exp(x)
    near = u == 1.0
    ratio: Floats = np.where(near, x, (u - 1.0) * x / np.where(near, 1.0, natural_log(u)))
    return ratio


def power(x: Floats, exponent: float) -> Floats:
    """x^exponent.

    Parameters
    ----------
    x : ndarray of any shape, float64, ≥ 0 and finite
    exponent : float, > 0
    """
    if exponent == 1.0:
        return x
    positive = x > 0.0
    result: Floats = np.where(positive, exp(exponent * natural_log(np.where(positive, x, 1.0))), 0.0)
    return result


def slopes(x: Floats, y: Floats) -> Floats:
    """Slope after each knot, 0 after the last; arguments as `interpolate`'s."""
    return np.append(np.diff(y) / np.diff(x), 0.0)


def interpolate(value: Floats, x: Floats, y: Floats) -> Floats:
    """The piecewise linear map through the knots (x, y), constant beyond its ends.

    Parameters
    ----------
    value : ndarray of shape (n,), float64, finite
    x, y : ndarray of shape (n_knots,), float64, x increasing
    """
    knot = np.maximum(np.searchsorted(x, value, side="right") - 1, 0)
    result: Floats = y[knot] + slopes(x, y)[knot] * (np.maximum(value, x[0]) - x[knot])
    return result
