"""Segment kernels: a flat array of values and the length of each segment enter, one number a segment leaves.

One kernel serves one row and many: `reduceat` and `reduce` differ in the last bit, so `reduceat` is used always. Sums
come from `np.add.reduceat` on the non-empty segments (it is wrong on empty ones), never from prefix-sum differences;
bits therefore do not depend on what else lies in the batch.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.features.columns import Floats, Ints

#: The missing value of compiled trees: a NaN with all bits set.
MISSING: Final = np.array([0xFFFFFFFFFFFFFFFF], dtype=np.uint64).view(np.float64)[0]


def segment_sum(values: Floats, counts: Ints) -> Floats:
    """Sum of each segment, 0 where it is empty.

    Parameters
    ----------
    values : ndarray of shape (n_values,), float64
    counts : ndarray of shape (n_segments,), int64, ≥ 0, summing to n_values

    Returns
    -------
    ndarray of shape (n_segments,), float64
    """
    return _scatter(np.add, values, counts, 0.0)


def segment_max(values: Floats, counts: Ints, empty: float) -> Floats:
    """Largest value of each segment, `empty` where it has none. Shapes as in `segment_sum`."""
    return _scatter(np.maximum, values, counts, empty)


def segment_min(values: Floats, counts: Ints, empty: float) -> Floats:
    """Smallest value of each segment, `empty` where it has none. Shapes as in `segment_sum`."""
    return _scatter(np.minimum, values, counts, empty)


def _scatter(ufunc: np.ufunc, values: Floats, counts: Ints, empty: float) -> Floats:
    out = np.full(len(counts), empty)
    filled = counts.nonzero()[0]
    if filled.size:
        out[filled] = ufunc.reduceat(values, _starts(counts[filled]))
    return out


def _starts(lengths: Ints) -> Ints:
    starts = np.zeros(len(lengths), dtype=np.int64)
    np.add.accumulate(lengths[:-1], out=starts[1:])
    return starts


def aggregate(values: Floats, counts: Ints, wanted: frozenset[str]) -> dict[str, Floats]:
    """All wanted aggregates of the *non-empty* segments, every field and row at once.

    Parameters
    ----------
    values : ndarray of shape (n_values,), float64
    counts : ndarray of shape (n,), int64, all > 0, summing to n_values
    wanted : frozenset of str
        Any of sum, mean, max, min, std, entropy, top_share.

    Returns
    -------
    dict of str to ndarray of shape (n,), float64
        `std` is the population's. With shares s = v / sum over the positive values, `entropy` is -Σ s·ln s in nats
        and `top_share` is max / sum; both are NaN where the sum is not positive.
    """
    starts = _starts(counts)
    out = {"sum": np.add.reduceat(values, starts)}
    if not wanted.isdisjoint(("max", "entropy", "top_share")):
        out["max"] = np.maximum.reduceat(values, starts)
    if "min" in wanted:
        out["min"] = np.minimum.reduceat(values, starts)
    if "mean" in wanted or "std" in wanted:
        out["mean"] = out["sum"] / counts
    if not wanted.isdisjoint(("std", "entropy", "top_share")):
        owner = np.repeat(np.arange(len(counts)), counts)
        if "std" in wanted:
            deviation = values - out["mean"][owner]
            out["std"] = np.sqrt(np.add.reduceat(deviation * deviation, starts) / counts)
        if "entropy" in wanted or "top_share" in wanted:
            _shares(out, values, owner, starts)
    return out


def _shares(out: dict[str, Floats], values: Floats, owner: NDArray[np.intp], starts: Ints) -> None:
    total = np.where(out["sum"] > 0.0, out["sum"], np.nan)
    share = values / total[owner]
    # A share ≤ 0 or NaN contributes nothing; its logarithm is never taken.
    safe = np.where(share > 0.0, share, 1.0)
    out["entropy"] = np.add.reduceat(-safe * natural_log(safe), starts) + 0.0 * total
    out["top_share"] = out["max"] / total


def natural_log(x: Floats) -> Floats:
    """ln x in IEEE additions, multiplications and divisions alone, so that C gives the same bits on every machine.

    The reduction and the polynomial are those of fdlibm's `__ieee754_log` (Sun Microsystems, 1993; error < 1 ulp):
    x = 2^k · (1 + f) with 1 + f in [√½, √2), s = f / (2 + f), ln(1 + f) = f - (f²/2 - s·(f²/2 + R(s²))).

    Parameters
    ----------
    x : ndarray of any shape, float64, > 0 and finite
    """
    mantissa, exponent = np.frexp(x)
    low = mantissa < 0.7071067811865476
    f = np.where(low, mantissa + mantissa, mantissa) - 1.0
    k = (exponent - low).astype(np.float64)
    s = f / (f + 2.0)
    z = s * s
    w = z * z
    t1 = w * (3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01))
    t2 = z * (
        6.666666666666735130e-01
        + w * (2.857142874366239149e-01 + w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01))
    )
    half = 0.5 * f * f
    rest = s * (half + (t2 + t1)) + k * 1.90821492927058770002e-10
    log: Floats = k * 6.93147180369123816490e-01 - ((half - rest) - f)
    return log
