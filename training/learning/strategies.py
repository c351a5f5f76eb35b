r"""Ways to deal with the many who pay nothing, comparable by one switch: labels enter, E[y_h | x] of all rows leaves.

- `two_stage`: P(buy | x) · E[y_h | buy, x], regressors that learn from buyers alone.
- `converting_only`: the same regressors, without the gate. Their level is moved so that the revenue of all rows comes
  out in sum; who buys is told only as far as it goes with what buyers spend.
- `direct`: one Tweedie regressor a horizon on all rows, zeros and all.

The gate is fitted in any case, since `p_buyer` is part of the answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import lightgbm as lgb
import numpy as np

from training.learning.boosting import Floats, Mask, Matrix, shifted
from training.learning.classifier import fit_classifier
from training.learning.labels import Labels
from training.learning.options import ClassifierConfig, RegressorConfig
from training.learning.regressors import fit_regressors

Strategy = Literal["two_stage", "converting_only", "direct"]


@dataclass(frozen=True)
class ZeroInflated:
    """Fitted gate and horizons.

    Parameters
    ----------
    strategy : Strategy
    boosters : list of lightgbm.Booster
        The gate's logit, then a log mean a horizon.
    """

    strategy: Strategy
    boosters: list[lgb.Booster]

    def p_buyer(self, raw: Floats) -> Floats:
        """sigmoid(f_gate) of raw scores (n, 1 + n_horizons); shape (n,)."""
        return np.asarray(1.0 / (1.0 + np.exp(-raw[:, 0])))

    def predict(self, raw: Floats) -> Floats:
        """E[y_h | x], up to a factor a horizon where the objective is no mean.

        Parameters
        ----------
        raw : ndarray of shape (n, 1 + n_horizons)

        Returns
        -------
        ndarray of shape (n, n_horizons), US dollars
            sigmoid(f_gate)·e^{f_h} of two stages, otherwise e^{f_h}.
        """
        means = np.exp(raw[:, 1:])
        return np.asarray(self.p_buyer(raw)[:, None] * means if self.strategy == "two_stage" else means)


def fit_strategy(
    strategy: Strategy,
    matrix: Matrix,
    labels: Labels,
    rows: Mask,
    anchor: int,
    classifier: ClassifierConfig,
    regressors: RegressorConfig,
) -> ZeroInflated:
    """Fit gate and horizons.

    Parameters
    ----------
    strategy : Strategy
    matrix : Matrix of n rows
    labels : Labels of n rows
    rows : ndarray of shape (n,), bool
        Rows that may be seen.
    anchor : int
        Position of the gate's horizon.
    classifier : ClassifierConfig
    regressors : RegressorConfig
        `direct` takes the trees and `tweedie_power` alone.
    """
    gate = fit_classifier(matrix, labels.buyer, rows, classifier)
    if strategy == "direct":
        return ZeroInflated(strategy, [gate, *_fit_direct(matrix, labels, rows, regressors)])
    horizons = fit_regressors(matrix, labels, rows, regressors, anchor)
    if strategy == "converting_only":
        horizons = [_levelled(matrix, b, y, rows) for b, y in zip(horizons, labels.revenue.T, strict=True)]
    return ZeroInflated(strategy, [gate, *horizons])


def _fit_direct(matrix: Matrix, labels: Labels, rows: Mask, config: RegressorConfig) -> list[lgb.Booster]:
    tweedie = {"objective": "tweedie", "tweedie_variance_power": config.tweedie_power}
    return [matrix.fit(tweedie, y, rows & np.isfinite(y), config) for y in labels.revenue.T]


def _levelled(matrix: Matrix, booster: lgb.Booster, y: Floats, rows: Mask) -> lgb.Booster:
    """The booster with its level such that Σŷ = Σy over the rows."""
    known = rows & np.isfinite(y)
    return shifted(booster, float(np.log(y[known].sum() / np.exp(matrix.scores(booster, known)).sum())))
