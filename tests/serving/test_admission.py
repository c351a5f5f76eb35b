"""Tests of app/serving/admission.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import Overloaded
from app.serving.admission import Admission, deadline_of


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 5))
def test_never_above_the_limit(moves: list[bool], limit: int) -> None:
    """Whoever comes and goes, at most `limit` are inside, and a refused call is not counted."""
    admission, inside = Admission(limit), 0
    for enters in moves:
        if enters and inside == limit:
            with pytest.raises(Overloaded) as refused:
                admission.enter()
            assert refused.value.retry_after_s >= 1
        elif enters:
            admission.enter()
            inside += 1
        elif inside:
            admission.leave()
            inside -= 1
        assert admission.in_flight == inside


def test_a_limit_below_one_is_refused() -> None:
    """A service that takes nothing is a mistake of configuration."""
    with pytest.raises(ValueError, match="max_in_flight"):
        Admission(0)


@pytest.mark.parametrize(
    ("deadline_ms", "tmax_ms", "expected_ms"),
    [
        (None, None, 8),
        (20, None, 20),
        (20, 100, 20),
        (20, 5, 5),
        (None, 5, 5),
        (None, 120, 8),
        (0, 100, 0),
        (None, 0, 8),
        (None, -1, 8),
    ],
)
def test_tmax_only_lowers(deadline_ms: int | None, tmax_ms: int | None, expected_ms: int) -> None:
    """`deadline_ms` counts from receipt and defaults; the auction's `tmax` can only lower it; 0 means not set."""
    assert deadline_of(100.0, deadline_ms, tmax_ms, 8) == 100.0 + expected_ms / 1000
