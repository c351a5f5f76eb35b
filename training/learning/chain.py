r"""Upstream informs downstream: a horizon's prediction is a feature of the next one's, in which that one never falls.

The trees' version of the ODMN's chain [Li et al., CIKM 2022]. Horizon h + 1 learns from X and the out-of-fold score of
horizon h (its own gradient does not reach back), under the constraint that its score does not fall as that one rises:
the part of the paper's Mono unit with its non-negative weights. Monotone in D1 does not mean that D7 ≥ D1, so the
projection stays the last step.

A chain's libraries cannot merge: horizon h + 1 reads what horizon h answered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import lightgbm as lgb
import numpy as np

from app.inference.stage import extended
from training.learning.boosting import Floats, Ints, Mask, Matrix, Runtime, out_of_fold, raw_scores
from training.learning.labels import Labels
from training.learning.options import RegressorConfig
from training.learning.regressors import fit_conditional

UNCHAINED = ("quantile", "order_penalised")


@dataclass(frozen=True)
class Chain:
    """Fitted horizons, in the order in which they must be asked.

    Parameters
    ----------
    boosters : list of lightgbm.Booster
        The first reads X, each other one X and, as its last column, the score of the one before.
    out_of_fold : ndarray of shape (n, n_horizons)
        Raw scores of the training rows by boosters that did not see them.
    runtime : Runtime
    """

    boosters: list[lgb.Booster]
    out_of_fold: Floats
    runtime: Runtime

    def scores(self, X: Floats) -> Floats:
        """Raw scores f_0(X), f_1(X, f_0), f_2(X, f_1), …, each rounded to float32 on its way into the next."""
        found: list[Floats] = []
        for booster in self.boosters:
            found.append(raw_scores(booster, linked(X, found[-1]) if found else X, self.runtime.threads))
        return np.column_stack(found)

    def predict(self, raw: Floats) -> Floats:
        """E[y_h | buy, x] up to a factor a horizon, of raw scores: e^f; both (n, n_horizons)."""
        return np.asarray(np.exp(raw))


class Linked(lgb.Sequence):
    """X with the score of the horizon before as its last column, made as rows are asked for: X may lie on disk.

    Parameters
    ----------
    X : array-like of shape (n, n_features)
    score : ndarray of shape (n,)
    """

    batch_size = 4096

    def __init__(self, X: Floats, score: Floats) -> None:
        self._X, self._score = X, score

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self), self._X.shape[1] + 1

    def __len__(self) -> int:
        """Rows."""
        return len(self._score)

    def __getitem__(self, index: Any) -> Floats:
        """Some rows, shape (n, n_features + 1); of a single position, shape (n_features + 1,)."""
        if isinstance(index, int | np.integer):
            row: Floats = linked(self._X[index][None], self._score[index : index + 1])[0]
            return row
        return linked(self._X[index], self._score[index])


def linked(X: Floats, score: Floats) -> Floats:
    """X with the score of the horizon before as its last column, on the float32 grid of the features."""
    return extended(X, score[:, None])


def fit_chain(matrix: Matrix, labels: Labels, rows: Mask, fold: Ints, config: RegressorConfig) -> Chain:
    """Fit the horizons one after the other.

    Parameters
    ----------
    matrix : Matrix of n rows
    labels : Labels of n rows
        Each horizon learns from the buyers that are mature at it.
    rows : ndarray of shape (n,), bool
        Rows that may be seen.
    fold : ndarray of shape (n,), int64
    config : RegressorConfig
        Any objective of a single horizon but `quantile`, whose leaves are set anew after a constrained split.

    Raises
    ------
    ValueError
        Of an objective that can not be chained.
    """
    if config.objective in UNCHAINED:
        raise ValueError(f"chain: expected an objective of one horizon with a gradient, received {config.objective!r}")
    boosters: list[lgb.Booster] = []
    scores: list[Floats] = []
    link = matrix
    for revenue in labels.revenue.T:
        if scores:
            wider = cast(Floats, Linked(matrix.X, scores[-1]))
            link = Matrix(wider, matrix.runtime, rising=(matrix.X.shape[1],), weight=matrix.weight)
        known = rows & np.equal(labels.buyer, 1.0) & np.isfinite(revenue)

        def fit(seen: Mask, link: Matrix = link, y: Floats = revenue, known: Mask = known) -> list[lgb.Booster]:
            return [fit_conditional(link, y, known & seen, config)]

        scores.append(out_of_fold(fit, link, fold)[:, 0])
        boosters += fit(np.ones(len(labels), dtype=bool))
    return Chain(boosters, np.column_stack(scores), matrix.runtime)
