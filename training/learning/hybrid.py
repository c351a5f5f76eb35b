r"""The whole stack: scores of the base boosters, of base learners of other kinds and of segments enter; heads leave.

Meta-features, all of them out of fold: `app.inference.ensemble.meta_features` (p, log1p of each horizon's conditional
mean, p times that), then whatever else predicts, column by column. The heads:

- a mean a horizon, p · E[y_h | buy] · e^{f_h}, by Tweedie deviance (`stacking.fit_means`);
- the mean of log1p y, max(f, 0), by least squares;
- Huber's location of log1p y, max(f, 0): what the bulk of the rows says when the largest errors are held back.
"""

from __future__ import annotations

from dataclasses import dataclass

import lightgbm as lgb
import numpy as np

from app.inference.ensemble import gate_and_conditional, meta_features
from app.inference.specification import EnsembleSpec
from training.learning.boosting import Floats, Ints, Mask, Matrix, Runtime, out_of_fold
from training.learning.labels import Labels
from training.learning.options import MetaConfig
from training.learning.stacking import fit_log, fit_means
from training.learning.tails import tail_smoothed


@dataclass(frozen=True)
class Answers:
    """`ltv` (n, n_horizons) in US dollars; `log_mean` and `huber` (n,), log1p of US dollars, ≥ 0."""

    ltv: Floats
    log_mean: Floats
    huber: Floats


@dataclass(frozen=True)
class Hybrid:
    """Fitted heads.

    Parameters
    ----------
    heads : list of lightgbm.Booster
        A correction a horizon, the mean of log1p y, Huber's location of it.
    out_of_fold : ndarray of shape (n, n_horizons + 2)
        Raw scores of the training rows by heads that did not see them.
    spec : EnsembleSpec
    """

    heads: list[lgb.Booster]
    out_of_fold: Floats
    spec: EnsembleSpec

    def predict(self, raw: Floats, raw_heads: Floats) -> Answers:
        """Answers before calibration.

        Parameters
        ----------
        raw : ndarray of shape (n, n_base_outputs)
            Of the base boosters.
        raw_heads : ndarray of shape (n, n_horizons + 2)
            Of the heads, over `stacked_features`.
        """
        p, conditional = gate_and_conditional(raw, self.spec)
        n = len(self.spec.horizons)
        ltv = (p * conditional).T * np.exp(raw_heads[:, :n])
        return Answers(ltv, np.maximum(raw_heads[:, n], 0.0), np.maximum(raw_heads[:, n + 1], 0.0))


def stacked_features(raw: Floats, others: Floats, spec: EnsembleSpec) -> Floats:
    """The heads' X, on the float32 grid: the served meta-features, then the other predictions as they are.

    Parameters
    ----------
    raw : ndarray of shape (n, n_base_outputs)
        Raw scores of the base boosters; in training out of fold.
    others : ndarray of shape (n, n_others)
        Scores of other base learners, shares of segments; in training out of fold.
    spec : EnsembleSpec
    """
    return np.column_stack([meta_features(raw, spec), others.astype(np.float32).astype(np.float64)])


def fit_hybrid(
    raw: Floats,
    others: Floats,
    labels: Labels,
    fold: Ints,
    spec: EnsembleSpec,
    log_horizon: int,
    config: MetaConfig,
    runtime: Runtime,
) -> Hybrid:
    """Fit the heads.

    Parameters
    ----------
    raw, others : ndarray
        As of `stacked_features`, out of fold.
    labels : Labels of n rows
    fold : ndarray of shape (n,), int64
    spec : EnsembleSpec
        With the base library.
    log_horizon : int
        Position of the horizon of log1p y.
    config : MetaConfig
        `huber_delta` is that of the last head.
    runtime : Runtime
    """
    matrix = Matrix(stacked_features(raw, others, spec), runtime)
    _, conditional = gate_and_conditional(raw, spec)
    target = np.column_stack([tail_smoothed(y, m) for y, m in zip(labels.revenue.T, conditional, strict=True)])
    z = np.log1p(labels.revenue[:, log_horizon])

    def fit(rows: Mask) -> list[lgb.Booster]:
        logs = [fit_log(matrix, z, rows, config, delta) for delta in (None, config.huber_delta)]
        return [*fit_means(matrix, raw, target, rows, spec, config), *logs]

    return Hybrid(fit(np.ones(len(labels), dtype=bool)), out_of_fold(fit, matrix, fold), spec)
