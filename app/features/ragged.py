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
    if "max" in wanted or "top_share" in wanted:
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
    out["entropy"] = np.add.reduceat(-safe * np.log(safe), starts) + 0.0 * total
    out["top_share"] = out["max"] / total
