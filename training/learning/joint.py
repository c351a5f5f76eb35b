r"""All horizons at once: a loss that sees every horizon's score enters, a booster a horizon leaves.

In every round each horizon grows one tree in turn, against the newest scores of the others (block coordinate descent):

    Σ_h ½ (log1p ŷ_h - log1p y_h)²  +  λ · Σ_h max(0, ŷ_h - ŷ_{h+1}) / ȳ

Every horizon keeps a booster of its own, so that they merge into one library like any others. A row whose horizon is
not mature has no loss there; its order still counts.
"""

from __future__ import annotations

from functools import partial

import lightgbm as lgb
import numpy as np

from training.learning.boosting import Floats, Mask, Matrix, shifted
from training.learning.objectives import SquaredLogError, order_curvature, order_gradient
from training.learning.options import RegressorConfig

LOSS = SquaredLogError()
LEAST_SCALE = 1e-6


def fit_order_penalised(
    matrix: Matrix, revenue: Floats, rows: Mask, config: RegressorConfig, weight: Floats | None = None
) -> list[lgb.Booster]:
    """Fit a log-linked score a horizon.

    Parameters
    ----------
    matrix : Matrix of n rows
    revenue : ndarray of shape (n, n_horizons), US dollars, ≥ 0
        NaN where a horizon is not mature.
    rows : ndarray of shape (n,), bool
        Rows that may be seen.
    config : RegressorConfig
        `order_weight` is λ.
    weight : ndarray of shape (n,), optional

    Returns
    -------
    list of lightgbm.Booster, one a horizon
    """
    X, y = matrix.X[rows], revenue[rows]
    w = matrix.counts(rows) if weight is None else weight[rows] * matrix.counts(rows)
    starts = [LOSS.start(one[known], w[known]) for one, known in zip(y.T, np.isfinite(y).T, strict=True)]
    scale = max(float(np.nanmean(y)), LEAST_SCALE)
    scores = np.tile(starts, (len(y), 1))
    boosters = [matrix.begin(rows, config, init_score=start) for start in starts]

    for round_ in range(config.rounds):
        for h, booster in enumerate(boosters):
            step = _derivatives(scores, y, w, h, config.order_weight, scale)
            booster.update(fobj=partial(_given, step))
            scores[:, h] += matrix.tree_scores(booster, X, round_)
    return [shifted(booster, start) for booster, start in zip(boosters, starts, strict=True)]


def _given(step: tuple[Floats, Floats], _: Floats, __: lgb.Dataset) -> tuple[Floats, Floats]:
    return step


def _derivatives(f: Floats, y: Floats, w: Floats, h: int, order_weight: float, scale: float) -> tuple[Floats, Floats]:
    """Gradient and curvature of horizon h, each of shape (n,)."""
    known = np.isfinite(y[:, h])
    own = np.where(known, y[:, h], 0.0)
    gradient = np.where(known, LOSS.gradient(f[:, h], own), 0.0) + order_weight * order_gradient(f, scale)[:, h]
    curvature = np.where(known, LOSS.curvature(f[:, h], own), 1e-6) + order_weight * order_curvature(f, scale)[:, h]
    return gradient * w, curvature * w
