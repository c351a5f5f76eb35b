"""Tests of app.api.slices, against the parser of the standard library."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api import slices
from app.errors import BodyTooLarge, InputError

TEXTS = st.text(st.sampled_from('ab"\\{}[],: é'), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def split(body: bytes, most: int = 50) -> list[bytes]:
    """The entries of `requests`."""
    return [body[start:end] for start, end in asyncio.run(slices.entries(body, "requests", most))]


@given(
    st.lists(VALUES, min_size=1, max_size=6),
    st.dictionaries(TEXTS, VALUES, max_size=4),
    st.sampled_from([None, 1]),
    st.booleans(),
    st.sampled_from([1, 2, 7, 1 << 18]),
)
def test_entries_are_what_a_parser_finds(
    entries: list[Any], around: dict[str, Any], indent: int | None, ascii_only: bool, block: int
) -> None:
    """Whatever the entries and their surroundings hold, and wherever a block ends."""
    around.pop("requests", None)
    body = json.dumps({**around, "requests": entries, "x": [[1], 2]}, indent=indent, ensure_ascii=ascii_only).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slices, "_BLOCK", block)
        assert [json.loads(part) for part in split(body)] == entries


def test_the_last_of_two_arrays_counts() -> None:
    """As for any duplicate key."""
    assert split(b'{"requests":[1,2],"requests":[3]}') == [b"3"]


def test_an_array_of_that_name_deeper_inside_does_not() -> None:
    """Only the outer object's."""
    assert split(b'{"a":{"requests":[9,9]},"requests":[1]}') == [b"1"]
    assert split(b'{"requests":[{"requests":[9,9]},2]}') == [b'{"requests":[9,9]}', b"2"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", None),
        (b"[]", None),
        (b"{", None),
        (b"nonsense", None),
        (b'{"requests":[1}', None),
        (b'{"requests":[1]', None),
        (b'{"requests":[1]}}', None),
        (b'[{"requests":[1]}]', None),
        (b"{}", "requests"),
        (b'{"requests":null}', "requests"),
        (b'{"requests":{}}', "requests"),
        (b'{"requests":[]}', "requests"),
        (b'{"requests":[ \n]}', "requests"),
        (b'{"requests\\"":[1]}', "requests"),
        (b'{"requests":[' + b"1," * 50 + b"1]}", "requests"),
        (b'{"x":{' + b'"a":1,' * 5000 + b'"a":1},"requests":[1]}', "requests"),
    ],
)
def test_what_is_not_such_an_object_is_refused(body: bytes, field: str | None) -> None:
    """With one line, and early."""
    with pytest.raises(InputError) as caught:
        split(body)
    assert caught.value.field == field


def test_what_surrounds_the_array_is_bounded() -> None:
    """A long body is for its entries."""
    with pytest.raises(BodyTooLarge):
        split(b'{"x":"' + b"a" * (1 << 20) + b'","requests":[1]}')
