"""Increments: order by construction, and each on the rows that are mature for it."""

from __future__ import annotations

import numpy as np
import pytest

from app.errors import DataError
from training.learning.boosting import Matrix, Runtime, raw_matrix, raw_scores
from training.learning.increments import fit_increments
from training.learning.options import RegressorConfig

CONFIG = RegressorConfig(rounds=60, leaves=4, learning_rate=0.1, min_leaf=30, tweedie_power=1.4)
HORIZONS = (1, 7, 14)


def market(n: int = 6000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X, revenue and its mean by horizon: the first day by x0, the week by x1, hardly anything after it."""
    rng = np.random.default_rng(8)
    X = rng.normal(size=(n, 3))
    means = np.column_stack([np.exp(0.5 * X[:, 0]), 2 * np.exp(0.5 * X[:, 1]), np.full(n, 0.2)])
    added = np.where(rng.random((n, 3)) < 0.5, 2 * means * rng.exponential(size=(n, 3)), 0.0)
    return X, np.cumsum(added, axis=1), np.cumsum(means, axis=1)


def test_predictions_are_ordered_and_means() -> None:
    """No row is out of order, each horizon sums to the truth, and the shape is found."""
    X, revenue, means = market()
    everyone = np.ones(len(X), dtype=bool)
    fitted = fit_increments(Matrix(X, Runtime(0, 1)), revenue, everyone, HORIZONS, CONFIG)
    predicted = fitted.predict(raw_matrix(fitted.boosters, X, 1))
    assert (np.diff(predicted, axis=1) > 0).all()
    for h in range(3):
        assert predicted[:, h].sum() / means[:, h].sum() == pytest.approx(1.0, abs=0.06)
        assert np.corrcoef(predicted[:, h], means[:, h])[0, 1] > 0.9
    assert fitted.refunds == (0, 0, 0)


def test_the_sum_is_taken_term_by_term() -> None:
    """predict is e^f0, e^f0 + e^f1, … by a loop."""
    X, revenue, _ = market(500)
    fitted = fit_increments(Matrix(X, Runtime(0, 1)), revenue, np.ones(500, dtype=bool), HORIZONS, CONFIG)
    raw = np.array([[0.1, -0.5, -3.0], [2.0, 1.0, 0.0]])
    expected = [[sum(np.exp(row[: h + 1])) for h in range(3)] for row in raw]
    np.testing.assert_allclose(fitted.predict(raw), expected, rtol=1e-12)


def test_each_increment_learns_from_its_own_mature_rows() -> None:
    """Rows without a mature D14 teach the first two increments all the same, and the third nothing."""
    X, revenue, _ = market(3000)
    late = revenue.copy()
    late[1500:, 2] = np.nan
    everyone, matrix = np.ones(3000, dtype=bool), Matrix(X, Runtime(0, 1))
    whole, cut = (fit_increments(matrix, y, everyone, HORIZONS, CONFIG).boosters for y in (revenue, late))
    early = fit_increments(matrix, revenue, np.arange(3000) < 1500, HORIZONS, CONFIG).boosters
    for h, other in enumerate((whole, whole, early)):
        np.testing.assert_array_equal(raw_scores(cut[h], X, 1), raw_scores(other[h], X, 1))


def test_a_refund_is_no_change_and_counted() -> None:
    """Revenue that falls from one horizon to the next adds nothing."""
    X, revenue, _ = market(800)
    refunded = revenue.copy()
    refunded[:7, 2] = refunded[:7, 1] - 0.01
    level = revenue.copy()
    level[:7, 2] = level[:7, 1]
    everyone, matrix = np.ones(800, dtype=bool), Matrix(X, Runtime(0, 1))
    first, second = (fit_increments(matrix, y, everyone, HORIZONS, CONFIG) for y in (refunded, level))
    assert first.refunds == (0, 0, int((refunded[:, 2] < refunded[:, 1]).sum()))
    np.testing.assert_array_equal(raw_scores(first.boosters[2], X, 1), raw_scores(second.boosters[2], X, 1))


def test_a_horizon_that_adds_nothing_is_named() -> None:
    """One line says which horizon lacks revenue."""
    X, revenue, _ = market(200)
    revenue[:, 1] = revenue[:, 0]
    with pytest.raises(DataError, match=r"^d7: expected revenue beyond the horizon before it, received none$"):
        fit_increments(Matrix(X, Runtime(0, 1)), revenue, np.ones(200, dtype=bool), HORIZONS, CONFIG)
