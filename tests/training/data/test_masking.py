from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.features.columns import Columns, Texts
from app.features.spec import HistoryState
from tests.training.data.oracle import LAYOUT, NOW, Row, expected, same, unpacked
from tests.training.data.rows import PLAIN, ROWS, table
from training.data.assembly import read_columns
from training.data.masking import draw_mask, mask_history, take

USER = {f.name for f in LAYOUT.declaration.scope("user")}
EMPTY = dict.fromkeys(PLAIN)


def user_major(columns: Columns) -> Columns:
    """The same batch with its values user by user, moved one at a time."""
    moved = [
        value
        for row in unpacked(columns)
        for segment in LAYOUT.segments[: LAYOUT.n_numeric]
        for value in row[segment.field.name, segment.inner] or []
    ]
    return replace(columns, values=np.array(moved, dtype=np.float64), segment_major=False)


@st.composite
def batches(draw: st.DrawFn) -> tuple[list[dict[str, Any]], Columns]:
    rows = draw(st.lists(ROWS, min_size=1, max_size=6))
    columns = read_columns(table(rows, PLAIN), LAYOUT, NOW)
    return rows, columns if draw(st.booleans()) else user_major(columns)


@settings(max_examples=100, deadline=None)
@given(batch=batches(), data=st.data())
def test_a_masked_row_is_a_request_without_history(
    batch: tuple[list[dict[str, Any]], Columns], data: st.DataObject
) -> None:
    """Masked rows equal raw rows whose user block is null, but for the state; the others keep every bit."""
    raw, columns = batch
    hidden = data.draw(st.lists(st.booleans(), min_size=len(raw), max_size=len(raw)))
    states = data.draw(st.lists(st.sampled_from([2, 3]), min_size=len(raw), max_size=len(raw)))
    masked = mask_history(columns, LAYOUT, np.array(hidden), np.array(states))
    assert same(unpacked(masked), [_masked(r, h, s) for r, h, s in zip(raw, hidden, states, strict=True)])


def _masked(row: dict[str, Any], hidden: bool, state: int) -> Row:
    if not hidden:
        return expected(row)
    return {**expected({k: None if k in USER else v for k, v in row.items()}), "state": state}


def test_the_original_is_left_alone() -> None:
    """Masking makes a new batch: the one it came from can be masked again."""
    columns = read_columns(table([{**EMPTY, "ratio": 1.0, "spend": [("a", 1.0)]}], PLAIN), LAYOUT, NOW)
    before = unpacked(columns)
    mask_history(columns, LAYOUT, np.array([True]), np.array([2]))
    assert same(unpacked(columns), before)


def test_texts_without_a_missing_entry_get_one() -> None:
    """A batch assembled from requests may hold no missing text; masking adds the entry."""
    columns = read_columns(table([{**EMPTY, "country": "x", "last_action": "y"}] * 2, PLAIN), LAYOUT, NOW)
    texts = Texts(["x", "y"], [0, 1, 2], np.array([[0, 1], [0, 1]]))
    masked = mask_history(replace(columns, texts=texts), LAYOUT, np.array([False, True]), np.array([2, 2]))
    assert [(r["country"], r["last_action"]) for r in unpacked(masked)] == [("x", "y"), ("x", None)]


def test_every_campaign_of_a_masked_user_loses_its_lookups() -> None:
    """The mask is a user's: all rows of the request follow it."""
    columns = read_columns(table([{**EMPTY, "bundle": "a", "spend": [("a", 1.0)]}] * 2, PLAIN), LAYOUT, NOW)
    twice = replace(columns, owner=np.array([0, 1, 1]), row_lookups=columns.row_lookups[[0, 1, 1]])
    masked = mask_history(twice, LAYOUT, np.array([False, True]), np.array([2, 2]))
    np.testing.assert_array_equal(masked.row_lookups[:, 0], [1.0, np.nan, np.nan])


@settings(max_examples=100, deadline=None)
@given(batch=batches(), data=st.data())
def test_rows_taken_are_those_rows(batch: tuple[list[dict[str, Any]], Columns], data: st.DataObject) -> None:
    """Any choice of rows, repeated or reordered, gives what reading those rows alone gives."""
    raw, columns = batch
    index = data.draw(st.lists(st.integers(0, len(raw) - 1), max_size=8))
    taken = take(columns, LAYOUT, np.array(index, dtype=np.int64))
    assert same(unpacked(taken), [expected(raw[i]) for i in index])


def test_several_campaigns_a_request_are_not_taken_apart() -> None:
    """Choosing rows is for offline batches, where a user is a row."""
    columns = read_columns(table([EMPTY] * 2, PLAIN), LAYOUT, NOW)
    with pytest.raises(ValueError, match="one row a user"):
        take(replace(columns, owner=np.array([0, 0])), LAYOUT, np.array([0]))


def test_masks_are_drawn_by_share_and_seed() -> None:
    """About the share is masked, half of it in each state; the seed decides which."""
    rows, states = draw_mask(20_000, 0.15, seed=3)
    assert abs(rows.mean() - 0.15) < 0.01
    assert abs((states[rows] == HistoryState.UNAVAILABLE).mean() - 0.5) < 0.03
    assert set(states.tolist()) == {HistoryState.UNAVAILABLE, HistoryState.WITHHELD}
    again = draw_mask(20_000, 0.15, seed=3)
    np.testing.assert_array_equal(rows, again[0])
    np.testing.assert_array_equal(states, again[1])
    assert not np.array_equal(rows, draw_mask(20_000, 0.15, seed=4)[0])
