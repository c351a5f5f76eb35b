"""Uncalibrated predictions beside what came true enter; the whole `Calibration` and the projection's weights leave.

Two kinds of rows are evidence: the later calibration slice, and the training rows under out-of-fold scores. The shape
of every curve is fitted on both, since neither is resampled and together they hold several times the payers. The
*level* is then moved to the later slice, which is nearest to what will be served, by as much as its noise allows
(`calibration.shrunk_ratio`): a market that drifts is followed, one that does not is left alone. For money the drift is
that of the number of payers: the sum of a slice's revenue is too noisy to tell a drift from a whale. Nor do smoothed
tails sum to what came: the sum over all rows is unbiased and noisy, the smoothed one steady and somewhat off, and the
level lies between them, nearer to the former the more payers there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from app.features.spec import HistoryState
from app.inference.ensemble import Blend, blend
from app.inference.specification import Calibration, Curve, EnsembleSpec
from training.learning.boosting import Floats, Ints, Mask
from training.learning.calibration import (
    expected_revenue,
    fit_log_mean,
    fit_ltv,
    fit_states,
    projection_weights,
    shrunk_ratio,
)
from training.learning.labels import Labels
from training.learning.options import CalibrationConfig, Strategy
from training.learning.probability import fit_curve
from training.learning.strategies import revenue_of_buyers
from training.learning.tails import payers

OF_SMOOTHING = 0.05
"""Standard deviation, before any row is seen, of how far smoothing moves the sum of revenue: it did by 2 to 8 %."""


@dataclass(frozen=True)
class Evidence:
    """Rows to calibrate on.

    Parameters
    ----------
    mix : Blend of n rows
        Before calibration.
    conditional : ndarray of shape (n_horizons, n), US dollars
        E[y | buy] of the base models up to a factor, above 0 (`strategies.revenue_of_buyers`).
    state : ndarray of shape (n,), int64
        History state as the rows came.
    labels : Labels of n rows
    later : ndarray of shape (n,), bool
        Rows of the calibration slice; the others are training rows, out of fold.
    """

    mix: Blend
    conditional: Floats
    state: Ints
    labels: Labels
    later: Mask

    @classmethod
    def of(
        cls,
        raw: Floats,
        raw_meta: Floats | None,
        state: Ints,
        labels: Labels,
        later: Mask,
        spec: EnsembleSpec,
        strategy: Strategy = "two_stage",
    ) -> Evidence:
        """From raw scores of the base models, (n, n_base_outputs), and of the meta-learner."""
        sizes = revenue_of_buyers(raw, spec, strategy)
        return cls(blend(raw, raw_meta, spec), sizes, state, labels, later)


def fit_calibration(
    evidence: Evidence, lost: Mapping[HistoryState, Blend], log_horizon: int, config: CalibrationConfig
) -> tuple[Calibration, Floats]:
    """Fit everything between raw predictions and the projection.

    Parameters
    ----------
    evidence : Evidence
    lost : mapping of HistoryState to Blend
        Predictions, before calibration, for the later rows with their history out of sight.
    log_horizon : int
        Position of the horizon of E[log1p y].
    config : CalibrationConfig

    Returns
    -------
    calibration : Calibration
    weights : ndarray of shape (n_horizons,)
    """
    mix, revenue, later = evidence.mix, evidence.labels.revenue, evidence.later
    weight = evidence.labels.weight
    sizes = zip(revenue.T, evidence.conditional, strict=True)
    target = np.stack([expected_revenue(y, size, evidence.state, config, weight) for y, size in sizes])
    curves = [fit_ltv(x, t, payers(y), config, weight) for x, t, y in zip(mix.ltv, target, revenue.T, strict=True)]
    factor = fit_states(_priced(mix.ltv, curves), target, evidence.state, len(HistoryState), weight)
    ltv = _priced(mix.ltv, curves) * factor.T[:, evidence.state]
    level = [_level(x, y, weight) for x, y in zip(ltv, revenue.T, strict=True)]
    drift = [_drift(mix.p_buyer, _paid(y), later, weight) for y in revenue.T]
    scale = np.array(level) * np.array(drift)
    curves = [Curve(curve.x, curve.y * by) for curve, by in zip(curves, scale.tolist(), strict=True)]
    ltv *= scale[:, None]
    # A lost history changes what is known, not what the rows are worth in sum.
    for state, blind in lost.items():
        counts = np.ones(int(later.sum())) if weight is None else weight[later]
        factor[state] = (counts * ltv[:, later]).sum(axis=1) / (counts * _priced(blind.ltv, curves)).sum(axis=1)
    log_target = np.log1p(revenue[:, log_horizon])
    buyer = evidence.labels.buyer
    probability = _followed(fit_curve(mix.p_buyer, buyer, config, weight), mix.p_buyer, buyer, later, 1.0, weight)
    logs = fit_log_mean(mix.log_mean, log_target, config, weight)
    log_mean = _followed(logs, mix.log_mean, log_target, later, np.inf, weight)
    calibration = Calibration(p_buyer=probability, ltv=tuple(curves), state=factor, log_mean=log_mean)
    return calibration, projection_weights(ltv, target, weight)


def _priced(ltv: Floats, curves: list[Curve]) -> Floats:
    return np.stack([x * np.interp(np.log1p(x), c.x, c.y) for x, c in zip(ltv, curves, strict=True)])


def _level(prediction: Floats, revenue: Floats, weight: Floats | None) -> float:
    """Ratio of revenue as it came to what the smoothed one was fitted to, shrunk to 1 by its noise."""
    if weight is not None:
        prediction, revenue = weight * prediction, weight * revenue
    return shrunk_ratio(prediction, revenue, OF_SMOOTHING)


def _drift(prediction: Floats, target: Floats, later: Mask, weight: Floats | None) -> float:
    """Ratio of the later rows to that of all rows, so that only the change in time is told."""
    if weight is not None:
        prediction, target = weight * prediction, weight * target
    known = np.isfinite(target)
    level = float(target[known].sum()) / max(float(prediction[known].sum()), 1e-12)
    return shrunk_ratio(prediction[later] * level, target[later])


def _paid(y: Floats) -> Floats:
    return np.where(np.isfinite(y), payers(y).astype(np.float64), np.nan)


def _followed(curve: Curve, score: Floats, target: Floats, later: Mask, cap: float, weight: Floats | None) -> Curve:
    """Move a curve's level to the later rows, as far as their noise allows."""
    drift = _drift(np.interp(score, curve.x, curve.y), target, later, weight)
    return Curve(curve.x, np.minimum(curve.y * drift, cap))
