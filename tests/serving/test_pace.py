"""Tests of app/serving/pace.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.serving.pace import Pace


def learnt(n: int, seconds: float, times: int = 200) -> Pace:
    """After so many flushes of one size."""
    pace = Pace()
    for _ in range(times):
        pace.took(n, seconds)
    return pace


@given(st.integers(1, 256), st.floats(1e-6, 1e-2))
def test_what_was_seen_is_expected(n: int, each_s: float) -> None:
    """Whatever the size: the estimate goes to the time itself."""
    assert learnt(n, n * each_s).expected_s(n) == pytest.approx(n * each_s, rel=1e-3)


def test_sizes_are_told_apart() -> None:
    """Alone a request costs more than joined, and neither tells of the other; a size not seen is taken for the next
    smaller one, and what is larger than all costs a request as much as the largest."""
    pace = learnt(1, 300e-6)
    assert pace.expected_s(40) == pytest.approx(40 * 300e-6, rel=1e-3)
    for _ in range(200):
        pace.took(40, 40 * 50e-6)
    assert pace.expected_s(1) == pytest.approx(300e-6, rel=1e-3)
    assert pace.expected_s(63) == pytest.approx(63 * 50e-6, rel=1e-3)
    assert pace.expected_s(10) == pytest.approx(10 * 300e-6, rel=1e-3)
    for _ in range(200):
        pace.took(64, 64 * 20e-6)
    assert pace.expected_s(256) == pytest.approx(256 * 20e-6, rel=1e-3)


def test_one_pause_is_no_price() -> None:
    """A flush that takes a hundred times as long moves the estimate by a tenth."""
    pace = learnt(8, 1e-3)
    pace.took(8, 0.1)
    assert pace.expected_s(8) == pytest.approx(1.1e-3, rel=1e-2)


def test_what_is_never_tried_gets_cheaper() -> None:
    """So that a spell of slowness ends."""
    pace = learnt(8, 1.0)
    for _ in range(100):
        pace.relent(8)
    assert pace.expected_s(8) < 1e-3
