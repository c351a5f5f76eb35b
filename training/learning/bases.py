r"""Base learners of other kinds for the stack: X and a target enter; an elastic net, a forest and XGBoost leave.

Stacking lives on errors that differ. A linear model, averaged deep trees and a second library of boosting err
differently from LightGBM; how much that is worth is for the held-out day to say.

- The elastic net sees features winsorised at their quantiles and filled with their median where missing. Standardising
  is folded into its coefficients: it is served as intercept + Σ_j c_j · x_j over the coefficients that are not 0.
- The forest [scikit-learn] and XGBoost send a missing value the way that training found better. What they predict, in
  training too, is defined by their plain trees (`training.learning.tree_sums`): what is compiled and served.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xgboost as xgb
from sklearn.ensemble import RandomForestRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNet

from app.inference.specification import LinearSpec
from training.learning.boosting import BLOCK_ROWS, Floats, Ints, Mask, Runtime
from training.learning.options import BasesConfig, BoosterConfig, ForestConfig, LinearConfig
from training.learning.tree_sums import TreeSum

WINSOR = (0.005, 0.995)
"""Quantiles at which a feature is cut for the linear model: one user's millions are not a hundred users' hundreds."""

LINEAR, FOREST, XGBOOST = "linear", "forest", "xgboost"


@dataclass(frozen=True)
class Base:
    """A learner that is compiled: its trees, which define its scores, and what grew them.

    Parameters
    ----------
    name : str
        `forest` or `xgboost`.
    trees : TreeSum
    grown : RandomForestRegressor or xgboost.Booster
        The other library's own object, for the certificate.
    """

    name: str
    trees: TreeSum
    grown: RandomForestRegressor | xgb.Booster

    def grown_scores(self, X: Floats) -> Floats:
        """What that library predicts, shape (n,): on one thread, where its order of summation is fixed."""
        if isinstance(self.grown, RandomForestRegressor):
            with np.errstate(all="ignore"):  # its check for infinities adds X up, which the largest numbers overflow
                return np.asarray(self.grown.set_params(n_jobs=1).predict(X), dtype=np.float64)
        margin = self.grown.predict(xgb.DMatrix(X, missing=np.nan, nthread=1), output_margin=True)
        return np.asarray(margin, dtype=np.float64)


@dataclass(frozen=True)
class Bases:
    """The base learners that are configured, fitted on all rows that may be seen.

    Parameters
    ----------
    compiled : tuple of Base
        Forest, XGBoost.
    linear : LinearSpec or None
    """

    compiled: tuple[Base, ...]
    linear: LinearSpec | None

    def predict(self, X: Floats, places: Ints | None = None) -> Floats:
        """Scores of all rows of X, or of some, shape (n, n_learners): the compiled ones, then the elastic net.

        A block of rows at a time, since X may lie on disk.
        """
        places = np.arange(len(X)) if places is None else places
        blocks = [places[i : i + BLOCK_ROWS] for i in range(0, len(places), BLOCK_ROWS)]
        return np.concatenate([self._score(X[block]) for block in blocks or [places]])

    def _score(self, X: Floats) -> Floats:
        linear = () if self.linear is None else (self.linear.score(X),)
        return np.column_stack([*(base.trees.predict(X) for base in self.compiled), *linear])


def fit_bases(
    X: Floats, target: Floats, rows: Mask, config: BasesConfig, runtime: Runtime, weight: Floats | None = None
) -> Bases:
    """Fit the base learners by least squares.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
        On the float32 grid, missing as NaN.
    target : ndarray of shape (n,)
        Read where `rows` holds: log1p of revenue, say. Not mature, it is NaN, and the row is left out.
    rows : ndarray of shape (n,), bool
        Rows that may be seen; of more than `config.rows`, so many evenly over them.
    config : BasesConfig
    runtime : Runtime
    weight : ndarray of shape (n,), optional
        What each row stands for.
    """
    chosen = np.flatnonzero(rows & np.isfinite(target))
    if len(chosen) > config.rows:
        chosen = chosen[np.linspace(0, len(chosen) - 1, config.rows).astype(np.int64)]
    seen, y, w = X[chosen], target[chosen], None if weight is None else weight[chosen]
    compiled: list[Base] = []
    if config.forest is not None:
        forest = _fit_forest(seen, y, w, config.forest, runtime)
        compiled.append(Base(FOREST, TreeSum.of_forest(forest), forest))
    if config.xgboost is not None:
        booster = _fit_xgboost(seen, y, w, config.xgboost, runtime)
        compiled.append(Base(XGBOOST, TreeSum.of_xgboost(booster), booster))
    return Bases(tuple(compiled), None if config.linear is None else fit_linear(seen, y, config.linear, w))


def bases_out_of_fold(
    X: Floats,
    target: Floats,
    rows: Mask,
    fold: Ints,
    config: BasesConfig,
    runtime: Runtime,
    progress: Callable[[], None] = lambda: None,
    weight: Floats | None = None,
) -> Floats:
    """Score every row by learners that did not see its fold; arguments as of `fit_bases`, shape (n, n_learners).

    `progress` is called after each fold.
    """
    parts = []
    for k in np.unique(fold).tolist():
        places = np.flatnonzero(fold == k)
        fitted = fit_bases(X, target, rows & (fold != k), config, runtime, weight)
        parts.append((places, fitted.predict(X, places)))
        progress()
    scores = np.empty((len(fold), parts[0][1].shape[1]))
    for places, part in parts:
        scores[places] = part
    return scores


def fit_linear(X: Floats, target: Floats, config: LinearConfig, weight: Floats | None = None) -> LinearSpec:
    """Fit an elastic net on winsorised, filled and standardised features; only those that it uses are kept.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
        Missing as NaN; a feature that is missing everywhere has no part in the model.
    target : ndarray of shape (n,)
    config : LinearConfig
    weight : ndarray of shape (n,), optional
        Of the fit; where a feature is cut and filled rests on the rows as they are.
    """
    usable = np.flatnonzero(~np.isnan(X).all(axis=0))
    lo, fill, hi = np.nanquantile(X[:, usable], [WINSOR[0], 0.5, WINSOR[1]], axis=0)
    x = np.clip(X[:, usable], lo, hi)
    filled = np.where(np.isnan(x), fill, x)
    mean, scale = filled.mean(axis=0), filled.std(axis=0)
    scale[scale < 1e-12] = np.inf  # a constant explains nothing
    net = ElasticNet(alpha=config.alpha, l1_ratio=config.l1_ratio, max_iter=2000)
    with warnings.catch_warnings():
        # Nearly parallel features converge slowly in how they share a weight, long after their sum has.
        warnings.simplefilter("ignore", ConvergenceWarning)
        net.fit((filled - mean) / scale, target, sample_weight=weight)
    coefficient = np.asarray(net.coef_, dtype=np.float64) / scale
    kept = coefficient != 0.0
    intercept = float(net.intercept_) - float((coefficient * mean).sum())
    columns = tuple(usable[kept].tolist())
    return LinearSpec(LINEAR, intercept, columns, fill[kept], lo[kept], hi[kept], coefficient[kept])


def _fit_forest(
    X: Floats, target: Floats, weight: Floats | None, config: ForestConfig, runtime: Runtime
) -> RandomForestRegressor:
    forest = RandomForestRegressor(
        n_estimators=config.trees,
        max_leaf_nodes=config.leaves,
        min_samples_leaf=config.min_leaf,
        max_features=config.feature_fraction,
        max_samples=config.bagging_fraction,
        random_state=runtime.seed,
        n_jobs=runtime.threads,
    )
    return forest.fit(X, target, sample_weight=weight)


def _fit_xgboost(
    X: Floats, target: Floats, weight: Floats | None, config: BoosterConfig, runtime: Runtime
) -> xgb.Booster:
    parameters = {
        "objective": "reg:squarederror",
        "tree_method": "hist",
        "grow_policy": "lossguide",
        "max_depth": 0,
        "max_leaves": config.leaves,
        "eta": config.learning_rate,
        "min_child_weight": config.min_leaf,  # of squared error the second derivative is 1: this counts rows
        "lambda": config.l2,
        "colsample_bytree": config.feature_fraction,
        "subsample": config.bagging_fraction,
        "seed": runtime.seed,
        "nthread": runtime.threads,
    }
    data = xgb.DMatrix(X, label=target, weight=weight, missing=np.nan, nthread=runtime.threads)
    return xgb.train(parameters, data, num_boost_round=config.rounds)
