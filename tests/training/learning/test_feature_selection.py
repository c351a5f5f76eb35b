"""Selection: the features that tell something stay, by the reason that each step names."""

from __future__ import annotations

from itertools import combinations
from math import factorial
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest

from training.config import TrainingConfig
from training.learning.feature_selection import Selection, select_features, shap_importance, weightiest
from training.learning.labels import Labels

N = 6000
NAMES = ("gate", "money", "twin", "constant", *(f"noise{i}" for i in range(8)))
SMALL = {"leaves": 5, "learning_rate": 0.15, "min_leaf": 30}


def market() -> tuple[np.ndarray, Labels, np.ndarray]:
    """Two features that tell, a rising map of one of them, a constant, and noise."""
    rng = np.random.default_rng(61)
    gate, money = rng.normal(size=(2, N))
    X = np.column_stack([gate, money, np.exp(money) + 1e-9 * gate, np.full(N, 4.0), rng.normal(size=(N, 8))])
    buyer = rng.random(N) < 1 / (1 + np.exp(1.5 - 1.5 * gate))
    y = np.where(buyer, np.exp(1.0 + money + 0.5 * rng.normal(size=N)), 0.0)
    return X, Labels(buyer.astype(float), y[:, None]), np.arange(N) * 4 // N


def chosen(**selection: Any) -> Selection:
    config = TrainingConfig.model_validate(
        {
            "classifier": {"rounds": 90, **SMALL},
            "regressors": {"rounds": 90, **SMALL},
            "log_mean": {"rounds": 5, **SMALL},
            "multiplier": {"by": "x"},
            "threads": 1,
            "selection": {"rounds": 30, **selection},
        }
    )
    X, labels, fold = market()
    return select_features(X, NAMES, labels, fold, 0, config)


def test_each_step_names_what_it_drops() -> None:
    """The constant goes for its variance, the twin for its correlation, and what tells stays."""
    found = chosen(importance_kept=1.0, most_correlation=0.99)
    assert found.dropped["constant"] == "variance"
    assert len(found.dropped.keys() & {"money", "twin"}) == 1
    assert "correlation" in found.dropped.values()
    assert "gate" in found.kept
    assert set(found.kept) | set(found.dropped) == set(NAMES)
    assert not set(found.kept) & set(found.dropped)


@pytest.mark.parametrize("kind", ["gain", "shap"])
def test_importance_finds_the_two_that_tell(kind: str) -> None:
    """Shares sum to 1, and most of them lie with the gate's and the money's feature."""
    found = chosen(importance=kind, importance_kept=0.8, most_correlation=0.99)
    assert sum(found.importance.values()) == pytest.approx(1.0)
    assert found.importance["gate"] > 0.3
    assert found.importance["money"] + found.importance["twin"] > 0.3
    assert len(found.kept) == 2
    assert found.dropped["noise0"] == "importance"


def test_elimination_stops_early_and_keeps_the_smallest_good_set() -> None:
    """It goes down step by step, past the best, and gives back the fewest features within the tolerance."""
    found = chosen(
        importance_kept=1.0, most_correlation=0.99, elimination={"drop": 0.4, "patience": 1, "tolerance": 0.01}
    )
    sizes = [step.features for step in found.steps]
    assert sizes == sorted(sizes, reverse=True)
    assert len(found.kept) == 2
    assert "elimination" in found.dropped.values()
    losses = {step.features: step.loss for step in found.steps}
    assert losses[2] <= min(losses.values()) * 1.01
    assert found.steps[-1].features == 1  # one feature too few was tried, and seen to be
    assert losses[1] > 1.05 * losses[2]


def test_the_loss_is_relative_to_constants() -> None:
    """Probes of noise are no better than a constant, being judged out of fold; those that know are far below it."""
    X, labels, fold = market()
    noise = [j for j, name in enumerate(NAMES) if name.startswith("noise")]
    config = TrainingConfig.model_validate(
        {
            "classifier": {"rounds": 9, **SMALL}, "regressors": {"rounds": 9, **SMALL},
            "log_mean": {"rounds": 5, **SMALL}, "multiplier": {"by": "x"}, "threads": 1,
            "selection": {"rounds": 20, "most_correlation": 1.0, "importance_kept": 1.0, "elimination": {}},
        }
    )  # fmt: skip
    blind = select_features(X[:, noise], [NAMES[j] for j in noise], labels, fold, 0, config).steps[0].loss
    seeing = select_features(X, NAMES, labels, fold, 0, config).steps[0].loss
    assert 1.0 < blind < 1.15
    assert seeing < 0.65


