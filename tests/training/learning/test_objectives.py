"""Objectives: derivatives against finite differences, and boosters that find what each loss is least at."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.learning.boosting import Matrix, Runtime, raw_scores
from training.learning.joint import fit_order_penalised
from training.learning.objectives import (
    HuberLog,
    Objective,
    SquaredLogError,
    fit_custom,
    order_curvature,
    order_gradient,
    order_hessian,
    order_penalty,
)
from training.learning.options import BoosterConfig, RegressorConfig

OBJECTIVES = [SquaredLogError(), HuberLog(0.7), HuberLog(3.0)]
STEP = 1e-5


def central(function: Callable[[np.ndarray], np.ndarray], f: np.ndarray) -> np.ndarray:
    return np.asarray((function(f + STEP) - function(f - STEP)) / (2 * STEP))


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
@given(f=st.floats(-8, 8), y=st.floats(0, 1e4))
def test_derivatives_are_those_of_the_loss(objective: Objective, f: float, y: float) -> None:
    """Gradient and Hessian agree with central differences of the loss and of the gradient."""
    score, revenue = np.array([f]), np.array([y])
    slope = central(lambda s: objective.loss(s, revenue), score)
    np.testing.assert_allclose(objective.gradient(score, revenue), slope, rtol=1e-5, atol=1e-7)
    bend = central(lambda s: objective.gradient(s, revenue), score)
    np.testing.assert_allclose(objective.hessian(score, revenue), bend, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
@given(f=st.floats(-30, 30), y=st.floats(0, 1e6))
def test_curvature_is_positive_and_not_below_the_hessian(objective: Objective, f: float, y: float) -> None:
    """A Newton step is finite and never longer than the exact one."""
    score, revenue = np.array([f]), np.array([y])
    curvature = objective.curvature(score, revenue)[0]
    assert curvature > 0
    assert curvature >= objective.hessian(score, revenue)[0] - 1e-12


def test_msle_is_the_half_squared_error_of_logs() -> None:
    """The loss is ½ (log1p ŷ - log1p y)² and the pseudo-Huber loss nears it for a large δ."""
    f, y = np.array([-1.0, 0.0, 2.0]), np.array([0.0, 3.0, 50.0])
    expected = 0.5 * (np.log1p(np.exp(f)) - np.log1p(y)) ** 2
    np.testing.assert_allclose(SquaredLogError().loss(f, y), expected)
    np.testing.assert_allclose(HuberLog(1e4).loss(f, y), expected, rtol=1e-6)


@given(st.lists(st.floats(-4, 4), min_size=4, max_size=4), st.floats(0.1, 100))
def test_the_order_penalty_and_its_derivatives(scores: list[float], scale: float) -> None:
    """Σ max(0, ŷ_h - ŷ_{h+1}) by a loop; gradient and diagonal by finite differences, away from the kinks."""
    f = np.array([scores])
    y_hat = [float(np.exp(s)) for s in scores]
    expected = sum(max(0.0, a - b) for a, b in pairwise(y_hat)) / scale
    assert order_penalty(f, scale)[0] == pytest.approx(expected, rel=1e-12, abs=1e-300)
    if min(abs(a - b) for a, b in pairwise(scores)) < 1e-3:
        return
    for h in range(4):
        moved = np.eye(4)[h]
        slope = central(lambda s, m=moved: order_penalty(f + s * m, scale), np.zeros((1, 1)))  # type: ignore[misc]
        np.testing.assert_allclose(order_gradient(f, scale)[0, h], slope[0], rtol=1e-5, atol=1e-7)
        bend = central(lambda s, m=moved, h=h: order_gradient(f + s * m, scale)[:, h], np.zeros((1, 1)))  # type: ignore[misc]
        np.testing.assert_allclose(order_hessian(f, scale)[0, h], bend[0], rtol=1e-5, atol=1e-7)
    assert (order_curvature(f, scale) >= 0).all()


def market(n: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    """X, and revenue whose log1p is normal around a step of x0; one payer in a hundred is a whale of ×1000."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(n, 2))
    z = 2.0 + np.where(X[:, 0] > 0, 1.0, 0.0) + 0.3 * rng.normal(size=n)
    return X, np.expm1(np.maximum(z + np.where(np.arange(n) % 100 == 0, np.log(1000.0), 0.0), 0.0))


TREES = BoosterConfig(rounds=60, leaves=4, learning_rate=0.15, min_leaf=20)


def test_a_custom_booster_finds_the_mean_log() -> None:
    """MSLE's score is the score of the mean log1p, the start being part of the booster."""
    X, y = market()
    everyone = np.ones(len(X), dtype=bool)
    booster = fit_custom(Matrix(X, Runtime(0, 1)), SquaredLogError(), y, everyone, TREES)
    z = np.log1p(np.exp(raw_scores(booster, X, 1)))
    for side in (X[:, 0] > 0.1, X[:, 0] < -0.1):
        assert z[side].mean() == pytest.approx(np.log1p(y[side]).mean(), abs=0.03)


