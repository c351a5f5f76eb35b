"""Calibration curves: monotone, honest, and deaf to noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.learning.calibration import (
    binned_ratio,
    expected_revenue,
    fit_log_mean,
    fit_ltv,
    fit_probability,
    fit_states,
    projection_weights,
    shrunk_ratio,
)
from training.learning.options import CalibrationConfig

CONFIG = CalibrationConfig()


def test_probability_is_given_back() -> None:
    """A distorted probability comes out calibrated in every tenth of the rows."""
    rng = np.random.default_rng(0)
    true = np.exp(rng.normal(-3.0, 0.8, size=200_000)).clip(0, 0.9)
    given_p = true**0.8
    curve = fit_probability(given_p, (rng.random(len(true)) < true).astype(float), CONFIG)
    calibrated = np.interp(given_p, curve.x, curve.y)
    for rows in np.array_split(np.argsort(true), 10)[1:]:
        assert calibrated[rows].mean() == pytest.approx(true[rows].mean(), rel=0.12)
    assert calibrated.mean() == pytest.approx(true.mean(), rel=0.02)


@given(st.integers(0, 10_000), st.integers(60, 3000))
@settings(max_examples=40, deadline=None)
def test_curves_rise_whatever_the_data(seed: int, n: int) -> None:
    """Probability, log-mean and calibrated dollars never fall with the score."""
    rng = np.random.default_rng(seed)
    p = rng.random(n)
    buyer = (rng.random(n) < 0.3).astype(float)
    config = CalibrationConfig(max_knots=24, min_events=5)
    for curve in (fit_probability(p, buyer, config), fit_log_mean(4 * p, rng.exponential(size=n) * buyer, config)):
        assert (np.diff(curve.x) > 0).all()
        assert (np.diff(curve.y) >= 0).all()
    ltv = np.exp(4 * p - 2)
    curve = fit_ltv(ltv, rng.exponential(size=n) * buyer * 9, buyer > 0, config)
    grid = np.exp(np.linspace(-4, 4, 2000))
    assert (np.diff(grid * np.interp(np.log1p(grid), curve.x, curve.y)) >= 0).all()


def test_the_calibrated_sum_is_the_observed_one() -> None:
    """The factor curve gives back Σ target."""
    rng = np.random.default_rng(1)
    ltv = rng.exponential(size=20_000)
    target = np.where(rng.random(20_000) < 0.2, 7.0 * ltv, 0.0)
    curve = fit_ltv(ltv, target, target > 0, CONFIG)
    assert (ltv * np.interp(np.log1p(ltv), curve.x, curve.y)).sum() == pytest.approx(target.sum(), rel=1e-9)


def test_bins_that_differ_by_noise_share_one_ratio() -> None:
    """Where the true ratio is the same everywhere, the spread of the knots is well below the bins' noise."""
    rng = np.random.default_rng(2)
    p = rng.uniform(0.01, 0.1, size=50_000)
    event = rng.random(50_000) < p
    bins = binned_ratio(p, p, event.astype(float), event, CONFIG)
    assert len(bins.score) > 10
    assert bins.ratio.std() < 0.5 / np.sqrt(event.sum() / len(bins.score))


def test_a_clear_change_is_followed_and_noise_is_not() -> None:
    """`shrunk_ratio` keeps most of a change of many standard errors and drops one within them."""
    rng = np.random.default_rng(3)
    p = np.full(100_000, 0.05)
    assert shrunk_ratio(p, (rng.random(100_000) < 0.06).astype(float)) == pytest.approx(1.2, abs=0.04)
    assert shrunk_ratio(p[:400], np.r_[np.ones(21), np.zeros(379)]) == 1.0
    assert shrunk_ratio(np.empty(0), np.empty(0)) == 1.0


def test_expected_revenue_keeps_the_sum_in_expectation() -> None:
    """Over draws, the sum that calibration sees is unbiased and varies less than realised revenue."""
    rng = np.random.default_rng(4)
    size = np.exp(rng.normal(size=20_000))
    state = np.zeros(20_000, dtype=np.int64)
    plain, smooth = [], []
    for _ in range(40):
        paid = rng.random(20_000) < 0.1
        y = np.where(paid, 3.0 * size * np.exp(1.2 * rng.normal(size=20_000) - 0.72), 0.0)
        plain.append(y.sum() / (3.0 * size[paid]).sum())
        smooth.append(expected_revenue(y, size, state, CONFIG).sum() / (3.0 * size[paid]).sum())
    assert np.mean(smooth) == pytest.approx(1.0, abs=0.03)
    assert np.std(smooth) < 0.95 * np.std(plain)


def test_states_without_rows_and_immature_rows_change_nothing() -> None:
    """A state that nobody is in has factor 1; NaN targets are left out."""
    ltv = np.full((2, 1000), 2.0)
    target = np.full((2, 1000), 2.0)
    target[:, 500:] = np.nan
    state = (np.arange(1000) % 2).astype(np.int64)
    np.testing.assert_array_equal(fit_states(ltv, target, state, 4), np.ones((4, 2)))


def test_projection_trusts_the_horizon_with_the_smaller_error() -> None:
    """Weights are inverse to the error's variance and average 1."""
    ltv = np.zeros((2, 4))
    weights = projection_weights(ltv, np.array([[1.0, -1.0, 1.0, -1.0], [2.0, -2.0, np.nan, 2.0]]))
    assert weights[0] / weights[1] == pytest.approx(4.0)
    assert weights.mean() == pytest.approx(1.0)
