r"""Least squares on z = log1p y, turned back into a mean by Duan's smearing: payers enter, a booster leaves.

    E[y | x] = S·e^{μ(x)} - 1,    S = mean e^{z - μ}        [Duan, JASA 1983]

No shape of the residuals is assumed, only that they do not depend on x. log S becomes part of the booster, so that its
score f is μ + log S and E[y | x] = max(e^f - 1, 0).
"""

from __future__ import annotations

from dataclasses import dataclass

import lightgbm as lgb
import numpy as np

from training.learning.boosting import Floats, Mask, Matrix, shifted
from training.learning.options import BoosterConfig


@dataclass(frozen=True)
class Smeared:
    """A booster of μ + log S.

    Parameters
    ----------
    booster : lightgbm.Booster
    smearing : float
        S, for the report: 1 where nothing is left unexplained.
    """

    booster: lgb.Booster
    smearing: float

    def predict(self, raw: Floats) -> Floats:
        """E[y | x] of raw scores, both (n,): max(e^f - 1, 0)."""
        return np.asarray(np.maximum(np.expm1(raw), 0.0))


def fit_smeared(matrix: Matrix, revenue: Floats, rows: Mask, config: BoosterConfig) -> Smeared:
    """Fit least squares on logs, and the factor that gives the mean back.

    Parameters
    ----------
    matrix : Matrix of n rows
    revenue : ndarray of shape (n,), US dollars, ≥ 0
        Read where `rows` holds.
    rows : ndarray of shape (n,), bool
    config : BoosterConfig
    """
    z = np.log1p(revenue)
    booster = matrix.fit({"objective": "regression"}, z, rows, config)
    factor = float(np.average(np.exp(z[rows] - matrix.scores(booster, rows)), weights=matrix.counts(rows)))
    return Smeared(shifted(booster, float(np.log(factor))), factor)