@given(st.lists(st.tuples(st.floats(0.05, 1e4), st.integers(1, 4)), min_size=1, max_size=12))
def test_boosting_starts_from_the_best_constant(rows: list[tuple[float, int]]) -> None:
    """MSLE starts at the weighted mean log1p; Huber's start is a median: at most half of the weight on either side."""
    y, w = (np.array(v, dtype=float) for v in zip(*rows, strict=True))
    z = np.log1p(np.exp(SquaredLogError().start(y, w)))
    assert z == pytest.approx(sum(np.log1p(a) * b for a, b in rows) / sum(b for _, b in rows), rel=1e-6)
    median = np.expm1(np.log1p(np.exp(HuberLog().start(y, w))))
    assert w[y < median * (1 - 1e-9)].sum() <= w.sum() / 2
    assert w[y > median * (1 + 1e-9)].sum() <= w.sum() / 2


def test_huber_is_deaf_to_whales() -> None:
    """Its score lies at the bulk, where that of MSLE is pulled up."""
    X, y = market()
    everyone = np.ones(len(X), dtype=bool)
    matrix = Matrix(X, Runtime(0, 1))
    right = X[:, 0] > 0.1
    found = {}
    for name, objective in (("msle", SquaredLogError()), ("huber", HuberLog(0.3))):
        score = raw_scores(fit_custom(matrix, objective, y, everyone, TREES), X, 1)
        found[name] = np.log1p(np.exp(score[right])).mean()
    assert found["huber"] == pytest.approx(3.0, abs=0.04)
    assert found["msle"] > found["huber"] + 0.03


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_a_weight_counts_as_so_many_rows(objective: Objective) -> None:
    """Weights of 1 and 3 give the booster of the data set in which those rows stand once and three times."""
    X, y = market(600)
    X = np.round(2 * X) / 2  # few values, so that both data sets have the same bins
    weight = np.where(y > np.median(y), 3.0, 1.0)
    repeated = np.repeat(np.arange(600), weight.astype(int))
    trees = BoosterConfig(rounds=15, leaves=3, learning_rate=0.3, min_leaf=1, l2=0.0)
    one = fit_custom(Matrix(X, Runtime(0, 1)), objective, y, np.ones(600, dtype=bool), trees, weight)
    other_matrix = Matrix(X[repeated], Runtime(0, 1))
    other = fit_custom(other_matrix, objective, y[repeated], np.ones(len(repeated), dtype=bool), trees)
    first, second = raw_scores(one, X, 1), raw_scores(other, X, 1)
    # LightGBM counts a leaf's rows by their curvature, so a few splits of equal worth fall out differently.
    assert np.corrcoef(first, second)[0, 1] > 0.97
    assert first.mean() == pytest.approx(second.mean(), abs=0.02)
    plain = raw_scores(fit_custom(Matrix(X, Runtime(0, 1)), objective, y, np.ones(600, dtype=bool), trees), X, 1)
    assert first.mean() > plain.mean() + 0.1


def horizons(n: int = 2500) -> tuple[np.ndarray, np.ndarray]:
    """Revenue of two horizons that are noisy copies of one number: their separate fits cross again and again."""
    rng = np.random.default_rng(4)
    X = rng.normal(size=(n, 6))
    level = np.exp(1.0 + X[:, 0])
    first = level * np.exp(0.8 * rng.normal(size=n))
    return X, np.column_stack([first, level * np.exp(0.8 * rng.normal(size=n))])


def test_the_order_penalty_makes_disorder_rare() -> None:
    """With a large λ fewer rows are out of order, and by less, than with hardly any; the fit stays a fit."""
    X, revenue = horizons()
    matrix, everyone = Matrix(X, Runtime(0, 1)), np.ones(len(X), dtype=bool)
    disorder = []
    for order_weight in (1e-6, 3.0):
        config = RegressorConfig(**TREES.model_dump(), objective="order_penalised", order_weight=order_weight)
        boosters = fit_order_penalised(matrix, revenue, everyone, config)
        f = np.column_stack([raw_scores(b, X, 1) for b in boosters])
        disorder.append(order_penalty(f, 1.0).mean())
        assert np.corrcoef(f[:, 0], X[:, 0])[0, 1] > 0.9
    assert disorder[1] < 0.2 * disorder[0]


def test_without_a_penalty_joint_boosting_is_each_horizon_alone() -> None:
    """λ → 0 gives the boosters that each horizon's MSLE gives by itself; immature rows are left out of its loss."""
    X, revenue = horizons(800)
    revenue[600:, 1] = np.nan
    config = RegressorConfig(**TREES.model_dump(), objective="order_penalised", order_weight=1e-12)
    matrix, everyone = Matrix(X, Runtime(0, 1)), np.ones(800, dtype=bool)
    joint = fit_order_penalised(matrix, revenue, everyone, config)
    alone = fit_custom(matrix, SquaredLogError(), revenue[:, 0], everyone, config)
    np.testing.assert_allclose(raw_scores(joint[0], X, 1), raw_scores(alone, X, 1), atol=1e-4)
    mature = np.arange(800) < 600
    second = raw_scores(joint[1], X, 1)[mature]
    assert np.log1p(np.exp(second)).mean() == pytest.approx(np.log1p(revenue[mature, 1]).mean(), abs=0.05)
