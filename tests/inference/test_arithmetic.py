"""Python's `math` and numpy's own functions are the oracles of the arithmetic."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from app.inference.arithmetic import exp, expm1, interpolate, log1p, power

ULP = 2.0**-52


def floats(low: float, high: float) -> st.SearchStrategy[np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """Arrays of doubles within."""
    return arrays(np.float64, st.integers(1, 9), elements=st.floats(low, high))


@given(floats(-700.0, 700.0))
def test_exp_is_within_an_ulp_or_so(x: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
    """Against the C library's."""
    assert exp(x).tolist() == pytest.approx([math.exp(v) for v in x], rel=2 * ULP)


def test_exp_ends_at_zero_and_starts_at_one() -> None:
    """Whatever is below the smallest double is 0; e^0 is exactly 1."""
    assert exp(np.array([-1e308, -800.0, -745.2, 0.0, -0.0])).tolist() == [0.0, 0.0, 0.0, 1.0, 1.0]
    assert exp(np.array([-745.0]))[0] == pytest.approx(5e-324, abs=5e-324)


@given(floats(0.0, 1e22))
def test_log1p_keeps_what_is_small(x: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
    """Relative, so that 1e-20 stays 1e-20."""
    assert log1p(x).tolist() == pytest.approx([math.log1p(v) for v in x], rel=4 * ULP)


@given(floats(0.0, 50.0))
def test_expm1_keeps_what_is_small(x: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
    """Relative, too."""
    assert expm1(x).tolist() == pytest.approx([math.expm1(v) for v in x], rel=8 * ULP)


@given(floats(0.0, 1e12), st.floats(0.05, 3.0))
def test_power(x: np.ndarray[tuple[int], np.dtype[np.float64]], exponent: float) -> None:
    """0 to any power is 0, anything to the first is itself, and the rest is `math.pow`'s."""
    expected = [math.pow(v, exponent) for v in x]
    assert power(x, exponent).tolist() == pytest.approx(expected, rel=1e-13, abs=1e-300)
    assert power(x, 1.0) is x


@given(
    arrays(np.float64, st.integers(1, 12), elements=st.floats(-20, 20), unique=True),
    st.integers(0, 2**32 - 1),
    floats(-25.0, 25.0),
)
def test_interpolate(
    knots: np.ndarray[tuple[int], np.dtype[np.float64]],
    seed: int,
    value: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> None:
    """numpy's own, within rounding; a knot gives exactly its value."""
    x = np.sort(np.round(knots, 6))
    x = x[np.concatenate(([True], np.diff(x) > 0))]
    y = np.random.default_rng(seed).normal(size=len(x))
    np.testing.assert_allclose(interpolate(value, x, y), np.interp(value, x, y), rtol=1e-9, atol=1e-9)
    assert interpolate(x, x, y).tolist() == y.tolist()
