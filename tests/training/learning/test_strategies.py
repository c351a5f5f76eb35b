"""Strategies of zero inflation: what each multiplies, learns from, and sums to."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from training.learning.boosting import Matrix, Runtime, raw_matrix
from training.learning.labels import Labels
from training.learning.options import ClassifierConfig, RegressorConfig, Strategy
from training.learning.strategies import ZeroInflated, fit_strategy
from training.publishing.merging import merge

N = 8000
TREES = {"rounds": 50, "leaves": 5, "learning_rate": 0.12, "min_leaf": 40}


def market() -> tuple[np.ndarray, Labels, np.ndarray, np.ndarray]:
    """X, labels, P(buy) by x0 and E[y7 | buy] by x1: a good product of two different things."""
    rng = np.random.default_rng(14)
    X = rng.normal(size=(N, 3))
    p = 1 / (1 + np.exp(1.5 - X[:, 0]))
    mean = np.exp(0.6 * X[:, 1])
    buyer = rng.random(N) < p
    y7 = np.where(buyer, mean * np.exp(0.4 * rng.normal(size=N) - 0.08), 0.0)
    return X, Labels(buyer.astype(float), np.column_stack([0.5 * y7, y7])), p, mean


@pytest.fixture(scope="module")
def fitted() -> dict[str, tuple[ZeroInflated, np.ndarray]]:
    X, labels, _, _ = market()
    matrix, config = Matrix(X, Runtime(0, 1)), RegressorConfig.model_validate({**TREES, "objective": "gamma"})
    found = {}
    for strategy in get_args(Strategy):
        one = fit_strategy(
            strategy, matrix, labels, np.ones(N, dtype=bool), (1, 7), 1, ClassifierConfig.model_validate(TREES), config
        )
        found[strategy] = one, raw_matrix(one.boosters, X, 1)
    return found


@pytest.mark.parametrize("strategy", get_args(Strategy))
def test_every_strategy_sums_to_the_truth(
    fitted: dict[str, tuple[ZeroInflated, np.ndarray]], strategy: Strategy
) -> None:
    """Σ ŷ over all rows is Σ E[y], with the gate's probability beside it."""
    _, _, p, mean = market()
    one, raw = fitted[strategy]
    assert one.predict(raw)[:, 1].sum() / (p * mean).sum() == pytest.approx(1.0, abs=0.06)
    assert one.predict(raw)[:, 0].sum() / (0.5 * p * mean).sum() == pytest.approx(1.0, abs=0.06)
    assert one.p_buyer(raw).sum() / p.sum() == pytest.approx(1.0, abs=0.05)


def test_only_the_gate_tells_buyers_apart_for_regressors_of_buyers(
    fitted: dict[str, tuple[ZeroInflated, np.ndarray]],
) -> None:
    """converting_only follows E[y | buy] and not P(buy); two_stage and direct follow the product."""
    X, _, p, mean = market()
    correlation = {s: np.corrcoef(one.predict(raw)[:, 1], p * mean)[0, 1] for s, (one, raw) in fitted.items()}
    assert correlation["two_stage"] > 0.93
    assert correlation["direct"] > 0.9
    assert correlation["converting_only"] < correlation["direct"] - 0.1
    _, raw = fitted["converting_only"]
    assert abs(np.corrcoef(raw[:, 2], X[:, 0])[0, 1]) < 0.15


def test_the_level_of_all_rows_leaves_the_trees_in_common() -> None:
    """Horizons of buyers' regressors still begin with the anchor's trees, so that a library holds those once."""
    X, labels, _, _ = market()
    trees = ClassifierConfig.model_validate(TREES), RegressorConfig.model_validate({**TREES, "ratio_rounds": 5})
    one = fit_strategy("converting_only", Matrix(X, Runtime(0, 1)), labels, np.ones(N, dtype=bool), (1, 7), 1, *trees)
    _, first, anchor = one.boosters
    assert merge([anchor, first]).shared == anchor.num_trees()


def test_the_arithmetic_of_two_stages_and_of_one() -> None:
    """sigmoid(gate)·e^f against e^f, by hand."""
    raw = np.array([[0.0, np.log(4.0)], [np.log(3.0), np.log(8.0)]])
    np.testing.assert_allclose(ZeroInflated("two_stage", []).predict(raw)[:, 0], [2.0, 6.0])
    np.testing.assert_allclose(ZeroInflated("direct", []).predict(raw)[:, 0], [4.0, 8.0])


def test_rows_out_of_sight_teach_nothing() -> None:
    """Labels of rows that may not be seen change no booster of any strategy."""
    X, labels, _, _ = market()
    seen = np.arange(N) < 4000
    blind = Labels(np.where(seen, labels.buyer, 1.0), np.where(seen[:, None], labels.revenue, 1e6))
    config = ClassifierConfig.model_validate(TREES), RegressorConfig.model_validate(TREES)
    matrix = Matrix(X, Runtime(0, 1))
    for strategy in get_args(Strategy):
        first, second = (
            fit_strategy(strategy, matrix, given, seen, (1, 7), 1, *config).boosters for given in (labels, blind)
        )
        np.testing.assert_array_equal(raw_matrix(first, X, 1), raw_matrix(second, X, 1))
