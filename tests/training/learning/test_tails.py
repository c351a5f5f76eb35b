"""Tail smoothing: sums that settle."""

from __future__ import annotations

import numpy as np
import pytest

from training.learning.tails import FEWEST, tail_smoothed


def test_smoothing_keeps_the_mean_and_loses_variance() -> None:
    """Over draws of a log-normal with log-sd 2 the smoothed mean is unbiased and varies less than the plain one."""
    rng = np.random.default_rng(1)
    y_hat = np.full(3000, 5.0)
    draws = [y_hat * np.exp(2.0 * rng.normal(size=3000) - 2.0) for _ in range(120)]
    plain = np.array([y.mean() for y in draws]) / 5.0
    smooth = np.array([tail_smoothed(y, y_hat).mean() for y in draws]) / 5.0
    assert np.median(smooth) == pytest.approx(1.0, abs=0.04)
    assert smooth.std() < plain.std()


@pytest.mark.parametrize(("payers", "changed"), [(1400, 70), (4000, 100), (20_000, 400)])
def test_only_the_largest_residuals_change(payers: int, changed: int) -> None:
    """Non-payers, immature rows and 95 to 98 % of the payers, the more the more there are, keep what they have."""
    rng = np.random.default_rng(2)
    y = np.exp(rng.normal(size=payers + 600))
    y[:500], y[500:600] = 0.0, np.nan
    smooth = tail_smoothed(y, np.ones(len(y)))
    same = np.isclose(smooth, y) | (np.isnan(smooth) & np.isnan(y))
    assert (~same).sum() == pytest.approx(changed, abs=2)
    assert np.nanmin(y[~same]) > np.nanquantile(y[y > 0], 1.0 - changed / payers - 0.01)


def test_a_few_payers_are_left_alone() -> None:
    """Below `FEWEST` payers there is no tail to fit."""
    y = np.exp(np.random.default_rng(3).normal(size=FEWEST - 1))
    np.testing.assert_array_equal(tail_smoothed(y, np.ones(len(y))), y)
