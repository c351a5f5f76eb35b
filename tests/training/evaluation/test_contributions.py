"""Tests of training.evaluation.contributions."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pytest

from training.evaluation.contributions import explain, explanations, gains, load_models
from training.evaluation.ranking import Floats

NAMES = ("up", "down", "noise")


@pytest.fixture(scope="module")
def rows_of_three() -> Floats:
    """Three columns, a tenth of the first missing."""
    generator = np.random.default_rng(0)
    drawn = generator.normal(size=(400, 3))
    drawn[generator.random(400) < 0.1, 0] = np.nan
    return drawn


@pytest.fixture(scope="module")
def booster(rows_of_three: Floats) -> lgb.Booster:
    """Rises in the first column, falls in the second."""
    X = rows_of_three
    y = 2.0 * np.nan_to_num(X[:, 0]) - X[:, 1]
    params = {"num_leaves": 4, "verbosity": -1, "num_threads": 1, "seed": 0}
    return lgb.train(params, lgb.Dataset(X, y), num_boost_round=10)


def test_contributions_add_up_to_the_raw_score(rows_of_three: Floats, booster: lgb.Booster) -> None:
    """Expectation and contributions of a row sum to its raw score, and the signs are the right ones."""
    X = rows_of_three
    (found,) = explain({"gate": booster}, X, NAMES, seed=0, num_threads=1)
    assert found.X.shape == X.shape
    raw = booster.predict(found.X, raw_score=True)
    np.testing.assert_allclose(found.phi.sum(axis=1) + found.expected, raw, rtol=1e-10, atol=1e-10)
    top = found.summary(2)
    assert [one["feature"] for one in top] == ["up", "down"]
    assert top[0]["direction"] > 0.9
    assert top[1]["direction"] < -0.9


def test_contributions_are_shapley_values(rows_of_three: Floats) -> None:
    """For a small tree they equal the Shapley sum over all orders of the path-dependent game, done by brute force."""
    X = rows_of_three
    params = {"num_leaves": 4, "verbosity": -1, "num_threads": 1, "min_data_in_leaf": 20, "learning_rate": 1.0}
    tree = lgb.train(params, lgb.Dataset(X, np.nan_to_num(X[:, 0]) * X[:, 1]), num_boost_round=1)
    root = tree.dump_model()["tree_info"][0]["tree_structure"]

    def value(node: dict, row: Floats, known: set[int]) -> float:  # type: ignore[type-arg]
        if "leaf_value" in node:
            return float(node["leaf_value"])
        left, right = node["left_child"], node["right_child"]
        if node["split_feature"] in known:
            x = row[node["split_feature"]]
            goes_left = node["default_left"] if np.isnan(x) else x <= node["threshold"]
            return value(left if goes_left else right, row, known)
        counts = [child.get("leaf_count", child.get("internal_count")) for child in (left, right)]
        parts = [value(child, row, known) * n for child, n in zip((left, right), counts, strict=True)]
        return float(sum(parts) / sum(counts))

    (found,) = explain({"d7": tree}, X, NAMES, seed=0, num_threads=1)
    for row, phi in zip(found.X[:25], found.phi[:25], strict=True):
        slow = np.zeros(3)
        for order in itertools.permutations(range(3)):
            known: set[int] = set()
            for feature in order:
                before = value(root, row, known)
                known.add(feature)
                slow[feature] += (value(root, row, known) - before) / math.factorial(3)
        np.testing.assert_allclose(phi, slow, atol=1e-9)


def test_models_of_a_bundle_are_found_by_their_columns(booster: lgb.Booster, tmp_path: Path) -> None:
    """Texts of base models are named by their output; a meta-learner, over other columns, is left out."""
    (tmp_path / "models").mkdir()
    booster.save_model(tmp_path / "models" / "base.gate.txt")
    booster.save_model(tmp_path / "models" / "forest.d7.txt")
    found = load_models(tmp_path, NAMES)
    assert list(found) == ["gate", "forest.d7"]
    assert load_models(tmp_path, ("one", "two")) == {}
    assert gains(found, NAMES)["gate"]["up"] > gains(found, NAMES)["gate"]["noise"]


def test_a_bundle_without_texts_says_so() -> None:
    """Without models there is no summary, and the report says why."""
    assert explanations([]) == {
        "about": "The bundle holds no text of its models: what drives them can not be computed here.",
        "rows": 0,
        "shap": {},
    }
