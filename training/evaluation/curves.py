"""The curves that pictures and tables show: rows, predictions and replicates' weights → bins with intervals.

Bins hold equal numbers of rows by the prediction and are drawn once; the replicates re-weight their rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.evaluation.bootstrap import Estimate, Weights
from training.evaluation.classification import RELIABILITY_BINS, equal_mass_bins, reliability_bins
from training.evaluation.groups import GroupSums
from training.evaluation.metrics import DECILES, lift_table
from training.evaluation.ranking import Floats, TieGroups, lorenz, row_weights

KNOTS = 100
"""Knots that a drawn curve is thinned to."""


def _bins(score: Floats, bins: int, sample_weight: Floats | None) -> NDArray[np.int64]:
    """Bin of each row, the highest scores first, numbered without the bins that ties left empty."""
    weights = row_weights(score, sample_weight)
    code = equal_mass_bins(TieGroups(score).positions(weights), float(weights.sum()), bins)
    return np.unique(code, return_inverse=True)[1].astype(np.int64)


def _bounds(name: str, one: Estimate) -> dict[str, float | None]:
    found = one.to_json()
    return {f"{name}_low": found["low"], f"{name}_high": found["high"]}


def reliability(
    buyer: Floats, p: Floats, weights: Weights, sample_weight: Floats | None = None
) -> list[dict[str, Any]]:
    """`reliability_bins` with the interval of each share of buyers, lowest probability first.

    Parameters
    ----------
    buyer, p : ndarrays of shape (n,)
    weights : ndarray of shape (n_replicates, n), uint8
    sample_weight : ndarray of shape (n,), optional
        How many rows each stands for.
    """
    bins = reliability_bins(buyer, p, sample_weight=sample_weight)
    code, columns = _bins(p, RELIABILITY_BINS, sample_weight), np.column_stack([np.ones_like(p), buyer])
    sums = GroupSums(code, len(bins), columns, weights, sample_weight)
    rates = sums.ratios(1, 0)[::-1]
    return [{**found, **_bounds("rate", rate)} for found, rate in zip(bins, rates, strict=True)]


def lift(
    y: Floats, y_hat: Floats, expected: Floats | None, weights: Weights, sample_weight: Floats | None = None
) -> list[dict[str, Any]]:
    """`lift_table` with the intervals of realised mean and lift, and the oracle's mean where it is known.

    Parameters
    ----------
    y, y_hat : ndarrays of shape (n,), US dollars
    expected : ndarray of shape (n,) or None
        The oracle's E[y | x].
    weights : ndarray of shape (n_replicates, n), uint8
    sample_weight : ndarray of shape (n,), optional
        How many rows each stands for.
    """
    table = lift_table(y, y_hat, sample_weight=sample_weight)
    columns = [np.ones_like(y), y] if expected is None else [np.ones_like(y), y, expected]
    code = _bins(y_hat, DECILES, sample_weight)
    sums = GroupSums(code, len(table), np.column_stack(columns), weights, sample_weight)
    everyone = sums.replicates.sum(axis=1)
    mean = np.divide(everyone[:, 1], everyone[:, 0])
    found: list[dict[str, Any]] = []
    for row, realised in zip(table, sums.ratios(1, 0), strict=True):
        relative = np.divide(realised.replicates, mean, out=np.full_like(mean, np.nan), where=mean > 0.0)
        of_all = Estimate(row["lift"], relative)
        found.append({**row, **_bounds("realised", realised), **_bounds("lift", of_all)})
    if expected is not None:
        for row, one in zip(found, sums.ratios(2, 0), strict=True):
            row["expected"] = one.value
    return found


def lorenz_curve(values: Floats, sample_weight: Floats | None = None) -> dict[str, list[float]]:
    """The Lorenz curve of some amounts in their own order, richest first: `rows` and `share`, thinned."""
    return _thinned(*lorenz(TieGroups(values), row_weights(values, sample_weight)))


def gains(y: Floats, y_hat: Floats, sample_weight: Floats | None = None) -> dict[str, list[float]]:
    """Share of `y` within the best-scored share of rows: what Gini is the area of; thinned."""
    groups, weights = TieGroups(y_hat), row_weights(y, sample_weight)
    rows, amount = np.cumsum(groups.sums(weights)), np.cumsum(groups.sums(weights * y))
    return _thinned(np.append(0.0, rows / rows[-1]), np.append(0.0, amount / (amount[-1] or 1.0)))


def _thinned(rows: Floats, share: Floats) -> dict[str, list[float]]:
    # Denser where the curve bends: the best-scored rows hold most of the revenue.
    at = np.unique(np.searchsorted(rows, np.linspace(0.0, 1.0, KNOTS) ** 3).clip(0, rows.shape[0] - 1))
    at = np.union1d(at, [0, rows.shape[0] - 1])
    return {"rows": rows[at].tolist(), "share": share[at].tolist()}
