"""Ranking metrics: does a higher prediction mean more revenue? Scores and revenue → Gini, Spearman, recall.

Every function gives a whole tied group one position, so that no answer depends on the order of the rows.
Each has a kernel that takes prepared positions: the bootstrap sorts once and calls the kernels with new
weights.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def ratio(numerator: float, denominator: float) -> float:
    """Quotient as a float; NaN where the denominator is zero or NaN (the metric is undefined there)."""
    return float(numerator / denominator) if denominator else float("nan")


def row_weights(y: Floats, sample_weight: Floats | None) -> Floats:
    """Weights of shape (n,) as float64: ones where none were given.

    Raises
    ------
    ValueError
        When there are no rows, or the weights are of another length.
    """
    if y.shape[0] == 0:
        raise ValueError("a metric needs at least one row")
    if sample_weight is None:
        return np.ones(y.shape[0])
    weights = np.asarray(sample_weight, dtype=np.float64)
    if weights.shape != y.shape[:1]:
        raise ValueError(f"expected sample_weight of shape {y.shape[:1]}, got {weights.shape}")
    return weights


class TieGroups:
    """Rows grouped by equal score, the highest score first.

    Parameters
    ----------
    score : ndarray of shape (n,)
        What the rows are ranked by.

    Attributes
    ----------
    order : ndarray of shape (n,), int64
        Row numbers, the highest score first.
    starts : ndarray of shape (n_groups,), int64
        Where each group begins in `order`.
    codes : ndarray of shape (n,), int64
        The group of each row; group 0 has the highest score.
    values : ndarray of shape (n_groups,), float64
        The score of each group, descending.
    """

    def __init__(self, score: Floats) -> None:
        negated = -np.asarray(score, dtype=np.float64)
        self.order: NDArray[np.int64] = np.argsort(negated, kind="stable").astype(np.int64, copy=False)
        ranked = negated[self.order]
        first = np.append(True, ranked[1:] != ranked[:-1])[: ranked.shape[0]]
        self.starts: NDArray[np.int64] = np.flatnonzero(first)
        self.values: Floats = -ranked[self.starts]
        self.codes: NDArray[np.int64] = np.empty(ranked.shape[0], dtype=np.int64)
        self.codes[self.order] = np.cumsum(first) - 1
        self._distinct = self.starts.shape[0] == ranked.shape[0]

    def sums(self, values: Floats) -> Floats:
        """Sum of `values` (n,) in each group: shape (n_groups,)."""
        return self.ranked_sums(values[self.order])

    def ranked_sums(self, ranked: Floats) -> Floats:
        """`sums` of values that stand in `order` already; without ties they are their own sums."""
        if self._distinct:
            return ranked
        found: Floats = np.add.reduceat(ranked, self.starts)
        return found

    def group_positions(self, weights: Floats) -> Floats:
        """Weight ahead of each group plus half its own: the mid-rank from the top, shape (n_groups,)."""
        counts = self.sums(weights)
        return np.cumsum(counts) - counts / 2.0

    def positions(self, weights: Floats) -> Floats:
        """`group_positions` of each row's group: shape (n,), in units of weight."""
        return self.group_positions(weights)[self.codes]


def gini_at(positions: Floats, weights: Floats, y: Floats) -> float:
    """Gini of `y` over rows already placed: 1 − 2·Σ w·y·position / (Σw · Σwy)."""
    mass = weights * y
    return 1.0 - 2.0 * ratio(float(mass @ positions), float(weights.sum() * mass.sum()))


def gini(y: Floats, y_hat: Floats, sample_weight: Floats | None = None) -> float:
    """Gini coefficient of `y` in the order of `y_hat`: 2·area under the cumulative-gains curve − 1.

    The area is the trapezoid's, with `y` averaged within tied predictions: `2·mean(cumulative share) − 1`
    of the literature less 1/n, which makes a constant prediction score exactly 0.

    Parameters
    ----------
    y, y_hat : ndarray of shape (n,)
        Revenue (or expected revenue) and prediction, US dollars.
    sample_weight : ndarray of shape (n,), optional

    Returns
    -------
    float
        In [−1, 1]; NaN where no revenue was made.
    """
    weights = row_weights(y, sample_weight)
    return gini_at(TieGroups(y_hat).positions(weights), weights, y)


def normalised_gini(y: Floats, y_hat: Floats, sample_weight: Floats | None = None) -> float:
    """`gini(y, y_hat) / gini(y, y)`: 1 for a perfect order, 0 for a constant [Wang et al. 2019]."""
    return ratio(gini(y, y_hat, sample_weight), gini(y, y, sample_weight))


def lorenz_at(rows: Floats, value: Floats) -> tuple[Floats, Floats]:
    """Lorenz curve from running sums of weight and of weighted value, best group first.

    Returns
    -------
    share_of_rows, share_of_value : ndarrays of shape (n_groups + 1,)
        Knots of a piecewise linear curve from (0, 0) to (1, 1).
    """
    return np.append(0.0, rows / (rows[-1] or 1.0)), np.append(0.0, value / (value[-1] or 1.0))


