"""One predictor against what came true → every metric under any row weights, as the bootstrap asks for them.

Sorting, logarithms and errors are done once here, with the rows laid out in the order of the prediction; a call
only re-weights. What concerns revenue runs over the payers alone: the others' revenue is one tied group of zeros,
whose share of every sum is known. The figures are those of `metrics`, which the tests hold equal to a card called
with integer weights and to `metrics` on rows repeated that often.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from training.evaluation.classification import (
    RELIABILITY_BINS,
    auc_at,
    bin_edges,
    ece_at,
    f1_best_at,
    log_losses,
    pr_auc_at,
)
from training.evaluation.metrics import DECILES, cap_of_payers, decile_mape_at, squared_log_errors
from training.evaluation.ranking import (
    Floats,
    TieGroups,
    area_between,
    lorenz_at,
    ratio,
    recall_at,
    spearman_at,
    whale_rows,
)


class Ranking:
    """Rows in the order of a score, the highest first, and the tied groups among them."""

    def __init__(self, score: Floats) -> None:
        self.groups = TieGroups(score)
        self.order = self.groups.order
        self.place: NDArray[np.int64] = np.empty_like(self.order)
        self.place[self.order] = np.arange(self.order.shape[0])

    def weighed(self, weights: Floats) -> Weighed:
        """The ranking under `weights` (n,), which are in the order of the rows as they came."""
        ranked = weights[self.order]
        counts = self.groups.ranked_sums(ranked)
        ahead = np.cumsum(counts)
        return Weighed(ranked, counts, ahead, ahead - counts / 2.0, float(ahead[-1]))

    def bin_sums(self, found: Weighed, values: Floats, bins: int) -> Floats:
        """Σ w·value in each bin of equal mass; `values` (n,) stand in ranked order."""
        edges = bin_edges(found.positions, found.total, bins)
        rows = np.append(self.groups.starts, values.shape[0])[edges].tolist()
        return np.array([float(found.weights[a:b] @ values[a:b]) for a, b in pairwise(rows)])


@dataclass(frozen=True, slots=True)
class Weighed:
    """A ranking under some weights.

    Parameters
    ----------
    weights : ndarray of shape (n,), in ranked order
    counts, ahead, positions : ndarrays of shape (n_groups,)
        Weight of each tied group, its running sum, and the mid-rank from the top.
    total : float
    """

    weights: Floats
    counts: Floats
    ahead: Floats
    positions: Floats
    total: float


class ClassifierCard:
    """Metrics of a buyer probability.

    Parameters
    ----------
    buyer : ndarray of shape (n,), 0 or 1
    p : ndarray of shape (n,)
        Predicted probability.
    expected : ndarray of shape (n,), optional
        The oracle's probability; adds `ece_oracle`.
    """

    def __init__(self, buyer: Floats, p: Floats, expected: Floats | None = None) -> None:
        self._ranking = Ranking(p)
        order = self._ranking.order
        self._buyer, self._p = buyer[order], p[order]
        self._gap = self._p - self._buyer
        self._gap_expected = None if expected is None else self._p - expected[order]
        self._terms = np.stack([log_losses(self._buyer, self._p), self._gap**2, self._p])

    def __call__(self, weights: Floats) -> dict[str, float]:
        """Named metrics of the rows under `weights` (n,)."""
        ranking, groups = self._ranking, self._ranking.groups
        found = ranking.weighed(weights)
        positives = groups.ranked_sums(found.weights * self._buyer)
        best = f1_best_at(positives, found.counts, groups.values)
        log_loss, brier, p = (float(term) for term in self._terms @ found.weights)
        figures = {
            "auc": auc_at(positives, found.counts),
            "pr_auc": pr_auc_at(positives, found.counts),
            "log_loss": ratio(log_loss, found.total),
            "ece": ece_at(ranking.bin_sums(found, self._gap, RELIABILITY_BINS), found.total),
            "brier": ratio(brier, found.total),
            "f1": best.f1,
            "threshold": best.threshold,
            "precision": best.precision,
            "recall": best.recall,
            "mean_p_over_rate": ratio(p, float(positives.sum())),
        }
        if self._gap_expected is not None:
            gaps = ranking.bin_sums(found, self._gap_expected, RELIABILITY_BINS)
            figures["ece_oracle"] = ece_at(gaps, found.total)
        return figures


class AmountCard:
    """Metrics of predicted revenue at one horizon.

    Parameters
    ----------
    y, y_hat : ndarray of shape (n,)
        Realised revenue, ≥ 0, and predicted revenue, US dollars.
    expected : ndarray of shape (n,), optional
        The oracle's E[y | x]; adds the `*_oracle` figures.
    """

    def __init__(self, y: Floats, y_hat: Floats, expected: Floats | None = None) -> None:
        self._ranking = Ranking(y_hat)
        order, place, codes = self._ranking.order, self._ranking.place, self._ranking.groups.codes
        payers, whales = np.flatnonzero(y > 0.0), whale_rows(y)
        self._y_hat = y_hat[order]
        self._payers, self._payers_code = place[payers], codes[payers]
        self._whales, self._whales_code = place[whales], codes[whales]
        self._y = y[payers]
        self._by_y, self._by_y_hat = TieGroups(self._y), TieGroups(y_hat[payers])
        error = y_hat - y
        self._terms = np.stack([squared_log_errors(y, y_hat), np.abs(error), error**2])[:, order]
        self._paid = np.stack([self._y**2, np.minimum(self._y, cap_of_payers(y)), np.abs(error[payers]) / self._y])
        self._expected = None if expected is None else expected[order]
        self._best = None if expected is None else TieGroups(expected)
        self._best_expected = None if expected is None or self._best is None else expected[self._best.order]

    def __call__(self, weights: Floats) -> dict[str, float]:
        """Named metrics of the rows under `weights` (n,)."""
        found = self._ranking.weighed(weights)
        paying = found.weights[self._payers]
        worth = np.cumsum(found.counts * self._ranking.groups.values)
        predicted = float(worth[-1])
        figures = self._errors(found, paying, predicted) | self._order(found, paying, worth)
        by_decile = self._by_decile(found, self._y_hat)
        figures["decile_mape"] = decile_mape_at(by_decile, self._revenue_by_decile(found, paying))
        if self._expected is not None:
            mass = float(found.weights @ self._expected)
            figures["normalised_gini_oracle"] = self._gini_oracle(found, weights, mass)
            figures["decile_mape_oracle"] = decile_mape_at(by_decile, self._by_decile(found, self._expected))
            figures["bias_oracle"] = ratio(predicted, mass)
        return figures

    def _by_decile(self, found: Weighed, values: Floats) -> Floats:
        """Σ w·value in each decile of ŷ; NaN throughout where ŷ has fewer than ten values."""
        if self._ranking.groups.values.shape[0] < DECILES:
            return np.full(DECILES, np.nan)
        return self._ranking.bin_sums(found, values, DECILES)

    def _revenue_by_decile(self, found: Weighed, paying: Floats) -> Floats:
        edges = bin_edges(found.positions, found.total, DECILES)
        decile = np.searchsorted(edges[1:-1], self._payers_code, side="right")
        revenue = np.bincount(decile, paying * self._y, minlength=DECILES)
        return revenue.astype(np.float64, copy=False)

    def _errors(self, found: Weighed, paying: Floats, predicted: float) -> dict[str, float]:
        total, revenue = found.total, float(paying @ self._y)
        log2, absolute, squared = (float(term) for term in self._terms @ found.weights)
        square, capped, relative = (float(term) for term in self._paid @ paying)
        rmse, spread = ratio(squared, total) ** 0.5, square - ratio(revenue**2, total)
        return {
            "msle": ratio(log2, total),
            "rmsle": ratio(log2, total) ** 0.5,
            "mae": ratio(absolute, total),
            "rmse": rmse,
            "r2": 1.0 - ratio(squared, spread),
            "mape_payers": ratio(relative, float(paying.sum())),
            "nrmse": ratio(rmse * total, revenue),
            "nmae": ratio(absolute, revenue),
            "bias_realised": ratio(predicted, capped),
        }

    def _order(self, found: Weighed, paying: Floats, worth: Floats) -> dict[str, float]:
        counts = self._by_y.sums(paying)
        ahead = np.cumsum(counts)
        by_y, by_y_hat = (ahead - counts / 2.0)[self._by_y.codes], found.positions[self._payers_code]
        mass = paying * self._y
        revenue = float(mass.sum())
        scale = found.total * revenue
        gini, best = (1.0 - 2.0 * ratio(float(mass @ positions), scale) for positions in (by_y_hat, by_y))
        # Behind the payers stand all others, with no revenue: the last piece of the Lorenz curve is flat.
        of_y = lorenz_at(np.append(ahead, found.total), np.append(np.cumsum(counts * self._by_y.values), revenue))
        return {
            "gini": gini,
            "normalised_gini": ratio(gini, best),
            "mutual_gini": area_between(*of_y, *lorenz_at(found.ahead, worth)),
            "spearman": _spearman(found, paying, by_y, by_y_hat),
            "spearman_payers": spearman_at(by_y, self._by_y_hat.positions(paying), paying),
            "missed_whales": 1.0 - recall_at(found.counts, self._whales_code, found.weights[self._whales]),
        }

    def _gini_oracle(self, found: Weighed, weights: Floats, mass: float) -> float:
        assert self._best is not None
        assert self._best_expected is not None
        assert self._expected is not None
        ours = self._ranking.groups.ranked_sums(found.weights * self._expected) @ found.positions
        ranked = weights[self._best.order]
        counts = self._best.ranked_sums(ranked)
        theirs = self._best.ranked_sums(ranked * self._best_expected) @ (np.cumsum(counts) - counts / 2.0)
        scale = found.total * mass
        return ratio(1.0 - 2.0 * ratio(float(ours), scale), 1.0 - 2.0 * ratio(float(theirs), scale))


def _spearman(found: Weighed, paying: Floats, by_y: Floats, by_y_hat: Floats) -> float:
    """Spearman's correlation over all rows from the payers' mid-ranks by both sides.

    All others share one rank of y, half the payers' weight from the middle, and the deviations of ŷ's ranks sum to
    zero over all rows: so the others' covariance is that rank times the payers' sum, negated.
    """
    middle, payers = found.total / 2.0, float(paying.sum())
    a, b, of_all = by_y - middle, by_y_hat - middle, found.positions - middle
    others = payers / 2.0
    covariance = float((paying * a) @ b) - others * float(paying @ b)
    spread_y = float((paying * a) @ a) + others**2 * (found.total - payers)
    return ratio(covariance, (spread_y * float((found.counts * of_all) @ of_all)) ** 0.5)


class LogCard:
    """Metrics of expm1(E[log1p y | x]), the answer that squared log error wants: `msle`, `rmsle`."""

    def __init__(self, y: Floats, log_mean: Floats) -> None:
        self._squared = squared_log_errors(y, log_mean)

    def __call__(self, weights: Floats) -> dict[str, float]:
        """Named metrics of the rows under `weights` (n,)."""
        mean = ratio(float(weights @ self._squared), float(weights.sum()))
        return {"msle": mean, "rmsle": mean**0.5}
