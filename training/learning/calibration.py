"""Calibration: predictions and what came true on unresampled rows enter, monotone curves and factors leave.

All curves have one estimator. Rows are binned by score, equal numbers of events (buyers or payers) a bin. A bin's
ratio f = Σtarget / Σprediction has the standard error of a ratio estimate, se² = Σ(target − f·prediction)² /
(Σprediction)². Around the ratio g of all rows the bins are shrunk by empirical Bayes [Morris 1983],

    f' = g·(1 + w·(f/g − 1)),   w = τ²/(τ² + (se/g)²),   τ² = max(0, mean((f/g − 1)² − (se/g)²)),

so that bins which differ by no more than their noise share one ratio. Between knots the ratio is linear in the score.
Revenue enters through `expected_revenue`: without it a day's largest payers would set the level of every bid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.inference.specification import Curve
from training.learning.boosting import Floats, Ints, Mask
from training.learning.options import CalibrationConfig
from training.learning.tails import payers, tail_smoothed

LEAST = 1e-12
BETWEEN_STATES = 0.15
"""Standard deviation, before any row is seen, of how far a history state's ratio lies from that of all rows."""


@dataclass(frozen=True, slots=True)
class Bins:
    """Knots of a curve: mean score, shrunk ratio, both of shape (n_knots,), scores rising."""

    score: Floats
    ratio: Floats


def fit_probability(p: Floats, buyer: Floats, config: CalibrationConfig, weight: Floats | None = None) -> Curve:
    """Fit probability → calibrated probability, rising from (0, 0).

    Parameters
    ----------
    p : ndarray of shape (n,)
    buyer : ndarray of shape (n,)
        0 or 1; NaN is left out.
    config : CalibrationConfig
    weight : ndarray of shape (n,), optional
        How many rows each stands for.
    """
    known = np.isfinite(buyer)
    w = _counts(known, weight)
    bins = binned_ratio(p[known], w * p[known], w * buyer[known], buyer[known] > 0, config)
    end = max(1.0, float(bins.score[-1]) + 1e-9)
    x = np.concatenate([[0.0], bins.score, [end]])
    y = np.concatenate([[0.0], bins.score * bins.ratio, [end * bins.ratio[-1]]])
    return _rising(x, np.minimum(y, 1.0))


def fit_log_mean(z: Floats, target: Floats, config: CalibrationConfig, weight: Floats | None = None) -> Curve:
    """Fit E[log1p y] → calibrated E[log1p y], rising from (0, 0).

    Parameters
    ----------
    z : ndarray of shape (n,), log1p of US dollars, ≥ 0
    target : ndarray of shape (n,)
        log1p of realised revenue; NaN is left out.
    config : CalibrationConfig
    weight : ndarray of shape (n,), optional
        How many rows each stands for.
    """
    known = np.isfinite(target)
    w = _counts(known, weight)
    bins = binned_ratio(z[known], w * z[known], w * target[known], target[known] > 0, config)
    end = max(float(z.max()), float(bins.score[-1])) + 1.0
    x = np.concatenate([[0.0], bins.score, [end]])
    return _rising(x, np.concatenate([[0.0], bins.score * bins.ratio, [end * bins.ratio[-1]]]))


def fit_ltv(ltv: Floats, target: Floats, payer: Mask, config: CalibrationConfig, weight: Floats | None = None) -> Curve:
    """Fit log1p(dollars) → factor, such that the calibrated dollars still rise with the score.

    Parameters
    ----------
    ltv : ndarray of shape (n,), US dollars
    target : ndarray of shape (n,), US dollars
        `expected_revenue`; NaN is left out.
    payer : ndarray of shape (n,), bool
    config : CalibrationConfig
    weight : ndarray of shape (n,), optional
        What a row counts in the sums, ≥ 0.

    Notes
    -----
    d(value·factor) ≥ 0 along a piece that is linear in x = log1p(value) wherever the factor is at least its own
    downward slope, so a factor may fall to no less than f / (1 + Δx) over a step of Δx.
    """
    known = np.isfinite(target)
    w = _counts(known, weight)
    score, y, predicted = np.log1p(ltv[known]), w * target[known], w * ltv[known]
    bins = binned_ratio(score, predicted, y, payer[known], config)
    factor = bins.ratio.copy()
    for k in range(1, len(factor)):
        factor[k] = max(factor[k], factor[k - 1] / (1.0 + bins.score[k] - bins.score[k - 1]))
    level = _ratio(y, predicted * np.interp(score, bins.score, factor))
    return Curve(bins.score, factor * level)


def fit_states(ltv: Floats, target: Floats, state: Ints, n_states: int, weight: Floats | None = None) -> Floats:
    """Fit a factor by history state and horizon on rows in the states that they came in, shrunk to 1 by its noise.

    Parameters
    ----------
    ltv : ndarray of shape (n_horizons, n), US dollars
        Calibrated by score.
    target : ndarray of shape (n_horizons, n), US dollars
        NaN where not mature.
    state : ndarray of shape (n,), int64
    n_states : int
    weight : ndarray of shape (n,), optional
        How many rows each stands for.

    Returns
    -------
    ndarray of shape (n_states, n_horizons)
        1 for a state without rows.
    """
    if weight is not None:
        ltv, target = weight * ltv, weight * target
    factor = np.ones((n_states, len(ltv)))
    for s in np.unique(state).tolist():
        for h in range(len(ltv)):
            factor[s, h] = shrunk_ratio(ltv[h, state == s], target[h, state == s], BETWEEN_STATES)
    return factor