def lorenz(groups: TieGroups, weights: Floats) -> tuple[Floats, Floats]:
    """Lorenz curve from the top of the grouped values themselves, as `lorenz_at` gives it."""
    counts = groups.sums(weights)
    return lorenz_at(np.cumsum(counts), np.cumsum(counts * groups.values))


def area_between(x_a: Floats, y_a: Floats, x_b: Floats, y_b: Floats) -> float:
    """∫|a − b| of two piecewise linear curves on [0, 1], exact where they cross as well."""
    places = np.searchsorted(x_b, x_a) + np.arange(x_a.shape[0])
    of_b = np.ones(x_a.shape[0] + x_b.shape[0], dtype=np.bool_)
    of_b[places] = False
    x, gap = np.empty(of_b.shape[0]), np.empty(of_b.shape[0])
    x[places], x[of_b] = x_a, x_b
    gap[places], gap[of_b] = y_a - np.interp(x_a, x_b, y_b), np.interp(x_b, x_a, y_a) - y_b
    left, right = np.abs(gap[:-1]), np.abs(gap[1:])
    heights = (left + right) / 2.0
    # Where the curves cross there are two triangles in the place of a trapezoid.
    crossing = np.flatnonzero(gap[:-1] * gap[1:] < 0.0)
    before, after = left[crossing], right[crossing]
    heights[crossing] = (before**2 + after**2) / (2.0 * (before + after))
    return float(np.diff(x) @ heights)


def mutual_gini(y: Floats, y_hat: Floats, sample_weight: Floats | None = None) -> float:
    """Area between the Lorenz curves of `y` and of `y_hat`, each in its own order [Li et al., CIKM 2022].

    0 where predictions are as concentrated as revenue; a calibrated mean is always less concentrated than
    revenue.
    """
    weights = row_weights(y, sample_weight)
    return area_between(*lorenz(TieGroups(y), weights), *lorenz(TieGroups(y_hat), weights))


def spearman_at(positions_a: Floats, positions_b: Floats, weights: Floats) -> float:
    """Weighted Pearson correlation of mid-ranks; both mean ranks are half the total weight."""
    total = float(weights.sum())
    a, b = positions_a - total / 2.0, positions_b - total / 2.0
    weighted = weights * a
    scale = float(weighted @ a) * float((weights * b) @ b)
    return ratio(float(weighted @ b), scale**0.5)


def spearman(y: Floats, y_hat: Floats, sample_weight: Floats | None = None) -> float:
    """Spearman's rank correlation with mid-ranks for ties; NaN where either side is constant."""
    weights = row_weights(y, sample_weight)
    return spearman_at(TieGroups(y).positions(weights), TieGroups(y_hat).positions(weights), weights)


def spearman_payers(y: Floats, y_hat: Floats, sample_weight: Floats | None = None) -> float:
    """Spearman's rank correlation over the rows with revenue; NaN with none of them."""
    weights, payers = row_weights(y, sample_weight), y > 0.0
    return spearman(y[payers], y_hat[payers], weights[payers]) if payers.any() else float("nan")


def whale_rows(y: Floats, share: float = 0.01) -> NDArray[np.int64]:
    """Row numbers of the whales: payers at or above the payers' (1 − share) quantile of revenue."""
    payers = y[y > 0.0]
    threshold = np.quantile(payers, 1.0 - share) if payers.size else np.inf
    return np.flatnonzero(y >= threshold)


def recall_at(counts: Floats, codes: NDArray[np.int64], mass: Floats) -> float:
    """Share of the relevant rows within as many best-scored rows; a tied group is taken in proportion.

    Parameters
    ----------
    counts : ndarray of shape (n_groups,)
        Weight of each tied group, best first.
    codes, mass : ndarrays of shape (n_relevant,)
        Group and weight of each relevant row.
    """
    k, size = float(mass.sum()), counts[codes]
    taken = np.clip(k - (np.cumsum(counts)[codes] - size), 0.0, size)
    inside = np.divide(taken, size, out=np.zeros_like(taken), where=taken > 0.0)
    return ratio(float(mass @ inside), k)


def recall_at_k(y: Floats, y_hat: Floats, share: float = 0.01, sample_weight: Floats | None = None) -> float:
    """Share of the true whales among the `k` highest predictions, `k` = the number of true whales.

    Parameters
    ----------
    y, y_hat : ndarray of shape (n,)
        Revenue and prediction, US dollars.
    share : float
        Whales are this top share of payers by revenue.

    Returns
    -------
    float
        In [0, 1]; NaN without payers.
    """
    weights, whales, groups = row_weights(y, sample_weight), whale_rows(y, share), TieGroups(y_hat)
    return recall_at(groups.sums(weights), groups.codes[whales], weights[whales])


def missed_whales(y: Floats, y_hat: Floats, share: float = 0.01, sample_weight: Floats | None = None) -> float:
    """1 − `recall_at_k`: the share of whales that a bidder who trusts the order would not see."""
    return 1.0 - recall_at_k(y, y_hat, share, sample_weight)
