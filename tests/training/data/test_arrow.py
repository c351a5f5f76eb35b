from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.arrow import coded, lists, numbers, pair_types, pairs, positions

INTEGERS = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]


@pytest.mark.parametrize("kind", [*INTEGERS, pa.float16(), pa.float32(), pa.float64(), pa.decimal128(9, 2)], ids=str)
def test_numbers_of_every_width(kind: pa.DataType) -> None:
    """Integers, floats and decimals of any width are the same float64; null is NaN."""
    array = pa.array([Decimal(1), None, Decimal(120)] if pa.types.is_decimal(kind) else [1, None, 120], kind)
    np.testing.assert_array_equal(numbers(array), [1.0, np.nan, 120.0])


def test_integers_too_large_for_float64_are_rounded() -> None:
    """2^53 + 1 is the nearest float64, as Python's `float` has it, not an error."""
    assert numbers(pa.array([2**53 + 1, 2**63 - 1])).tolist() == [float(2**53 + 1), float(2**63 - 1)]


@given(st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**9), max_value=10**9))
def test_decimals_are_rounded_correctly(value: Decimal) -> None:
    """A decimal is the float64 nearest to it, as it would be in JSON."""
    assert numbers(pa.array([value], pa.decimal128(14, 2))).tolist() == [float(value) + 0.0]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "America/New_York"])
def test_timestamps_are_unix_seconds(unit: str, zone: str | None) -> None:
    """An instant is seconds since 1970 in UTC, whatever its unit or zone."""
    moment = datetime(2025, 10, 1, 18, tzinfo=UTC)
    array = pa.array([moment, None], pa.timestamp("s", "UTC")).cast(pa.timestamp(unit, zone or "UTC"))
    if zone is None:
        array = array.cast(pa.timestamp(unit))
    np.testing.assert_array_equal(numbers(array), [moment.timestamp(), np.nan])


@pytest.mark.parametrize("kind", [pa.date32(), pa.date64()], ids=str)
def test_dates_are_their_midnight(kind: pa.DataType) -> None:
    """A day is its beginning in UTC."""
    expected = datetime(2025, 10, 1, tzinfo=UTC).timestamp()
    assert numbers(pa.array([date(2025, 10, 1)], kind)).tolist() == [expected]


@given(st.lists(st.floats(width=64) | st.none()))
def test_numbers_are_canonical(values: list[float | None]) -> None:
    """Finite within float32, never -0.0; null, NaN and the infinities are NaN."""
    largest = float(np.finfo(np.float32).max)
    for raw, got in zip(values, numbers(pa.array(values, pa.float64())).tolist(), strict=True):
        if raw is None or not math.isfinite(raw):
            assert math.isnan(got)
        else:
            assert got == max(-largest, min(largest, raw))
            assert got or math.copysign(1.0, got) == 1.0


def test_dictionary_encoded_numbers() -> None:
    """Numbers may be dictionary-encoded as well."""
    np.testing.assert_array_equal(numbers(pa.array([5, None, 5]).dictionary_encode()), [5.0, np.nan, 5.0])


@given(st.lists(st.none() | st.text(max_size=3)), st.sampled_from(["plain", "large", "view", "dictionary"]))
def test_coded_texts_are_the_texts(values: list[str | None], form: str) -> None:
    """`uniques[codes]` are the texts again, and no unique repeats."""
    kind = {"large": pa.large_string(), "view": pa.string_view()}.get(form, pa.string())
    array = pa.array(values, kind)
    text = coded(array.dictionary_encode() if form == "dictionary" else array)
    uniques: list[Any] = text.uniques.to_pylist()
    assert [uniques[c] if c >= 0 else None for c in text.codes.tolist()] == values
    assert len(set(uniques)) == len(uniques)


def test_a_foreign_dictionary_may_repeat_a_text_or_hold_null() -> None:
    """Two codes of one text are one; a code of a null is missing."""
    array = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2, 3, None]), pa.array(["a", None, "a", "b"]))
    text = coded(array)
    assert text.uniques.to_pylist() == ["a", "b"]
    assert text.codes.tolist() == [0, -1, 0, 1, -1]


def test_positions_among_another_dictionary() -> None:
    """Texts are found by their exact UTF-8: a composed é is not a decomposed one."""
    among = pa.array(["b", "é", "a"], pa.large_string())
    texts = pa.array(["a", "e\u0301", "é", "A"], pa.large_string())
    assert positions(texts, among, -2).tolist() == [2, -2, 1, -2]
    assert positions(texts, pa.array([], pa.large_string()), -2).tolist() == [-2] * 4


@settings(deadline=None)
@given(st.lists(st.none() | st.lists(st.integers(0, 9), max_size=4)), st.data())
def test_lists_of_a_slice(values: list[list[int] | None], data: st.DataObject) -> None:
    """Lengths, known and entries are those of the slice alone."""
    start = data.draw(st.integers(0, len(values)))
    kind = data.draw(st.sampled_from([pa.list_(pa.int64()), pa.large_list(pa.int64())]))
    part = lists(pa.array(values, kind)[start:])
    assert part.known.tolist() == [v is not None for v in values[start:]]
    assert part.lengths.tolist() == [len(v or []) for v in values[start:]]
    assert part.entries.to_pylist() == [x for v in values[start:] if v for x in v]


def test_entries_under_a_null_list_are_skipped() -> None:
    """Arrow allows a null list to cover entries; they belong to nobody."""
    array = pa.ListArray.from_arrays(
        pa.array([0, 2, 4, 5]), pa.array([1, 2, 3, 4, 5]), mask=pa.array([False, True, False])
    )
    for offset in range(3):
        part = lists(array[offset:])
        assert part.entries.to_pylist() == [1, 2, 5][2 * (offset > 0) :]
        assert part.lengths.tolist() == [2, 0, 1][offset:]


def test_maps_and_lists_of_structs_are_pairs() -> None:
    """First field key, second value, whatever their names; a null struct is a null pair."""
    rows = [[("a", 1), ("b", 2)], [("c", 3)]]
    struct = pa.array(rows, pa.list_(pa.struct([("x", pa.string()), ("y", pa.int64())])))
    for array in (pa.array(rows, pa.map_(pa.string(), pa.int64())), struct):
        keys, values = pairs(lists(array[1:]).entries)
        assert (keys.to_pylist(), values.to_pylist()) == (["c"], [3])
    null = pa.array([[None]], struct.type)
    assert [a.to_pylist() for a in pairs(lists(null).entries)] == [[None], [None]]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (pa.map_(pa.string(), pa.int8()), (pa.string(), pa.int8())),
        (pa.large_list(pa.struct([("a", pa.string()), ("b", pa.int8())])), (pa.string(), pa.int8())),
        (pa.list_(pa.null()), (pa.null(), pa.null())),
        (pa.list_(pa.string()), None),
        (pa.list_(pa.struct([("a", pa.string())])), None),
        (pa.struct([("a", pa.string()), ("b", pa.int8())]), None),
        (pa.int8(), None),
    ],
    ids=str,
)
def test_pair_types(kind: pa.DataType, expected: tuple[pa.DataType, pa.DataType] | None) -> None:
    """A map is a map or a list of two-field structs, nothing else."""
    assert pair_types(kind) == expected
