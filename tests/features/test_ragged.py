"""Kernels against loops in plain Python."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.features.ragged import MISSING, aggregate, segment_max, segment_min, segment_sum

SEGMENTS = st.lists(st.lists(st.floats(-1e6, 1e6), max_size=20), min_size=1, max_size=12)
ALL = frozenset(("sum", "mean", "max", "min", "std", "entropy", "top_share"))


def _flat(segments: list[list[float]]) -> tuple[np.ndarray, np.ndarray]:
    counts = np.array([len(s) for s in segments], dtype=np.int64)
    return np.array([v for s in segments for v in s], dtype=np.float64), counts


@given(SEGMENTS)
def test_segment_sum_max_min_equal_loops_on_empty_and_full_segments(segments: list[list[float]]) -> None:
    """Each segment's sum, maximum and minimum is its own, empty ones give the stated value."""
    values, counts = _flat(segments)
    assert segment_sum(values, counts) == pytest.approx([math.fsum(s) for s in segments], rel=1e-12, abs=1e-6)
    assert segment_max(values, counts, -1.0).tolist() == [max(s, default=-1.0) for s in segments]
    assert segment_min(values, counts, -1.0).tolist() == [min(s, default=-1.0) for s in segments]


@given(SEGMENTS.filter(lambda s: any(s)))
def test_a_segment_has_the_same_bits_alone_and_in_company(segments: list[list[float]]) -> None:
    """No aggregate depends on what else lies in the batch."""
    full = [s for s in segments if s]
    values, counts = _flat(full)
    together = aggregate(values, counts, ALL)
    for i, segment in enumerate(full):
        alone = aggregate(*_flat([segment]), ALL)
        for name, numbers in alone.items():
            assert numbers.tobytes() == together[name][i : i + 1].tobytes(), name


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=30))
def test_aggregates_equal_their_definitions(segment: list[float]) -> None:
    """Mean, population std, entropy in nats and top share as the docstring defines them."""
    found = {k: v[0] for k, v in aggregate(*_flat([segment]), ALL).items()}
    total, n = math.fsum(segment), len(segment)
    mean = total / n
    assert found["mean"] == pytest.approx(mean, abs=1e-9)
    assert found["std"] == pytest.approx(math.sqrt(sum((v - mean) ** 2 for v in segment) / n), rel=1e-6, abs=1e-6)
    if total <= 0:
        assert math.isnan(found["entropy"])
        assert math.isnan(found["top_share"])
        return
    shares = [v / total for v in segment]
    assert found["entropy"] == pytest.approx(-sum(s * math.log(s) for s in shares if s > 0), abs=1e-9)
    assert found["top_share"] == pytest.approx(max(shares))


def test_missing_has_all_bits_set() -> None:
    """The compiled trees read exactly this NaN as missing."""
    assert np.array([MISSING]).view(np.uint64)[0] == 0xFFFFFFFFFFFFFFFF
