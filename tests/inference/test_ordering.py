"""scikit-learn's isotonic regression is the oracle of the projection."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from app.inference.ordering import FEW, project

DOLLARS = st.floats(-10, 1e6, allow_nan=False, width=64)
WEIGHTS = st.floats(0.01, 100)


@st.composite
def problems(draw: st.DrawFn) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows of one to five horizons with positive weights."""
    n_horizons = draw(st.integers(1, 5))
    values = draw(arrays(np.float64, (draw(st.integers(1, 6)), n_horizons), elements=DOLLARS))
    return values, draw(arrays(np.float64, n_horizons, elements=WEIGHTS))


@given(problems())
def test_is_isotonic_regression_clipped_at_zero(problem: tuple[NDArray[np.float64], NDArray[np.float64]]) -> None:
    """For any number of horizons the result is the weighted least-squares fit."""
    values, weights = problem
    projected, _ = project(values, weights)
    days = np.arange(values.shape[1])
    oracle = [IsotonicRegression().fit(days, row, weights).predict(days) for row in values]
    np.testing.assert_allclose(projected, np.maximum(oracle, 0), rtol=1e-9, atol=1e-9)


@given(problems())
def test_order_is_exact(problem: tuple[NDArray[np.float64], NDArray[np.float64]]) -> None:
    """0 ≤ y_1 ≤ y_2 ≤ … in floating point, without a tolerance."""
    projected, _ = project(*problem)
    assert (projected >= 0).all()
    assert (np.diff(projected, axis=1) >= 0).all()


@given(problems())
def test_ordered_rows_pass_unchanged(problem: tuple[NDArray[np.float64], NDArray[np.float64]]) -> None:
    """An ordered row keeps its bits, whatever rows are beside it; only the others count as corrected."""
    values, weights = problem
    values[0] = np.sort(np.abs(values[0]))
    projected, corrected = project(values, weights)
    assert projected[0].tobytes() == values[0].tobytes()
    assert corrected.tolist() == [bool((np.diff(row) < 0).any()) for row in values]


@given(problems())
def test_a_row_does_not_depend_on_its_batch(problem: tuple[NDArray[np.float64], NDArray[np.float64]]) -> None:
    """Each row alone gives the bits that it gives among others."""
    values, weights = problem
    together, flags = project(values, weights)
    for i, row in enumerate(values):
        alone, flag = project(row[None], weights)
        assert alone[0].tobytes() == together[i].tobytes()
        assert flag[0] == flags[i]


@given(problems(), st.integers(0, 2**32 - 1))
@settings(max_examples=50)
def test_never_raises_the_error_of_an_ordered_truth(
    problem: tuple[NDArray[np.float64], NDArray[np.float64]], seed: int
) -> None:
    """Against any ordered non-negative truth the weighted squared error does not grow, row by row."""
    values, weights = problem
    truth = np.sort(np.random.default_rng(seed).uniform(0, 100, values.shape), axis=1)
    projected, _ = project(values, weights)
    before = (weights * (values - truth) ** 2).sum(axis=1)
    after = (weights * (projected - truth) ** 2).sum(axis=1)
    assert (after <= before * (1 + 1e-9) + 1e-6).all()


@given(problems())
def test_many_rows_equal_few(problem: tuple[NDArray[np.float64], NDArray[np.float64]]) -> None:
    """Whether numpy or Python's floats do the arithmetic, the bits are the same."""
    values, weights = problem
    few, _ = project(values, weights)
    many, _ = project(np.concatenate([values, np.tile(values, (FEW + 1, 1))]), weights)
    assert many[: len(values)].tobytes() == few.tobytes()


def test_three_horizons_by_hand() -> None:
    """The closed form of three horizons: pooled neighbours, then pooled three."""
    values = np.array([[3.0, 1.0, 5.0], [1.0, 4.0, 2.0], [6.0, 3.0, 0.0], [-1.0, 2.0, 3.0]])
    projected, corrected = project(values, np.ones(3))
    assert projected.tolist() == [[2, 2, 5], [1, 3, 3], [3, 3, 3], [0, 2, 3]]
    assert corrected.tolist() == [True, True, True, False]