def projection_weights(ltv: Floats, target: Floats, weight: Floats | None = None) -> Floats:
    """Inverse variance of each horizon's error, scaled to a mean of 1: (n_horizons,) from (n_horizons, n) each, and
    what each row stands for, (n,).
    """
    known = np.isfinite(target)
    w = known * (1.0 if weight is None else weight)
    error = (w * np.where(known, ltv - target, 0.0) ** 2).sum(axis=1) / np.maximum(w.sum(axis=1), LEAST)
    weights = 1.0 / np.maximum(error, LEAST)
    return np.asarray(weights / weights.mean())


def expected_revenue(
    y: Floats, size: Floats, state: Ints, config: CalibrationConfig, weight: Floats | None = None
) -> Floats:
    """Put in place of every payer's revenue what a payer of such a predicted size and history pays on average.

    Who pays is kept, how far beyond expectation is not: a sum over rows keeps its expectation and loses most of its
    variance. The average is that of the ratios y / size, each payer counting the same (Σy / Σsize would weigh the
    largest most, and they are few), smoothed in the tail, by size and then by state.

    Parameters
    ----------
    y : ndarray of shape (n,), US dollars
        Realised revenue; NaN stays NaN.
    size : ndarray of shape (n,), US dollars
        Predicted revenue of a buyer, on any scale.
    state : ndarray of shape (n,), int64
    config : CalibrationConfig
    weight : ndarray of shape (n,), optional
        How many rows each stands for.
    """
    paid = payers(y)
    target = np.where(np.isfinite(y), 0.0, np.nan)
    if not paid.any():
        return target
    sizes, states = size[paid], state[paid]
    ratio = tail_smoothed(y[paid], sizes) / sizes
    w = _counts(paid, weight)
    bins = binned_ratio(np.log(sizes), w, w * ratio, np.ones(len(ratio), dtype=bool), config)
    expected = np.interp(np.log(sizes), bins.score, bins.ratio)
    for s in np.unique(states).tolist():
        here = states == s
        expected[here] *= shrunk_ratio(w[here] * expected[here], w[here] * ratio[here], BETWEEN_STATES)
    target[paid] = sizes * expected
    return target


def binned_ratio(score: Floats, prediction: Floats, target: Floats, event: Mask, config: CalibrationConfig) -> Bins:
    """Bin rows by score and shrink each bin's Σtarget / Σprediction to that of all rows.

    Parameters
    ----------
    score, prediction, target : ndarray of shape (n,)
    event : ndarray of shape (n,), bool
        What a bin must hold enough of.
    config : CalibrationConfig
    """
    order = np.argsort(score, kind="stable")
    score, prediction, target, event = score[order], prediction[order], target[order], event[order]
    n_bins = int(np.clip(event.sum() // config.min_events, 1, config.max_knots))
    rank = np.cumsum(event) - event / 2.0
    bin_of = np.minimum((rank * n_bins / max(event.sum(), 1)).astype(np.int64), n_bins - 1)
    total_prediction, total_target, total_score, mass = (
        np.bincount(bin_of, weights=w, minlength=n_bins) for w in (prediction, target, score * prediction, prediction)
    )
    level = _ratio(target, prediction)
    ratio = total_target / np.maximum(total_prediction, LEAST)
    squares = np.bincount(bin_of, weights=(target - ratio[bin_of] * prediction) ** 2, minlength=n_bins)
    error = np.sqrt(squares) / np.maximum(total_prediction, LEAST) / level
    knots = total_score / np.maximum(mass, LEAST)
    kept = np.concatenate([[True], np.diff(knots) > 1e-9])
    return Bins(knots[kept], (level * (1.0 + _shrink(ratio / level - 1.0, error)))[kept])


def _counts(rows: Mask, weight: Floats | None) -> Floats:
    """What each of some rows stands for."""
    return np.ones(int(rows.sum())) if weight is None else weight[rows]


def _shrink(deviation: Floats, error: Floats) -> Floats:
    between = max(0.0, float(np.mean(deviation**2 - error**2)))
    weight = between / np.maximum(between + error**2, LEAST)
    return np.asarray(weight * deviation)


def shrunk_ratio(prediction: Floats, target: Floats, between: float | None = None) -> float:
    """Σtarget / Σprediction of rows, shrunk to 1 by its noise.

    Parameters
    ----------
    prediction, target : ndarray of shape (n,)
        Rows whose target is NaN are left out.
    between : float, optional
        The standard deviation of true ratios around 1. Unless given it is read from this one: what noise explains is
        then no change at all.
    """
    known = np.isfinite(target)
    prediction, target = prediction[known], target[known]
    if not len(target) or prediction.sum() <= LEAST or target.sum() <= 0.0:
        return 1.0
    ratio = _ratio(target, prediction)
    error = float(np.sqrt(np.sum((target - ratio * prediction) ** 2))) / float(prediction.sum())
    if between is None:
        return 1.0 + float(_shrink(np.array([ratio - 1.0]), np.array([error]))[0])
    return 1.0 + (ratio - 1.0) * between**2 / (between**2 + error**2)


def _ratio(target: Floats, prediction: Floats) -> float:
    """Σtarget / Σprediction, kept off zero: a factor of nothing would erase every answer."""
    return max(float(target.sum()) / max(float(prediction.sum()), LEAST), 1e-6)


def _rising(x: Floats, y: Floats) -> Curve:
    kept = np.concatenate([[True], np.diff(x) > 1e-9])
    return Curve(x[kept], np.maximum.accumulate(y[kept]))
