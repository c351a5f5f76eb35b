"""scikit-learn's and XGBoost's own predictions are the oracles of plain trees."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
import xgboost as xgb
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor

from app.errors import BundleCorrupt
from training.learning.tree_sums import TreeSum

N, N_FEATURES = 1200, 5


def rows(missing: float = 0.2) -> NDArray[np.float64]:
    rng = np.random.default_rng(61)
    X = rng.normal(size=(N, N_FEATURES))
    X[rng.random(X.shape) < missing] = np.nan
    return X.astype(np.float32).astype(np.float64)


def target(X: NDArray[np.float64]) -> NDArray[np.float64]:
    noise = np.random.default_rng(62).normal(size=N)
    return 1.0 + np.nan_to_num(X[:, 0]) - np.nan_to_num(X[:, 1]) ** 2 + 2.0 * np.isnan(X[:, 2]) + 0.3 * noise


@cache
def forest(missing: float = 0.2) -> RandomForestRegressor:
    X = rows(missing)
    return RandomForestRegressor(12, max_leaf_nodes=9, min_samples_leaf=5, random_state=1, n_jobs=1).fit(X, target(X))


@cache
def booster() -> xgb.Booster:
    X = rows()
    settings = {"tree_method": "hist", "grow_policy": "lossguide", "max_depth": 0, "max_leaves": 6, "nthread": 1}
    return xgb.train(settings, xgb.DMatrix(X, label=target(X), missing=np.nan, nthread=1), 40)


def at_thresholds(trees: TreeSum) -> NDArray[np.float64]:
    """Rows with a value on a threshold's float32, and a step to either side of it."""
    feature, threshold = trees.splits()
    grid = threshold.astype(np.float32)
    X = np.repeat(rows()[np.arange(len(grid)) % N], 3, axis=0)
    below, above = (np.nextafter(grid, np.float32(end)) for end in (-3e38, 3e38))
    X[np.arange(len(X)), np.repeat(feature, 3)] = np.stack([below, grid, above], axis=1).ravel()
    return X


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_a_forest_is_what_scikit_learn_predicts_on_one_thread(missing: float) -> None:
    """In every bit, on its own rows, at its thresholds, with missing values that training saw and that it did not."""
    trees = TreeSum.of_forest(forest(missing))
    for X in (rows(), at_thresholds(trees)):
        np.testing.assert_array_equal(trees.predict(X), forest(missing).predict(X))


def test_an_infinite_threshold_parts_the_missing_from_the_rest() -> None:
    """scikit-learn writes "not missing" as x ≤ ∞: the largest number stands for it, also in JSON."""
    X = np.array([[x] for x in (1.0, 3e38, -3e38, np.nan)])
    fitted = RandomForestRegressor(3, bootstrap=False, max_depth=1).fit(X, [0.0, 0.0, 0.0, 1.0])
    trees = TreeSum.of_forest(fitted)
    assert np.isinf(fitted.estimators_[0].tree_.threshold).any()
    assert np.isfinite(trees.splits()[1]).all()
    np.testing.assert_array_equal(trees.predict(X), [0.0, 0.0, 0.0, 1.0])


def test_xgboost_is_its_margin() -> None:
    """In every bit of this version; the order of the sum is ours to keep."""
    trees = TreeSum.of_xgboost(booster())
    for X in (rows(), at_thresholds(trees)):
        margin = booster().predict(xgb.DMatrix(X, missing=np.nan, nthread=1), output_margin=True)
        np.testing.assert_array_equal(trees.predict(X), margin.astype(np.float64))


@pytest.mark.parametrize("kind", ["forest", "xgboost"])
def test_json_keeps_every_bit(kind: str) -> None:
    """Written and read back, the scores are the same."""
    trees = TreeSum.of_forest(forest()) if kind == "forest" else TreeSum.of_xgboost(booster())
    again = TreeSum.from_json(json.loads(json.dumps(trees.to_json(), allow_nan=False)))
    np.testing.assert_array_equal(again.predict(rows()), trees.predict(rows()))


def test_trees_that_are_none_are_one_line() -> None:
    """A lacking entry, lists of several lengths, children that lead back, features that are none: no row walks them."""
    good = TreeSum.of_forest(forest()).to_json()
    short = {**good["trees"][0], "value": [1.0]}
    circle = {**good["trees"][0], "left": [0 if x == 1 else x for x in good["trees"][0]["left"]]}
    for broken, message in (
        ({k: v for k, v in good.items() if k != "divisor"}, "KeyError: 'divisor'"),
        ({**good, "trees": [short]}, "the same length"),
        ({**good, "trees": [circle]}, "after their parents"),
        ({**good, "n_features": 1}, "splits by features 0 to 0, received others"),
        ({**good, "trees": []}, "expected trees and a divisor above 0, received 0 and 12"),
        ({**good, "divisor": 0}, "received 12 and 0"),
    ):
        with pytest.raises(BundleCorrupt, match=f"^trees: .*{message}"):
            TreeSum.from_json(broken)
