"""Medians and ratios of interleaved rounds."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.benchmarks.rounds import interleave, percentile, ratio, spread


@given(st.lists(st.floats(-1e9, 1e9), min_size=1), st.floats(0.01, 1.0))
def test_percentile_is_numpys_nearest_rank(values: list[float], share: float) -> None:
    """The percentile is numpy's `inverted_cdf`, a value that was measured."""
    found = percentile(values, share)
    assert found in values
    assert found == np.quantile(values, share, method="inverted_cdf")


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], 0.0), ([1.0], 1.1)])
def test_percentile_refuses_what_has_none(values: list[float], share: float) -> None:
    """Without values, or for a share outside (0, 1], there is no percentile."""
    with pytest.raises(ValueError, match="percentile"):
        percentile(values, share)


@given(st.lists(st.floats(0.1, 100.0), min_size=1, max_size=9), st.floats(0.1, 10.0))
def test_ratio_survives_a_drifting_machine(drift: list[float], factor: float) -> None:
    """A machine that is slower in some rounds changes both candidates of a round and not their ratio."""
    assert ratio([factor * d for d in drift], drift) == pytest.approx(factor)


def test_ratio_refuses_rounds_without_a_pair() -> None:
    """Both candidates were measured in every round, or there is no ratio."""
    with pytest.raises(ValueError, match="longer than"):
        ratio([1.0], [1.0, 2.0])


def test_interleave_measures_each_once_a_round_and_turns() -> None:
    """Each candidate is measured once a round; who comes first changes, so that none always follows the same one."""
    order: list[str] = []

    def measure(name: str) -> int:
        order.append(name)
        return len(order)

    found = interleave({name: partial(measure, name) for name in "abc"}, 3)
    assert order == [*"abc", *"bca", *"cab"]
    assert {name: len(values) for name, values in found.items()} == {"a": 3, "b": 3, "c": 3}


def test_interleave_of_no_round_measures_nothing() -> None:
    """No warm-up is no call."""
    assert interleave({"a": lambda: pytest.fail("was called")}, 0) == {"a": []}


def test_spread_is_one_on_a_calm_machine() -> None:
    """Equal rounds have a spread of one; twice as slow a round, of two."""
    assert spread([3.0, 3.0]) == 1.0
    assert spread([2.0, 4.0, 3.0]) == 2.0
