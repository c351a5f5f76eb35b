"""Bootstrap intervals: a statistic of weighted rows → its value, its replicates, its 95 % interval.

A replicate draws one Poisson(1) weight a row, the streaming form of drawing rows with replacement. The
weights are drawn once and shared by every predictor and metric, so that differences between predictors are
paired; statistics prepare their sorting once and only re-weight.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from training.evaluation.ranking import Floats

LEVEL = 0.95
Weights = NDArray[np.uint8]
Statistic = Callable[[Floats], Mapping[str, float]]


@dataclass(frozen=True)
class Estimate:
    """A figure on the rows as they are, and the same figure on every replicate.

    Parameters
    ----------
    value : float
        On the rows as they are.
    replicates : ndarray of shape (n_replicates,), float64
        On the re-weighted rows; NaN where a replicate left the figure undefined.
    """

    value: float
    replicates: Floats

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Percentile interval of the replicates, moved so that their mean is the value.

        Without the move, figures that fold noise upward (ECE, decile MAPE) would lie below their own
        interval. A figure that is never negative gets no negative bound.
        """
        seen = self.replicates[np.isfinite(self.replicates)]
        if seen.size == 0 or not np.isfinite(self.value):
            return float("nan"), float("nan")
        tail = (1.0 - level) / 2.0
        low, high = np.quantile(seen, [tail, 1.0 - tail]) + (self.value - seen.mean())
        if seen.min() >= 0.0 <= self.value:
            low = max(low, 0.0)
        return float(low), float(high)

    def to_json(self) -> dict[str, float | None]:
        """`{"value", "low", "high"}`, None for what is undefined."""
        low, high = self.interval()
        named = {"value": float(self.value), "low": low, "high": high}
        return {name: number if np.isfinite(number) else None for name, number in named.items()}


def poisson_weights(n_rows: int, replicates: int, seed: int) -> Weights:
    """Weights of shape (replicates, n_rows), uint8: one byte each, 200 MB for 200 × a million rows."""
    generator = np.random.default_rng(seed)
    weights = np.empty((replicates, n_rows), dtype=np.uint8)
    for row in weights:
        row[:] = generator.poisson(1.0, n_rows)
    return weights


def estimate(statistic: Statistic, weights: Weights, sample_weight: Floats | None = None) -> dict[str, Estimate]:
    """Value and replicates of every figure that `statistic` names.

    Parameters
    ----------
    statistic : callable
        From float64 row weights of shape (n,) to named figures; always the same names.
    weights : ndarray of shape (n_replicates, n), uint8
    sample_weight : ndarray of shape (n,), optional
        How many rows each stands for; a replicate draws it that often as a whole.
    """
    own = np.ones(weights.shape[1]) if sample_weight is None else sample_weight
    # Dot products of this size end before a second BLAS thread has woken up.
    with threadpool_limits(1, user_api="blas"):
        values = statistic(own)
        replicates = [statistic(row * own) for row in weights]
    return {
        name: Estimate(value, np.array([one[name] for one in replicates], dtype=np.float64))
        for name, value in values.items()
    }


def paired_difference(a: Estimate, b: Estimate) -> Estimate:
    """a − b by replicate; both must come from the same weights, which cancels their shared noise."""
    return Estimate(a.value - b.value, a.replicates - b.replicates)
