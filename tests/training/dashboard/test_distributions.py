"""Tests of training.dashboard.distributions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from training.dashboard.distributions import OTHERS, by_group, concentration, histogram, log_edges

AMOUNTS = arrays(np.float64, st.integers(1, 60), elements=st.sampled_from([0.0, 1e-9, 0.003, 0.5, 0.5000001, 3.0, 7e5]))


@given(AMOUNTS)
def test_every_positive_amount_is_in_one_bin(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
    """Counts add up to the rows above zero, shares to their share of all rows, whatever lies at an edge."""
    edges = log_edges(values)
    assert (np.diff(edges) > 0.0).all()
    lines = histogram(values, edges, "day 7")
    positive = sum(1 for value in values.tolist() if value > 0.0)
    assert sum(line["rows"] for line in lines) == positive
    assert sum(line["share"] for line in lines) == pytest.approx(positive / len(values))


def test_bins_are_equally_wide_in_the_logarithm() -> None:
    """Each edge is the one before it times the same factor."""
    edges = log_edges(np.array([0.01, 100.0]), bins=4)
    np.testing.assert_allclose(edges, [0.01, 0.1, 1.0, 10.0, 100.0])


def test_groups_are_the_largest_and_the_rest() -> None:
    """Quantiles of the named groups and of all others together, the highest mean first."""
    values = np.array([1.0, 2.0, 3.0, 10.0, 20.0, 5.0, 7.0])
    lines = by_group(values, ["a", "a", "a", "b", "b", "c", "d"], 2)
    assert [(line["group"], line["rows"], line["mean"]) for line in lines] == [
        ("b", 2, 15.0),
        (OTHERS, 2, 6.0),
        ("a", 3, 2.0),
    ]
    assert (lines[2]["q50"], lines[2]["q90"]) == (2.0, pytest.approx(2.8))
    assert OTHERS not in [line["group"] for line in by_group(values, ["a"] * 7, 2)]


def test_the_dearest_rows_hold_the_most() -> None:
    """Shares are of the sum, dearest rows first; all equal ones hold just their share."""
    spread = concentration(np.array([*np.zeros(90), *np.full(9, 1.0), 91.0]))
    assert [(line["rows"], line["share"]) for line in spread] == [
        (0.01, pytest.approx(0.91)), (0.05, pytest.approx(0.95)), (0.1, 1.0), (0.25, 1.0), (0.5, 1.0),
    ]  # fmt: skip
    assert [line["share"] for line in concentration(np.full(100, 3.0))] == pytest.approx([0.01, 0.05, 0.1, 0.25, 0.5])
    assert concentration(np.zeros(5))[0]["share"] == 0.0
