"""X, binned once, and labels enter; boosters and out-of-fold scores leave. All that LightGBM is told is here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from training.learning.options import BoosterConfig

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

MAX_BIN = 63
"""Bins a feature: as good as 255 on this kind of data, with histograms that stay in the processor's cache."""


LEAST_WEIGHT = 1e-300
"""Below it, a mean weight is none."""

BLOCK_ROWS = 65_536
"""Rows of X that are scored at a time; of 250 features they are 130 MB."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """What makes a fit repeatable: the seed, and the number of threads."""

    seed: int
    threads: int


class Matrix:
    """Training rows, binned once for every model over them.

    Parameters
    ----------
    X : ndarray of shape (n, n_features), float64
        On the float32 grid, missing as NaN.
    runtime : Runtime
    rising : sequence of int
        Columns in which no model over the matrix may fall.
    weight : ndarray of shape (n,), optional
        How many rows each stands for, ≥ 0, for every model over the matrix; 1 unless given.

    Attributes
    ----------
    weight : ndarray of shape (n,) or None
        With a mean of 1, so that a leaf's least curvature and `l2` mean the same whatever the unit.
    """

    def __init__(self, X: Floats, runtime: Runtime, rising: Sequence[int] = (), weight: Floats | None = None) -> None:
        self.X = X
        self.runtime = runtime
        self.weight = None if weight is None else weight / max(float(weight.mean()), LEAST_WEIGHT)
        self._common: dict[str, Any] = {
            "seed": runtime.seed,
            "num_threads": runtime.threads,
            "deterministic": True,
            "force_row_wise": True,
            "max_bin": MAX_BIN,
            "feature_pre_filter": False,  # one binning serves models with different smallest leaves
            "verbosity": -1,
        }
        if rising:
            self._common["monotone_constraints"] = [int(column in rising) for column in range(X.shape[1])]
        # LightGBM gives a subset its labels only once it is constructed, and constructs only what has labels.
        self._data = lgb.Dataset(X, label=np.zeros(len(X)), params=self._common).construct()

    def fit(
        self,
        objective: Mapping[str, Any],
        label: Floats,
        rows: Mask,
        config: BoosterConfig,
        *,
        init_score: Floats | None = None,
        weight: Floats | None = None,
    ) -> lgb.Booster:
        """Fit a booster on some of the rows.

        Parameters
        ----------
        objective : mapping
            LightGBM's `objective` and what belongs to it.
        label : ndarray of shape (n,)
            Read where `rows` holds.
        rows : ndarray of shape (n,), bool
        config : BoosterConfig
        init_score : ndarray of shape (n,), optional
            Raw scores to start from; not part of the booster.
        weight : ndarray of shape (n,), optional
            How the rows of this fit count, times what each stands for.
        """
        chosen, weight = np.flatnonzero(rows), self.weighed(weight)
        params = {**self._common, **_parameters(config), **objective}
        data = self._data.subset(chosen.tolist(), params=params).construct()
        data.set_label(label[chosen])
        if init_score is not None:
            data.set_init_score(init_score[chosen])
        if weight is not None:
            data.set_weight(weight[chosen])
        return lgb.train(params, data, num_boost_round=config.rounds)

    def weighed(self, weight: Floats | None = None) -> Floats | None:
        """The product of a fit's own weights and what each row stands for, shape (n,); None where neither is given."""
        if self.weight is None or weight is None:
            return self.weight if weight is None else weight
        return np.asarray(weight * self.weight)

    def counts(self, rows: Mask) -> Floats:
        """What each of some rows stands for, 1 unless the matrix is weighted: for means and sums beside a fit."""
        return np.ones(int(rows.sum())) if self.weight is None else self.weight[rows]

    def begin(self, rows: Mask, config: BoosterConfig, *, init_score: float | Floats) -> lgb.Booster:
        """Return a booster without trees, whose `update` is given gradients and curvatures of the rows that hold.

        LightGBM leaves weights to whoever computes those: `weighed`.

        Parameters
        ----------
        rows : ndarray of shape (n,), bool
        config : BoosterConfig
        init_score : float or ndarray of shape (n_classes,)
            Where it starts; with several classes each round grows a tree a class.
        """
        chosen, start = np.flatnonzero(rows), np.atleast_1d(init_score)
        params = {**self._common, **_parameters(config), "objective": "none", "num_class": len(start)}
        data = self._data.subset(chosen.tolist(), params=params).construct()
        data.set_init_score(np.repeat(start, len(chosen)))  # class by class
        return lgb.Booster(params, data)

    def tree_scores(self, booster: lgb.Booster, X: Floats, tree: int) -> Floats:
        """Return what one tree adds to the scores of X, shape (n,)."""
        one = booster.predict(
            X, raw_score=True, start_iteration=tree, num_iteration=1, num_threads=self.runtime.threads
        )
        return np.asarray(one, dtype=np.float64)

    def extend(
        self,
        booster: lgb.Booster,
        objective: Mapping[str, Any],
        label: Floats,
        weight: Floats,
        rows: Mask,
        config: BoosterConfig,
    ) -> lgb.Booster:
        """Go on boosting from a booster's scores; the result holds its trees, then `config.rounds` more.

        Takes `label` and `weight` of shape (n,), read where `rows` holds.
        """
        chosen = np.flatnonzero(rows)
        params = {**self._common, **_parameters(config), **objective}
        both = weight if self.weight is None else weight * self.weight
        data = lgb.Dataset(self.X[chosen], label=label[chosen], weight=both[chosen], params=params)
        return lgb.train(params, data, num_boost_round=config.rounds, init_model=booster)

    def scores(self, booster: lgb.Booster, rows: Mask | None = None) -> Floats:
        """Return raw scores of all rows, or of some; a block of rows at a time, since X may be larger than memory."""
        places = np.arange(len(self.X)) if rows is None else np.flatnonzero(rows)
        blocks = [places[i : i + BLOCK_ROWS] for i in range(0, len(places), BLOCK_ROWS)]
        scores = [raw_scores(booster, self.X[block], self.runtime.threads) for block in blocks]
        return np.concatenate(scores) if scores else np.empty(0)


