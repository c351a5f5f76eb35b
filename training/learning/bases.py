r"""Base learners of other kinds for the stack: X and a target enter; an elastic net, a forest and XGBoost leave.

Stacking lives on errors that differ. A linear model, averaged deep trees and a second library of boosting err
differently from LightGBM; how much that is worth is for the held-out day to say.

- The elastic net sees features winsorised at their quantiles and filled with their median where missing. Standardising
  is folded into its coefficients: it is served as intercept + Σ_j c_j · x_j over the coefficients that are not 0.
- The forest [scikit-learn] and XGBoost send a missing value the way that training found better. Both work in float32
  inside; XGBoost's sum is of floats too, so its compiled library is the definition of what it predicts.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import xgboost as xgb
from sklearn.ensemble import RandomForestRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNet

from training.learning.boosting import Floats, Ints, Mask, Runtime
from training.learning.options import BasesConfig, BoosterConfig, ForestConfig, LinearConfig

WINSOR = (0.005, 0.995)
"""Quantiles at which a feature is cut for the linear model: one user's millions are not a hundred users' hundreds."""

N_BASES = 3


@dataclass(frozen=True)
class Linear:
    """intercept + Σ_j c_j · clip(x_j, lo_j, hi_j), a missing x_j being fill_j.

    Parameters
    ----------
    columns : ndarray of shape (k,), int64
        Features whose coefficient is not 0.
    coefficient, lo, hi, fill : ndarray of shape (k,)
    intercept : float
    """

    columns: Ints
    coefficient: Floats
    lo: Floats
    hi: Floats
    fill: Floats
    intercept: float

    def predict(self, X: Floats) -> Floats:
        """Scores of X, (n, n_features) with missing as NaN; shape (n,)."""
        x = np.clip(X[:, self.columns], self.lo, self.hi)
        filled = np.where(np.isnan(x), self.fill, x)
        # einsum, not a matrix product: a row's bits must not depend on the batch that it rides in.
        return np.asarray(self.intercept + np.einsum("nk,k->n", filled, self.coefficient))


@dataclass(frozen=True)
class Bases:
    """The three base learners, fitted on all rows that may be seen.

    Parameters
    ----------
    linear : Linear
    forest : RandomForestRegressor
    boosted : xgboost.Booster
    threads : int
    """

    linear: Linear
    forest: RandomForestRegressor
    boosted: xgb.Booster
    threads: int

    def predict(self, X: Floats) -> Floats:
        """Scores of X, shape (n, 3): elastic net, forest (the mean of its trees), XGBoost (its margin)."""
        forest = np.asarray(self.forest.predict(X), dtype=np.float64)
        boosted = self.boosted.predict(xgb.DMatrix(X, missing=np.nan, nthread=self.threads), output_margin=True)
        return np.column_stack([self.linear.predict(X), forest, boosted.astype(np.float64)])


def fit_bases(X: Floats, target: Floats, rows: Mask, config: BasesConfig, runtime: Runtime) -> Bases:
    """Fit the base learners by least squares.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
        On the float32 grid, missing as NaN.
    target : ndarray of shape (n,)
        Read where `rows` holds: log1p of revenue, say.
    rows : ndarray of shape (n,), bool
        Rows that may be seen.
    config : BasesConfig
    runtime : Runtime
    """
    seen, y = X[rows], target[rows]
    forest = _fit_forest(seen, y, config.forest, runtime)
    return Bases(
        fit_linear(seen, y, config.linear), forest, _fit_boosted(seen, y, config.boosted, runtime), runtime.threads
    )


def bases_out_of_fold(
    X: Floats, target: Floats, rows: Mask, fold: Ints, config: BasesConfig, runtime: Runtime
) -> Floats:
    """Score every row by base learners that did not see its fold; arguments as of `fit_bases`, shape (n, 3)."""
    scores = np.empty((len(X), N_BASES))
    for k in np.unique(fold).tolist():
        scores[fold == k] = fit_bases(X, target, rows & (fold != k), config, runtime).predict(X[fold == k])
    return scores


def fit_linear(X: Floats, target: Floats, config: LinearConfig) -> Linear:
    """Fit an elastic net on winsorised, filled and standardised features.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
        Missing as NaN; a feature that is missing everywhere has no part in the model.
    target : ndarray of shape (n,)
    config : LinearConfig
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
        net.fit((filled - mean) / scale, target)
    coefficient = np.asarray(net.coef_, dtype=np.float64) / scale
    kept = coefficient != 0.0
    intercept = float(net.intercept_) - float((coefficient * mean).sum())
    return Linear(usable[kept], coefficient[kept], lo[kept], hi[kept], fill[kept], intercept)


def _fit_forest(X: Floats, target: Floats, config: ForestConfig, runtime: Runtime) -> RandomForestRegressor:
    forest = RandomForestRegressor(
        n_estimators=config.trees,
        max_leaf_nodes=config.leaves,
        min_samples_leaf=config.min_leaf,
        max_features=config.feature_fraction,
        random_state=runtime.seed,
        n_jobs=runtime.threads,
    )
    return forest.fit(X, target)


def _fit_boosted(X: Floats, target: Floats, config: BoosterConfig, runtime: Runtime) -> xgb.Booster:
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
    data = xgb.DMatrix(X, label=target, missing=np.nan, nthread=runtime.threads)
    return xgb.train(parameters, data, num_boost_round=config.rounds)