def test_choosing_among_noise_does_not_look_like_knowing() -> None:
    """Of many useless features and few rows, elimination finds none whose out-of-fold loss beats a constant's."""
    rng = np.random.default_rng(62)
    X, buyer = rng.normal(size=(500, 60)), (rng.random(500) < 0.5).astype(float)
    labels = Labels(buyer, np.where(buyer == 1, np.exp(rng.normal(size=500)), 0.0)[:, None])
    config = TrainingConfig.model_validate(
        {
            "classifier": {"rounds": 9, **SMALL}, "regressors": {"rounds": 9, **SMALL},
            "log_mean": {"rounds": 5, **SMALL}, "multiplier": {"by": "x"}, "threads": 1,
            "selection": {
                "rounds": 10, "most_correlation": 1.0, "importance_kept": 1.0,
                "elimination": {"drop": 0.5, "patience": 9},
            },
        }
    )  # fmt: skip
    names = [f"noise{i}" for i in range(60)]
    steps = select_features(X, names, labels, np.arange(500) % 4, 0, config).steps
    assert steps[-1].features == 1
    assert min(step.loss for step in steps) > 1.0


def test_few_rows_are_enough() -> None:
    """`rows` caps what is looked at, repeatably."""
    assert chosen(rows=2000) == chosen(rows=2000)
    assert chosen(rows=2000).importance != chosen().importance
    assert {"gate"} <= set(chosen(rows=2000).kept)


def test_the_weightiest_hold_the_share() -> None:
    """The fewest from the top whose sum reaches the share; a feature without importance is never kept."""
    importance = np.array([0.125, 0.625, 0.0, 0.25])
    assert weightiest(importance, 0.625).tolist() == [False, True, False, False]
    assert weightiest(importance, 0.63).tolist() == [False, True, False, True]
    assert weightiest(importance, 1.0).tolist() == [True, True, False, True]


def test_shap_values_are_shapleys() -> None:
    """Mean |SHAP| agrees with Shapley's sum over subsets, conditional expectations taken along the trees' covers."""
    rng = np.random.default_rng(7)
    X = np.round(rng.normal(size=(300, 3)), 1)
    y = X[:, 0] * X[:, 1] + X[:, 2]
    parameters = {"objective": "regression", "num_leaves": 6, "min_data_in_leaf": 10, "verbosity": -1, "num_threads": 1}
    booster = lgb.train(parameters, lgb.Dataset(X, y), 5)
    trees = [tree["tree_structure"] for tree in booster.dump_model()["tree_info"]]

    def expectation(node: dict[str, Any], x: np.ndarray, known: tuple[int, ...]) -> float:
        if "leaf_value" in node:
            return float(node["leaf_value"])
        left, right = node["left_child"], node["right_child"]
        if node["split_feature"] in known:
            return expectation(left if x[node["split_feature"]] <= node["threshold"] else right, x, known)
        counts = [side.get("internal_count", side.get("leaf_count")) for side in (left, right)]
        values = [expectation(side, x, known) for side in (left, right)]
        return float((counts[0] * values[0] + counts[1] * values[1]) / sum(counts))

    def shapley(x: np.ndarray, j: int) -> float:
        others = [k for k in range(3) if k != j]
        total = 0.0
        for size in range(3):
            for known in combinations(others, size):
                weight = factorial(size) * factorial(2 - size) / factorial(3)
                gain = sum(expectation(t, x, (*known, j)) - expectation(t, x, known) for t in trees)
                total += weight * gain
        return total

    rows = X[:12]
    expected = [np.mean([abs(shapley(x, j)) for x in rows]) for j in range(3)]
    np.testing.assert_allclose(shap_importance(booster, rows), expected, rtol=1e-6)


def test_without_the_section_there_is_nothing_to_do() -> None:
    """Asking for a selection that is not configured is an error of the caller."""
    config = TrainingConfig.model_validate(
        {"classifier": {"rounds": 9, **SMALL}, "regressors": {"rounds": 9, **SMALL},
         "log_mean": {"rounds": 5, **SMALL}, "multiplier": {"by": "x"}}
    )  # fmt: skip
    X, labels, fold = market()
    with pytest.raises(ValueError, match="with `selection`"):
        select_features(X, NAMES, labels, fold, 0, config)
