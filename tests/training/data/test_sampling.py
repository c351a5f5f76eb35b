"""Sampling: what is read of the partitions, and that a draw is the same however it is cut into pieces."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data.dataset import Partition
from training.data.masking import draw_mask
from training.data.sampling import pieces, spread


def hours(n: int, rows: int = 1000) -> list[Partition]:
    return [Partition(f"h{i:03d}", 3600 * i, (), rows) for i in range(n)]


@given(n=st.integers(3, 300), most=st.integers(3, 300))
def test_partitions_are_spread_evenly_over_time(n: int, most: int) -> None:
    """As many as there may be, the first and the last among them, in time, no gap more than one above another."""
    found = [p.now // 3600 for p in spread(hours(n), most)]
    assert len(found) == min(n, most)
    assert (found[0], found[-1]) == (0, n - 1)
    gaps = np.diff(found)
    assert gaps.min() >= 1
    assert gaps.max() - gaps.min() <= 1


def test_all_partitions_are_read_unless_told_otherwise() -> None:
    """No limit, no loss."""
    assert spread(hours(7), None) == tuple(hours(7))


def test_pieces_follow_one_another_and_empty_ones_are_left_out() -> None:
    """A piece starts where the rows before it end; an hour without rows makes none."""
    parts = [*hours(2), Partition("empty", 7200, (), 0), Partition("last", 10800, (), 10)]
    found = pieces(parts, 1.0, 0)
    assert [(p.partition.name, p.start, p.rows) for p in found] == [
        ("h000", 0, 1000),
        ("h001", 1000, 1000),
        ("last", 2000, 10),
    ]


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_a_share_is_drawn_from_every_hour_anew(share: float) -> None:
    """About the share of the rows, other rows in each hour, the same for the same seed, others for another."""
    found = pieces(hours(20), share, 3)
    assert [p.start for p in found] == np.cumsum([0, *(p.rows for p in found[:-1])]).tolist()
    assert np.mean([p.rows for p in found]) == pytest.approx(1000 * share, rel=0.05)
    assert not np.array_equal(found[0].drawn(), found[1].drawn())
    np.testing.assert_array_equal(found[5].drawn(), pieces(hours(6)[5:], share, 3)[0].drawn())
    assert not np.array_equal(found[0].drawn(), pieces(hours(1), share, 4)[0].drawn())


@given(cut=st.integers(0, 200), seed=st.integers(0, 2**32))
def test_a_mask_in_pieces_is_the_mask_of_all(cut: int, seed: int) -> None:
    """The draw from a row on is the rest of one draw of all rows."""
    rows, states = draw_mask(200, 0.3, seed)
    parts = draw_mask(cut, 0.3, seed), draw_mask(200 - cut, 0.3, seed, start=cut)
    np.testing.assert_array_equal(np.concatenate([parts[0][0], parts[1][0]]), rows)
    np.testing.assert_array_equal(np.concatenate([parts[0][1], parts[1][1]]), states)