def raw_scores(booster: lgb.Booster, X: Floats, threads: int) -> Floats:
    """Return LightGBM's raw scores, shape (n,), before any link."""
    return np.asarray(booster.predict(X, raw_score=True, num_threads=threads), dtype=np.float64)


def raw_matrix(boosters: Sequence[lgb.Booster], X: Floats, threads: int) -> Floats:
    """Return the raw scores of several boosters side by side; one of K classes fills K columns."""
    return np.column_stack([raw_scores(booster, X, threads) for booster in boosters])


def shifted(booster: lgb.Booster, by: float | Floats, first: int = 0) -> lgb.Booster:
    """Return a copy whose raw scores are higher by `by`: added to every leaf of tree `first`, of each class its own.

    `by` is a number, or one a class, shape (n_classes,).
    """
    copy = lgb.Booster(model_str=booster.model_to_string())
    trees = copy.dump_model(start_iteration=first, num_iteration=1)["tree_info"]
    for tree, (info, step) in enumerate(zip(trees, np.atleast_1d(by).tolist(), strict=True), start=first):
        for leaf in range(info["num_leaves"]):
            copy.set_leaf_output(tree, leaf, copy.get_leaf_output(tree, leaf) + step)
    return copy


def named_multiclass(booster: lgb.Booster) -> lgb.Booster:
    """Return a copy that says what it is: trees of several classes boosted by one's own derivatives carry no objective,
    and compilers read several classes only where one is named. Raw scores stay.
    """
    classes = booster.num_model_per_iteration()
    header, trees = booster.model_to_string().split("feature_names=", 1)
    return lgb.Booster(model_str=f"{header}objective=multiclass num_class:{classes}\nfeature_names={trees}")


def out_of_fold(fit: Callable[[Mask], list[lgb.Booster]], matrix: Matrix, fold: Ints) -> Floats:
    """Score every row by models that did not see its fold.

    Parameters
    ----------
    fit : callable
        Rows that may be seen, (n,) bool → boosters.
    matrix : Matrix
    fold : ndarray of shape (n,), int64

    Returns
    -------
    ndarray of shape (n, n_boosters), raw scores
    """
    parts: dict[int, Floats] = {}
    for k in np.unique(fold).tolist():
        boosters = fit(fold != k)
        parts[k] = np.column_stack([matrix.scores(booster, fold == k) for booster in boosters])
    scores = np.empty((len(fold), next(iter(parts.values())).shape[1]))
    for k, part in parts.items():
        scores[fold == k] = part
    return scores


def _parameters(config: BoosterConfig) -> dict[str, Any]:
    return {
        "num_leaves": config.leaves,
        "learning_rate": config.learning_rate,
        "min_data_in_leaf": config.min_leaf,
        "lambda_l2": config.l2,
        "feature_fraction": config.feature_fraction,
        "bagging_fraction": config.bagging_fraction,
        "bagging_freq": int(config.bagging_fraction < 1.0),
    }
