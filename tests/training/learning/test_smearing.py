"""Duan's smearing: least squares on logs as a mean."""

from __future__ import annotations

import numpy as np
import pytest

from training.learning.boosting import Matrix, Runtime, raw_scores
from training.learning.options import BoosterConfig
from training.learning.smearing import Smeared, fit_smeared

TREES = BoosterConfig(rounds=50, leaves=4, learning_rate=0.12, min_leaf=40)


@pytest.mark.parametrize("noise", ["normal", "two points"])
def test_the_mean_comes_back_whatever_the_residuals(noise: str) -> None:
    """Σŷ is Σ E[y] for normal residuals and for ones with two values, where exp(μ) - 1 is far below it."""
    rng = np.random.default_rng(21)
    X = rng.normal(size=(6000, 2))
    residual = rng.normal(size=6000) if noise == "normal" else np.where(rng.random(6000) < 0.1, 3.0, -1 / 3)
    factor = np.exp(0.5) if noise == "normal" else 0.1 * np.exp(3.0) + 0.9 * np.exp(-1 / 3)
    mu = 3.0 + 0.5 * X[:, 0]
    fitted = fit_smeared(Matrix(X, Runtime(0, 1)), np.expm1(np.maximum(mu + residual, 0.0)), np.ones(6000, bool), TREES)
    predicted = fitted.predict(raw_scores(fitted.booster, X, 1))
    expected = factor * np.exp(mu) - 1.0
    assert predicted.sum() / expected.sum() == pytest.approx(1.0, abs=0.06)
    assert (predicted + 1.0).sum() / fitted.smearing < 0.75 * expected.sum()
    assert fitted.smearing == pytest.approx(factor, rel=0.06)


def test_smearing_is_the_mean_of_exponentiated_residuals() -> None:
    """Without a split to make, μ is the mean log and S·e^μ - 1 the plain mean."""
    y = np.array([0.0, 1.0, 5.0, 60.0] * 10)
    fitted = fit_smeared(Matrix(np.zeros((40, 1)), Runtime(0, 1)), y, np.ones(40, dtype=bool), TREES)
    z = np.log1p(y)
    assert fitted.smearing == pytest.approx(np.exp(z - z.mean()).mean(), rel=1e-6)
    predicted = fitted.predict(raw_scores(fitted.booster, np.zeros((1, 1)), 1))
    assert predicted[0] == pytest.approx(y.mean(), rel=1e-6)


def test_a_prediction_is_not_negative() -> None:
    """max(e^f - 1, 0)."""
    X = np.zeros((40, 1))
    booster = fit_smeared(Matrix(X, Runtime(0, 1)), np.ones(40), np.ones(40, dtype=bool), TREES).booster
    np.testing.assert_allclose(Smeared(booster, 1.0).predict(np.array([-3.0, np.log(5.0)])), [0.0, 4.0])
