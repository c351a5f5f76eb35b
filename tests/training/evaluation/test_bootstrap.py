"""Tests of training.evaluation.bootstrap."""

from __future__ import annotations

import numpy as np
import pytest

from training.evaluation.bootstrap import Estimate, estimate, paired_difference, poisson_weights
from training.evaluation.ranking import Floats


def test_weights_are_poisson_and_seeded() -> None:
    """Weights have mean and variance one, and a seed draws the same ones again."""
    weights = poisson_weights(20_000, 5, seed=3)
    assert weights.dtype == np.uint8
    assert weights.mean() == pytest.approx(1.0, abs=0.02)
    assert weights.var() == pytest.approx(1.0, abs=0.03)
    np.testing.assert_array_equal(weights, poisson_weights(20_000, 5, seed=3))
    assert (weights[0] != poisson_weights(20_000, 5, seed=4)[0]).any()


def test_the_interval_of_a_mean_is_the_normal_one() -> None:
    """For a mean, the interval is close to ±1.96 standard errors."""
    x = np.random.default_rng(0).normal(10.0, 2.0, 2000)
    weights = poisson_weights(2000, 2000, seed=1)
    one = estimate(lambda w: {"mean": float(w @ x / w.sum())}, weights)["mean"]
    low, high = one.interval()
    half = 1.96 * x.std() / 2000**0.5
    assert one.value == pytest.approx(x.mean())
    assert (low, high) == pytest.approx((x.mean() - half, x.mean() + half), abs=0.15 * half)


def test_intervals_cover() -> None:
    """About 95 of 100 intervals of a ratio hold the truth."""
    generator, held = np.random.default_rng(5), 0
    for draw in range(200):
        x = generator.exponential(2.0, 300)

        def statistic(w: Floats, x: Floats = x) -> dict[str, float]:
            return {"mean": float(w @ x / w.sum())}

        low, high = estimate(statistic, poisson_weights(300, 200, seed=draw))["mean"].interval()
        held += low <= 2.0 <= high
    assert 178 <= held <= 199


def test_a_pair_cancels_shared_noise() -> None:
    """Two predictors that share their noise differ by an interval far narrower than their own."""
    shared = np.random.default_rng(2).lognormal(0.0, 2.0, 1000)
    weights = poisson_weights(1000, 200, seed=0)
    both = estimate(lambda w: {"a": float(w @ (shared + 0.1) / w.sum()), "b": float(w @ shared / w.sum())}, weights)
    difference = paired_difference(both["a"], both["b"])
    assert difference.value == pytest.approx(0.1)
    low, high = difference.interval()
    assert 0.0 < low <= high < 0.2
    assert high - low < 0.01 * np.subtract(*both["a"].interval()[::-1])


def test_folded_noise_is_taken_out() -> None:
    """Replicates that lie above their value, as an ECE's do, are moved onto it; no bound falls below zero."""
    low, high = Estimate(0.01, np.linspace(0.02, 0.06, 101)).interval()
    assert low == 0.0
    assert 0.01 < high < 0.03


def test_undefined_figures_are_null() -> None:
    """A figure that is NaN, or has no finite replicate, is None in JSON; NaN replicates are left out."""
    nan = float("nan")
    assert Estimate(nan, np.array([nan])).to_json() == {"value": None, "low": None, "high": None}
    assert Estimate(1.0, np.array([nan, 1.0, 1.0])).interval() == (1.0, 1.0)
