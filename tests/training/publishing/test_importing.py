"""Forests and XGBoost compiled: plain trees, scikit-learn and XGBoost are the oracles."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xgboost as xgb
from numpy.typing import NDArray

from app.errors import BundleCorrupt
from app.inference.compiled import CompiledModel
from tests.training.learning.test_tree_sums import N_FEATURES, booster, forest, rows
from training.learning.tree_sums import TreeSum
from training.publishing.certificate import certify_by
from training.publishing.compilation import compile_merged
from training.publishing.importing import imported, oracle_of


def compiled(trees: TreeSum, path: Path, units: int | None = None) -> CompiledModel:
    compile_merged(imported(trees), path, units=units)
    return CompiledModel(path, N_FEATURES, 1)


@pytest.mark.parametrize("units", [None, 1, 5])
def test_a_compiled_forest_is_scikit_learns(units: int | None, tmp_path: Path) -> None:
    """Equal in every bit to `predict` on one thread, however the trees are cut into functions and rows into blocks."""
    model = compiled(TreeSum.of_forest(forest()), tmp_path / "forest.so", units)
    X = rows()
    np.testing.assert_array_equal(model.predict_raw(X)[:, 0], forest().predict(X))
    np.testing.assert_array_equal(model.predict_raw(X[7:8])[0], model.predict_raw(X)[7])
    model.close()


@pytest.mark.parametrize("units", [None, 1, 5])
def test_compiled_xgboost_is_its_margin(units: int | None, tmp_path: Path) -> None:
    """A float32 sum from the base score on: what XGBoost itself adds up."""
    model = compiled(TreeSum.of_xgboost(booster()), tmp_path / "xgboost.so", units)
    X = rows()
    margin = booster().predict(xgb.DMatrix(X, missing=np.nan, nthread=1), output_margin=True)
    np.testing.assert_array_equal(model.predict_raw(X)[:, 0], margin.astype(np.float64))
    model.close()


@pytest.mark.parametrize("kind", ["forest", "xgboost"])
def test_the_certificate_covers_thresholds_and_far_off_rows(kind: str, tmp_path: Path) -> None:
    """No bit differs from the plain trees; the distance from the library that grew them is told."""
    trees = TreeSum.of_forest(forest()) if kind == "forest" else TreeSum.of_xgboost(booster())
    model = compiled(trees, tmp_path / "trees.so")
    near = forest().predict if kind == "forest" else margin_of(booster())
    proof = certify_by(oracle_of(trees, near), model, rows(), seed=4)
    assert proof["rows"]["training"] == len(rows())
    assert (proof["mismatches"], proof["max_abs_diff"]) == (0, 0.0)
    assert proof["max_relative_diff"] == 0.0
    model.close()


def test_a_tree_without_a_split(tmp_path: Path) -> None:
    """A constant compiles: start, leaf and divisor alone."""
    leaf = dataclasses.replace(TreeSum.of_forest(forest()).trees[0])
    one = {name: getattr(leaf, name)[:1] for name in ("feature", "threshold", "missing_left")}
    stump = dataclasses.replace(leaf, left=np.array([-1]), right=np.array([-1]), value=np.array([0.7]), **one)
    trees = TreeSum(N_FEATURES, (stump, stump), strict=False, single=False, start=0.5, divisor=3)
    model = compiled(trees, tmp_path / "constant.so")
    assert model.predict_raw(rows()[:1])[0, 0] == (0.5 + 0.7 + 0.7) / 3
    model.close()


def test_the_certificate_refuses_what_is_far_from_xgboost(tmp_path: Path) -> None:
    """Beyond 1e-5 relative it names row and both scores; other trees are found out in any bit."""
    trees = TreeSum.of_xgboost(booster())
    model = compiled(trees, tmp_path / "xgboost.so")
    off = oracle_of(trees, near=lambda X: trees.predict(X) * 1.00002)
    with pytest.raises(BundleCorrupt, match=r"xgboost\.so: training row \d+, target 0: expected .* within 1e-05"):
        certify_by(off, model, rows(), seed=4)
    fewer = dataclasses.replace(trees, trees=trees.trees[:-1])
    with pytest.raises(BundleCorrupt, match=r"mismatches on training rows, the first at row \d+, target 0: the trees"):
        certify_by(oracle_of(fewer), model, rows(), seed=4)
    model.close()


def margin_of(one: xgb.Booster) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """XGBoost's own margin."""

    def margin(X: NDArray[np.float64]) -> NDArray[np.float64]:
        found = one.predict(xgb.DMatrix(X, missing=np.nan, nthread=1), output_margin=True)
        return found.astype(np.float64)

    return margin
