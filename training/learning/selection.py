"""Does the meta-learner earn its microseconds? Predictions with it and without enter, a verdict leaves."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from app.inference.ensemble import Blend
from training.learning.boosting import Floats
from training.learning.tails import LEAST_SIZE

POWER = 1.5
SIGNIFICANT = 2.0
"""Standard errors of the paired difference beyond which a difference counts."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Mean losses without and with the meta-learner, and their difference in standard errors (below 0: with wins).

    `deviance` is the Tweedie deviance (power 1.5) of the gate horizon's mean, each ensemble scaled to the same sum;
    `squared_log_error` that of E[log1p y].
    """

    deviance_without: float
    deviance_with: float
    deviance_z: float
    squared_log_error_without: float
    squared_log_error_with: float
    squared_log_error_z: float

    @property
    def earned(self) -> bool:
        """Better in one, and worse in neither, beyond noise."""
        z = (self.deviance_z, self.squared_log_error_z)
        return bool(min(z) < -SIGNIFICANT and max(z) < SIGNIFICANT)

    def to_json(self) -> dict[str, Any]:
        """For the report."""
        return {**asdict(self), "earned": self.earned}


def compare(
    without: Blend, with_meta: Blend, revenue: Floats, z: Floats, anchor: int, weight: Floats | None = None
) -> Comparison:
    """Compare uncalibrated predictions of the same rows.

    Parameters
    ----------
    without, with_meta : Blend of n rows
    revenue : ndarray of shape (n,), US dollars
        Tail-smoothed, of the gate's horizon; NaN where not mature.
    z : ndarray of shape (n,)
        log1p of realised revenue at the log horizon; NaN where not mature.
    anchor : int
        Position of the gate's horizon.
    weight : ndarray of shape (n,), optional
        How many rows each stands for.
    """
    w = np.ones(len(z)) if weight is None else weight / weight.mean()
    known, log_known = np.isfinite(revenue), np.isfinite(z)
    y, target = revenue[known], z[log_known]
    scaled = [_scaled(mix.ltv[anchor][known], y, w[known]) for mix in (without, with_meta)]
    deviances = [_deviance(y, prediction) for prediction in scaled]
    squares = [(mix.log_mean[log_known] - target) ** 2 for mix in (without, with_meta)]
    return Comparison(*_paired(w[known], *deviances), *_paired(w[log_known], *squares))


def _scaled(prediction: Floats, y: Floats, w: Floats) -> Floats:
    kept = np.maximum(prediction, LEAST_SIZE)
    return np.asarray(kept * max(float((w * y).sum()) / float((w * kept).sum()), 1e-9))


def _deviance(y: Floats, mu: Floats) -> Floats:
    """Tweedie deviance without the terms in y alone; shape (n,)."""
    return np.asarray(mu ** (2.0 - POWER) / (2.0 - POWER) - y * mu ** (1.0 - POWER) / (1.0 - POWER))


def _paired(w: Floats, first: Floats, second: Floats) -> tuple[float, float, float]:
    """Weighted means, and their difference in standard errors: those of a ratio, √Σw²(d - d̄)² / Σw."""
    means = [float(np.average(one, weights=w)) for one in (first, second)]
    deviation = second - first - (means[1] - means[0])
    error = float(np.sqrt(((w * deviation) ** 2).sum()) / w.sum())
    return means[0], means[1], (means[1] - means[0]) / error if error > 0.0 else 0.0
