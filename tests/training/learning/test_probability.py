"""Isotonic and beta calibration, against slow loops and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from training.learning.options import CalibrationConfig
from training.learning.probability import Beta, beta_curve, fit_beta, fit_curve, fit_isotonic


def pool_adjacent_violators(p: np.ndarray, buyer: np.ndarray) -> list[float]:
    """Blocks merged until their means rise, a row at a time; rows of one score are one block from the start."""
    blocks: list[list[float]] = []
    for score in sorted(set(p.tolist())):
        own = buyer[p == score]
        blocks.append([float(own.sum()), len(own), 1])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] >= blocks[-1][0] / blocks[-1][1]:
            total, rows, scores = blocks.pop()
            blocks[-1] = [blocks[-1][0] + total, blocks[-1][1] + rows, blocks[-1][2] + scores]
    return [total / rows for total, rows, scores in blocks for _ in range(int(scores))]


@given(st.integers(0, 10_000), st.integers(2, 60))
@settings(max_examples=60, deadline=None)
def test_isotonic_is_the_least_squares_rising_map(seed: int, n: int) -> None:
    """At every row's score the curve gives what pooling adjacent violators gives, floored above 0."""
    rng = np.random.default_rng(seed)
    p = rng.integers(1, 40, size=n) / 41.0
    buyer = (rng.random(n) < p).astype(float)
    curve = fit_isotonic(p, buyer)
    expected = np.maximum(pool_adjacent_violators(p, buyer), 1.0 / (n + 2))
    np.testing.assert_allclose(np.interp(np.unique(p), curve.x, curve.y), expected, atol=1e-9)
    assert (np.diff(curve.x) > 0).all()


def drawn(a: float, b: float, c: float, n: int = 60_000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(9)
    p = 1 / (1 + np.exp(-rng.normal(-2.5, 1.2, size=n)))
    true = Beta(a, b, c).predict(p)
    return p, (rng.random(n) < true).astype(float)


def test_beta_is_the_maximum_likelihood_fit() -> None:
    """Its coefficients are those of scikit-learn's unpenalised logistic regression on log p and -log(1 - p)."""
    p, buyer = drawn(0.8, 1.3, -0.4)
    oracle = LogisticRegression(C=np.inf, tol=1e-9, max_iter=2000)
    oracle.fit(np.column_stack([np.log(p), -np.log1p(-p)]), buyer)
    beta = fit_beta(p, buyer)
    np.testing.assert_allclose([beta.a, beta.b], oracle.coef_[0], atol=5e-3)
    np.testing.assert_allclose(beta.c, oracle.intercept_[0], atol=5e-3)


def test_beta_gives_a_distorted_probability_back() -> None:
    """A moved prior is the constant c alone, and an honest probability is left as it is."""
    p, buyer = drawn(1.0, 1.0, -1.5)
    beta = fit_beta(p, buyer)
    assert beta.c == pytest.approx(-1.5, abs=0.25)
    calibrated = beta.predict(p)
    np.testing.assert_allclose(calibrated.mean(), buyer.mean(), rtol=1e-5)
    np.testing.assert_allclose(calibrated, Beta(1.0, 1.0, -1.5).predict(p), rtol=0.2, atol=1e-3)


def test_a_negative_coefficient_is_dropped() -> None:
    """Where scores say the opposite of the truth, the curve is flat at the rate and not falling."""
    p, buyer = drawn(1.0, 1.0, 0.0, 5000)
    beta = fit_beta(1.0 - p, buyer)
    assert min(beta.a, beta.b) >= 0.0
    curve = beta_curve(beta)
    assert (np.diff(curve.y) >= 0).all()
    np.testing.assert_allclose(np.interp(1.0 - p, curve.x, curve.y).mean(), buyer.mean(), rtol=0.02)


@given(st.floats(0.0, 3.0), st.floats(0.0, 3.0), st.floats(-5.0, 3.0))
@settings(max_examples=50, deadline=None)
def test_the_curve_is_the_beta_map(a: float, b: float, c: float) -> None:
    """Linear interpolation stays within 1 % of a·log p - b·log(1 - p) + c wherever a score can be expected."""
    p = 1 / (1 + np.exp(-np.linspace(-12, 8, 3001)))
    curve = beta_curve(Beta(a, b, c))
    np.testing.assert_allclose(np.interp(p, curve.x, curve.y), Beta(a, b, c).predict(p), rtol=0.01)
    assert (np.diff(curve.x) > 0).all()


@pytest.mark.parametrize("kind", ["binned", "isotonic", "beta"])
def test_every_choice_calibrates(kind: str) -> None:
    """Each kind brings a distorted score to the rate of every fifth of the rows; NaN labels are left out."""
    p, buyer = drawn(0.7, 1.0, 0.5)
    config = CalibrationConfig.model_validate({"probability": kind})
    curve = fit_curve(np.r_[p, 0.5], np.r_[buyer, np.nan], config)
    calibrated = np.interp(p, curve.x, curve.y)
    for rows in np.array_split(np.argsort(p), 5):
        assert calibrated[rows].mean() == pytest.approx(buyer[rows].mean(), rel=0.1, abs=0.004)
