"""Parsing to canonical form against a loop in plain Python; the packed form there and back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.features.columns import ABSENT, FLOAT32_MAX
from app.features.history import AS_OF_OFFSET, Content, held_history, parse_history, read_history, unpack
from app.features.layout import Layout
from app.features.spec import Declaration
from tests.features.conftest import HISTORIES, SMALL

LAYOUT = Layout(Declaration.from_dict(SMALL))


def _clean(entries: Any) -> dict[str, Any]:
    """First place, last value, nulls dropped."""
    found: dict[str, Any] = {}
    for key, value in entries.items() if isinstance(entries, dict) else entries:
        found[key] = value
    return {k: v for k, v in found.items() if v is not None}


def _clip(value: float) -> float:
    return min(max(float(value), -FLOAT32_MAX), FLOAT32_MAX) + 0.0


def _expected(raw: dict[str, Any]) -> dict[str, list[float] | None]:
    """Values by segment name, by loops."""
    out: dict[str, list[float] | None] = {}
    for segment in LAYOUT.segments:
        name, value = segment.field.name, raw.get(segment.field.name)
        label = name + (".inner" if segment.inner else "")
        if value is None:
            out[label] = None
        elif segment.field.kind == "strings":
            out[label] = [1.0] * len(dict.fromkeys(v for v in value if v is not None))
        elif segment.field.nested:
            rows = {k: [_clip(v) for v in _clean(inner).values()] for k, inner in _clean(value).items()}
            if segment.field.temporal:
                rows = {k: v for k, v in rows.items() if v}
                outer = [max(v) for v in rows.values()]
            else:
                outer = [_clip(sum(v)) for v in rows.values()]
            out[label] = [n for v in rows.values() for n in v] if segment.inner else outer
        else:
            out[label] = [_clip(v) for v in _clean(value).values()]
    return out


def _by_segment(history: Content) -> dict[str, list[float] | None]:
    out: dict[str, list[float] | None] = {}
    at = 0
    counts = history.scalars[len(LAYOUT.user_numbers) :].astype(int).tolist()
    for i, (segment, count) in enumerate(zip(LAYOUT.segments, counts, strict=True)):
        label = segment.field.name + (".inner" if segment.inner else "")
        if count == ABSENT:
            out[label] = None
        elif i >= LAYOUT.n_numeric:
            out[label] = [1.0] * count
        else:
            out[label] = history.values[at : at + count].tolist()
            at += count
    assert at == len(history.values)
    return out


def _parsed(raw: dict[str, Any]) -> Content:
    return unpack(LAYOUT, parse_history(LAYOUT, raw).packed)


@given(HISTORIES)
def test_parsing_equals_a_loop(raw: dict[str, Any]) -> None:
    """Duplicates keep the first place and last value, nulls go, numbers are clipped, absent differs from empty."""
    found, expected = _by_segment(_parsed(raw)), _expected(raw)
    assert found.keys() == expected.keys()
    for name, numbers in expected.items():
        if numbers is None:
            assert found[name] is None, name
        else:
            summed = max(map(abs, expected.get(f"{name}.inner") or [0.0]), default=0.0)  # what cancels leaves no digit
            assert found[name] == pytest.approx(numbers, rel=1e-12, abs=1e-15 * summed), name


@given(HISTORIES)
def test_no_value_is_nan_or_negative_zero(raw: dict[str, Any]) -> None:
    """What is kept is finite, and zero has one sign."""
    values = _parsed(raw).values
    assert np.isfinite(values).all()
    assert not (np.signbit(values) & (values == 0)).any()


@given(HISTORIES)
def test_a_history_is_what_was_parsed(raw: dict[str, Any]) -> None:
    """Texts, times and keys as written, in order; read from its buffer it is the same history."""
    history = parse_history(LAYOUT, raw)
    content = _parsed(raw)
    assert history.as_of == raw.get("as_of")
    assert content.texts == (raw.get("last_word"),)
    for field, entries in zip(LAYOUT.keyed, content.maps, strict=True):
        assert (entries is None) == (raw.get(field.name) is None)
        if entries is not None and field.kind == "histogram":
            assert list(entries) == list(_clean(raw[field.name]))
    for back in (held_history(history.packed), read_history(LAYOUT, history.packed)):
        assert (back.packed, back.as_of, back.empty) == (history.packed, history.as_of, history.empty)


@pytest.mark.parametrize("n", [1, 253, 254, 255, 256, 70_000])
def test_counts_and_lengths_of_any_size(n: int) -> None:
    """Around the bounds of one byte: long keys, long texts, many entries."""
    for raw in (
        {"spend": {f"k{i}": float(i) for i in range(n)}},
        {"spend": {"k" * n: 1.0}},
        {"last_word": "é" * n, "spend": {"a": 1.0}},
    ):
        content = _parsed(raw)
        assert content.maps[0] == raw["spend"]
        assert content.texts == (raw.get("last_word"),)


def test_as_of_stands_at_its_fixed_offset() -> None:
    """The compare-and-set script reads a little-endian int64 there."""
    blob = parse_history(LAYOUT, {"as_of": 1_759_500_000}).packed
    assert int.from_bytes(blob[AS_OF_OFFSET : AS_OF_OFFSET + 8], "little", signed=True) == 1_759_500_000


@given(HISTORIES, st.data())
def test_a_truncated_or_lengthened_buffer_is_refused(raw: dict[str, Any], data: st.DataObject) -> None:
    """Every other length than the written one is one clear ValueError."""
    blob = parse_history(LAYOUT, raw).packed
    cut = data.draw(st.integers(0, len(blob) - 1))
    with pytest.raises(ValueError, match="packed history"):
        unpack(LAYOUT, blob[:cut])
    with pytest.raises(ValueError, match="packed history"):
        unpack(LAYOUT, blob + b"x")


@given(st.binary(max_size=400))
def test_foreign_bytes_are_refused(blob: bytes) -> None:
    """Garbage in the cache is a ValueError, never another exception."""
    with pytest.raises(ValueError, match="packed history"):
        unpack(LAYOUT, blob)


@given(HISTORIES, st.data())
def test_a_flipped_byte_never_raises_anything_else(raw: dict[str, Any], data: st.DataObject) -> None:
    """A damaged buffer is read as some history or refused in one line."""
    blob = bytearray(parse_history(LAYOUT, raw).packed)
    blob[data.draw(st.integers(0, len(blob) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        unpack(LAYOUT, bytes(blob))
    except ValueError as refused:
        assert "packed history" in str(refused)  # noqa: PT017 - both outcomes are right, any other exception is not


def test_another_declaration_is_refused() -> None:
    """A history packed under other user fields is not read."""
    other = {**SMALL, "user": {**SMALL["user"], "extra": {"kind": "number"}}}
    blob = parse_history(Layout(Declaration.from_dict(other)), {}).packed
    with pytest.raises(ValueError, match="another declaration"):
        unpack(LAYOUT, blob)


@pytest.mark.parametrize(
    ("raw", "empty"),
    [
        ({}, True),
        ({"as_of": 5}, True),
        ({"spend": None, "apps": None}, True),
        ({"spend": {}}, False),
        ({"age": -1}, False),
    ],
)
def test_only_nothing_at_all_is_empty(raw: dict[str, Any], empty: bool) -> None:
    """An empty map is something known; nulls are not."""
    assert parse_history(LAYOUT, raw).empty is empty


def test_lookups_find_the_outer_value_of_a_nested_map() -> None:
    """Clicks of a key are summed, times of a key are their latest."""
    raw = {"clicks": {"a": {"x": 1, "y": 2}, "b": {}}, "clicked": {"a": {"x": 5.0, "y": 9.0}, "b": {}}}
    history = _parsed(raw)
    found = dict(zip((f.name for f in LAYOUT.keyed), history.maps, strict=True))
    assert found["clicks"] == {"a": 3.0, "b": 0.0}
    assert found["clicked"] == {"a": 9.0}
    assert found["spend"] is None
    assert math.isnan(history.scalars[0])
