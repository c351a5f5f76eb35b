"""The entry kernels of the generator against loops in plain Python."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data.synthetic.columns import (
    Vocabulary,
    distinct,
    first_of_row,
    grouped,
    offsets_of,
    per_row,
    pick,
    ragged,
)
from training.data.synthetic.generation import rows_per_hour

PAIRS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 4), st.integers(-50, 50)), max_size=40).map(sorted)


def _arrays(pairs: list[tuple[int, int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    table = np.array(pairs, dtype=np.int64).reshape(-1, 3)
    return table[:, 0].copy(), table[:, 1].copy(), table[:, 2].copy()


@given(PAIRS)
def test_distinct_is_the_sorted_set_of_pairs(pairs: list[tuple[int, int, int]]) -> None:
    """No key stands twice in a row, and none is lost."""
    rows, codes, _ = _arrays(pairs)
    found = distinct(rows, codes, 5)
    assert list(zip(*(a.tolist() for a in found), strict=True)) == sorted({(r, c) for r, c, _ in pairs})


@given(PAIRS, st.sampled_from([np.add, np.maximum, np.minimum]))
def test_grouped_joins_equal_keys(pairs: list[tuple[int, int, int]], how: np.ufunc) -> None:
    """Grouping equals a dictionary of lists, reduced one by one; unknown codes are dropped."""
    rows, codes, values = _arrays(pairs)
    codes = codes - 1
    expected: dict[tuple[int, int], list[int]] = defaultdict(list)
    for row, code, value in zip(rows.tolist(), codes.tolist(), values.tolist(), strict=True):
        if code >= 0:
            expected[row, code].append(value)
    r, c, v = grouped(rows, codes, values, 4, how)
    found = {(a, b): x for a, b, x in zip(r.tolist(), c.tolist(), v.tolist(), strict=True)}
    assert found == {key: int(how.reduce(members)) for key, members in expected.items()}


@given(PAIRS)
def test_per_row_reduces_each_row_and_fills_the_others(pairs: list[tuple[int, int, int]]) -> None:
    """Rows without entries hold the default, others the sum of theirs."""
    rows, _, values = _arrays(pairs)
    sums = per_row(np.add, rows, values, 7, -1.0)
    for row in range(7):
        own = [value for r, _, value in pairs if r == row]
        assert sums[row] == (sum(own) if own else -1.0)


@given(PAIRS, st.integers(0, 2**32))
def test_pick_leaves_no_present_row_empty(pairs: list[tuple[int, int, int]], seed: int) -> None:
    """A present row with entries keeps at least one, an absent row none."""
    rows, _, _ = _arrays(pairs)
    present = np.arange(7) % 2 == 0
    chosen = pick(np.random.default_rng(seed), rows, present, 0.2)
    assert set(rows[chosen].tolist()) == {row for row in rows.tolist() if present[row]}
    assert int(first_of_row(rows).sum()) == len(set(rows.tolist()))


def test_a_ragged_column_tells_absent_from_empty() -> None:
    """Null rows have no entries; some present rows are empty, the others hold what was drawn."""
    rng = np.random.default_rng(5)
    present = np.arange(4000) % 2 == 0
    rows = np.repeat(np.arange(4000), 2)
    column = ragged(rng, present, (rows, rows % 3), Vocabulary(["a", "b", "c"]), rows.astype(np.float64))
    lengths = np.diff(column.offsets)
    assert set(lengths[~present].tolist()) == {0}
    assert 0.01 < float((lengths[present] == 0).mean()) < 0.05
    assert column.values is not None
    assert np.array_equal(column.values, column.rows().astype(np.float64))
    assert np.array_equal(offsets_of(lengths), column.offsets)


@given(st.integers(1, 100_000), st.integers(1, 200))
def test_hours_share_all_rows(rows: int, hours: int) -> None:
    """Every row has its hour, and no hour is far from its share of the traffic."""
    counts = rows_per_hour(rows, hours)
    assert counts.sum() == rows
    assert counts.min() >= 0
    assert len(counts) == hours


def test_the_day_has_a_night() -> None:
    """The mean sine and cosine of the hour are the published ones."""
    counts = rows_per_hour(1_000_000, 24)
    angle = 2 * np.pi * np.arange(24) / 24
    assert np.average(np.sin(angle), weights=counts) == pytest.approx(-0.0496, abs=0.002)
    assert np.average(np.cos(angle), weights=counts) == pytest.approx(-0.0666, abs=0.003)
