from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import DataError
from app.features.columns import Columns
from tests.training.data.oracle import LAYOUT, NOW, expected, same, unpacked
from tests.training.data.rows import PLAIN, ROWS, table, types
from training.data.assembly import cells, concatenate, read_columns


def read(rows: list[dict[str, Any]]) -> Columns:
    return read_columns(table(rows, PLAIN), LAYOUT, NOW)


@settings(max_examples=150, deadline=None)
@given(rows=st.lists(ROWS, max_size=6), kinds=types())
def test_every_encoding_gives_what_a_loop_over_objects_gives(
    rows: list[dict[str, Any]], kinds: dict[str, pa.DataType]
) -> None:
    """Whatever the physical types, the batch holds what reading row by row gives, bit for bit."""
    assert same(unpacked(read_columns(table(rows, kinds), LAYOUT, NOW)), [expected(r) for r in rows])


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(ROWS, min_size=1, max_size=7), kinds=types(), data=st.data())
def test_slices_and_chunks_change_nothing(
    rows: list[dict[str, Any]], kinds: dict[str, pa.DataType], data: st.DataObject
) -> None:
    """A slice of a larger table, in chunks with dictionaries of their own, is read like the rows alone."""
    start = data.draw(st.integers(0, len(rows)))
    stop = data.draw(st.integers(start, len(rows)))
    cut = data.draw(st.integers(0, len(rows)))
    whole = pa.concat_tables([table(rows[:cut], kinds), table(rows[cut:], kinds)])
    part = whole.slice(start, stop - start)
    assert same(unpacked(read_columns(part, LAYOUT, NOW)), [expected(r) for r in rows[start:stop]])


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(ROWS, max_size=8), data=st.data())
def test_concatenated_batches_are_one_batch(rows: list[dict[str, Any]], data: st.DataObject) -> None:
    """Reading in parts and concatenating gives the rows in order, dictionaries merged."""
    cut = data.draw(st.integers(0, len(rows)))
    joined = concatenate([read(rows[:cut]), read(rows[cut:])])
    assert same(unpacked(joined), [expected(r) for r in rows])
    for column in range(joined.texts.codes.shape[1]):
        entries = joined.texts.entries[joined.texts.starts[column] : joined.texts.starts[column + 1]]
        assert len(set(entries)) == len(entries)


def test_null_typed_columns_are_missing() -> None:
    """A file in which a column was never filled has it as nulls of no type: everything is missing, users are new."""
    empty = pa.table({name: pa.nulls(2) for name in PLAIN})
    assert same(unpacked(read_columns(empty, LAYOUT, NOW)), [expected(dict.fromkeys(PLAIN))] * 2)


def test_cells_are_the_texts_of_a_column() -> None:
    """A text column comes back as objects, None where missing."""
    countries = ["b", None, "a", "b"]
    columns = read([{**dict.fromkeys(PLAIN), "country": c} for c in countries])
    assert cells(columns.texts, 0).tolist() == countries
    assert columns.texts.starts[1] == 3, "two texts and the missing one"


def test_unused_dictionary_entries_are_left_out() -> None:
    """A batch carries the texts its rows use, however large the dictionary of the file."""
    column = pa.DictionaryArray.from_arrays(pa.array([2, None, 2]), pa.array(["a", "b", "c"]))
    rows = table([dict.fromkeys(PLAIN)] * 3, PLAIN).drop_columns(["country"]).append_column("country", column)
    assert read_columns(rows, LAYOUT, NOW).texts.entries[:2] == ["c", None]


def test_batches_of_several_orders_are_not_joined() -> None:
    """Values user by user and segment by segment do not mix; an empty list of batches is no batch."""
    columns = read([dict.fromkeys(PLAIN)])
    other = Columns(**{**{k: getattr(columns, k) for k in Columns.__slots__}, "segment_major": False})
    for batches in ([columns, other], []):
        with pytest.raises(ValueError, match="one order of values"):
            concatenate(batches)


def test_user_major_batches_are_joined_too() -> None:
    """Batches assembled from requests are joined as they are."""
    columns = read([dict.fromkeys(PLAIN)])
    other = Columns(**{**{k: getattr(columns, k) for k in Columns.__slots__}, "segment_major": False})
    assert same(unpacked(concatenate([other, other])), [expected(dict.fromkeys(PLAIN))] * 2)


def test_arrays_are_c_order_and_of_the_declared_types() -> None:
    """What enters the plan is float64 and int64 in C order: reductions in another order give other bits."""
    columns = read([dict.fromkeys(PLAIN)] * 3)
    for name in ("numbers", "campaign_numbers", "user_lookups", "row_lookups", "values", "now"):
        assert getattr(columns, name).dtype == np.float64
    for array in (columns.counts, columns.owner, columns.state, columns.texts.codes, columns.campaign_texts.codes):
        assert array.dtype == np.int64
        assert array.flags.c_contiguous


def test_invalid_utf8_is_one_line_that_names_the_column() -> None:
    """Bytes that are no text are the column's fault, said in one line."""
    broken = pa.array([b"\xff"], pa.binary()).view(pa.string())
    rows = table([dict.fromkeys(PLAIN)], PLAIN).drop_columns(["country"]).append_column("country", broken)
    with pytest.raises(DataError, match=r"^country: expected readable values, received invalid UTF-8$"):
        read_columns(rows, LAYOUT, NOW)
