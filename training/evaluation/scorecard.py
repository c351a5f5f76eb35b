"""One predictor against what came true → every metric under any row weights, as the bootstrap asks for them.

Sorting, logarithms and errors are done once here; a call only re-weights. The figures are those of
`metrics`, which the tests hold equal to a card called with integer weights and to `metrics` on rows
repeated that often.
"""

from __future__ import annotations

import numpy as np

from training.evaluation.classification import (
    RELIABILITY_BINS,
    auc_at,
    ece_at,
    f1_best_at,
    log_losses,
    pr_auc_at,
)
from training.evaluation.metrics import cap_of_payers, decile_mape_at, squared_log_errors
from training.evaluation.ranking import (
    Floats,
    TieGroups,
    area_between,
    gini_at,
    lorenz,
    ratio,
    recall_at,
    spearman_at,
    whale_rows,
)


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
        self._buyer, self._p, self._expected = buyer, p, expected
        self._groups = TieGroups(p)
        self._log_loss, self._brier = log_losses(buyer, p), (p - buyer) ** 2

    def __call__(self, weights: Floats) -> dict[str, float]:
        """Named metrics of the rows under `weights` (n,)."""
        total, groups = float(weights.sum()), self._groups
        positives, counts = groups.sums(weights * self._buyer), groups.sums(weights)
        best = f1_best_at(positives, counts, groups.values)
        positions = (np.cumsum(counts) - counts / 2.0)[groups.codes]
        figures = {
            "auc": auc_at(positives, counts),
            "pr_auc": pr_auc_at(positives, counts),
            "log_loss": ratio(float(weights @ self._log_loss), total),
            "ece": ece_at(positions, weights, self._buyer, self._p, RELIABILITY_BINS),
            "brier": ratio(float(weights @ self._brier), total),
            "f1": best.f1,
            "threshold": best.threshold,
            "precision": best.precision,
            "recall": best.recall,
            "mean_p_over_rate": ratio(float(weights @ self._p), float(positives.sum())),
        }
        if self._expected is not None:
            figures["ece_oracle"] = ece_at(positions, weights, self._expected, self._p, RELIABILITY_BINS)
        return figures


class AmountCard:
    """Metrics of predicted revenue at one horizon.

    Parameters
    ----------
    y, y_hat : ndarray of shape (n,)
        Realised and predicted revenue, US dollars.
    expected : ndarray of shape (n,), optional
        The oracle's E[y | x]; adds the `*_oracle` figures.
    """

    def __init__(self, y: Floats, y_hat: Floats, expected: Floats | None = None) -> None:
        self._y, self._y_hat, self._expected = y, y_hat, expected
        self._by_y, self._by_y_hat = TieGroups(y), TieGroups(y_hat)
        self._by_expected = None if expected is None else TieGroups(expected)
        self._payers, self._whales = np.flatnonzero(y > 0.0), whale_rows(y)
        self._payers_y, self._payers_y_hat = TieGroups(y[self._payers]), TieGroups(y_hat[self._payers])
        error = y_hat - y
        payers_y = y[self._payers]
        self._ape = np.abs(error[self._payers]) / payers_y
        self._terms = np.stack(
            [
                squared_log_errors(y, y_hat),
                np.abs(error),
                error**2,
                y_hat,
                y,
                y**2,
                np.minimum(y, cap_of_payers(y)),
            ]
        )

    def __call__(self, weights: Floats) -> dict[str, float]:
        """Named metrics of the rows under `weights` (n,)."""
        positions = self._by_y_hat.positions(weights)
        figures = self._errors(weights) | self._order(weights, positions)
        figures["decile_mape"] = self._decile_mape(positions, weights, self._y)
        if self._expected is not None and self._by_expected is not None:
            best = gini_at(self._by_expected.positions(weights), weights, self._expected)
            ours = gini_at(positions, weights, self._expected)
            figures["normalised_gini_oracle"] = ratio(ours, best)
            figures["decile_mape_oracle"] = self._decile_mape(positions, weights, self._expected)
            figures["bias_oracle"] = ratio(float(weights @ self._y_hat), float(weights @ self._expected))
        return figures

    def _decile_mape(self, positions: Floats, weights: Floats, target: Floats) -> float:
        return decile_mape_at(self._by_y_hat, positions, weights, target, self._y_hat)

    def _errors(self, weights: Floats) -> dict[str, float]:
        total, payers = float(weights.sum()), weights[self._payers]
        log2, absolute, squared, predicted, revenue, square, capped = (float(term) for term in self._terms @ weights)
        rmse, spread = ratio(squared, total) ** 0.5, square - ratio(revenue**2, total)
        return {
            "msle": ratio(log2, total),
            "rmsle": ratio(log2, total) ** 0.5,
            "mae": ratio(absolute, total),
            "rmse": rmse,
            "r2": 1.0 - ratio(squared, spread),
            "mape_payers": ratio(float(payers @ self._ape), float(payers.sum())),
            "nrmse": ratio(rmse * total, revenue),
            "nmae": ratio(absolute, revenue),
            "bias_realised": ratio(predicted, capped),
        }

    def _order(self, weights: Floats, positions: Floats) -> dict[str, float]:
        by_y = self._by_y.positions(weights)
        payers = weights[self._payers]
        gini = gini_at(positions, weights, self._y)
        return {
            "gini": gini,
            "normalised_gini": ratio(gini, gini_at(by_y, weights, self._y)),
            "mutual_gini": area_between(*lorenz(self._by_y, weights), *lorenz(self._by_y_hat, weights)),
            "spearman": spearman_at(by_y, positions, weights),
            "spearman_payers": spearman_at(
                self._payers_y.positions(payers), self._payers_y_hat.positions(payers), payers
            ),
            "missed_whales": 1.0 - recall_at(self._by_y_hat, weights, self._whales),
        }


class LogCard:
    """Metrics of expm1(E[log1p y | x]), the answer that squared log error wants: `msle`, `rmsle`."""

    def __init__(self, y: Floats, log_mean: Floats) -> None:
        self._squared = squared_log_errors(y, log_mean)

    def __call__(self, weights: Floats) -> dict[str, float]:
        """Named metrics of the rows under `weights` (n,)."""
        mean = ratio(float(weights @ self._squared), float(weights.sum()))
        return {"msle": mean, "rmsle": mean**0.5}
