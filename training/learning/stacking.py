r"""Stage 3: raw scores of the base models, out of fold, enter; small heads that correct them leave.

A head for each horizon's mean multiplies the base models' E[y_h] by e^f: Tweedie deviance on tail-smoothed revenue,
with init_score = log E[y_h], so that what it learns is the shape of the error and not the day's largest payers. A last
head learns E[log1p y], by least squares or Huber's loss. X is `app.inference.ensemble.meta_features`, the one that
is served.
"""

from __future__ import annotations

import lightgbm as lgb
import numpy as np

from app.inference.forms import link
from app.inference.specification import EnsembleSpec
from training.learning.boosting import Floats, Mask, Matrix
from training.learning.options import MetaConfig
from training.learning.tails import LEAST_SIZE

TWEEDIE = {"objective": "tweedie", "tweedie_variance_power": 1.5}
L2 = {"objective": "regression"}


def fit_meta(
    matrix: Matrix, raw: Floats, target: Floats, z: Floats, rows: Mask, spec: EnsembleSpec, config: MetaConfig
) -> list[lgb.Booster]:
    """Fit the heads.

    Parameters
    ----------
    matrix : Matrix
        Of the meta-features of `raw`.
    raw : ndarray of shape (n, n_base_outputs)
        Out-of-fold raw scores.
    target : ndarray of shape (n, n_horizons), US dollars
        Tail-smoothed revenue on the scale of E[y]; NaN where not mature.
    z : ndarray of shape (n,)
        log1p of realised revenue at the `log_mean` horizon; NaN where not mature.
    rows : ndarray of shape (n,), bool
        Rows that may be seen.
    spec : EnsembleSpec
    config : MetaConfig

    Returns
    -------
    list of lightgbm.Booster
        One a horizon, then the heads of log1p y: with `log_loss: auto` of squared errors and of Huber's loss, otherwise
        the one that is configured.
    """
    logs = [fit_log(matrix, z, rows, config, delta) for delta in _deltas(config)]
    return [*fit_means(matrix, raw, target, rows, spec, config), *logs]


def best_log_head(scores: Floats, z: Floats, weight: Floats | None = None) -> int:
    """Which head answers `log_mean`: the one whose squared error is least.

    Parameters
    ----------
    scores : ndarray of shape (n, n_log_heads)
        Out of fold.
    z : ndarray of shape (n,)
        As of `fit_meta`.
    weight : ndarray of shape (n,), optional
        What each row stands for.
    """
    known = np.isfinite(z)
    squares = (np.maximum(scores[known], 0.0) - z[known, None]) ** 2
    return int(np.average(squares, axis=0, weights=None if weight is None else weight[known]).argmin())


def _deltas(config: MetaConfig) -> tuple[float | None, ...]:
    """Of each head of log1p y: Huber's delta, None for least squares."""
    deltas: dict[str, tuple[float | None, ...]] = {
        "squared": (None,),
        "huber": (config.huber_delta,),
        "auto": (None, config.huber_delta),
    }
    return deltas[config.log_loss]


def fit_means(
    matrix: Matrix, raw: Floats, target: Floats, rows: Mask, spec: EnsembleSpec, config: MetaConfig
) -> list[lgb.Booster]:
    """Fit a correction e^f of the base models' E[y_h] a horizon; arguments as of `fit_meta`."""
    expected = np.maximum(link(raw, spec).expected, LEAST_SIZE)
    heads = []
    for h in range(len(spec.horizons)):
        known = rows & np.isfinite(target[:, h])
        start = np.log(expected[h])
        # The level is calibration's: starting on it, the trees are spent on shape.
        counts = matrix.counts(known)
        level = float((counts * target[known, h]).sum() / (counts * np.exp(start[known])).sum())
        heads.append(matrix.fit(TWEEDIE, target[:, h] / max(level, 1e-9), known, config, init_score=start))
    return heads


def fit_log(matrix: Matrix, z: Floats, rows: Mask, config: MetaConfig, huber_delta: float | None) -> lgb.Booster:
    """Fit the location of z = log1p y: the mean, or with a delta Huber's, which large errors pull with that force."""
    objective = L2 if huber_delta is None else {"objective": "huber", "alpha": huber_delta}
    return matrix.fit(objective, z, rows & np.isfinite(z), config)
