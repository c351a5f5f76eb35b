"""Tests of app.api.slices, against the parser of the standard library."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.api import slices
from app.errors import BodyTooLarge, InputError
from app.features.histories import HistoryShape, HistoryTwin
from app.features.layout import Layout
from app.features.native import Library
from app.features.spec import Declaration
from tests.features.conftest import SMALL
from training.publishing.codegen import compile_features

TEXTS = st.text(st.sampled_from('ab"\\{}[],: é'), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A layout with the compiled code."""
    library = tmp_path_factory.mktemp("marks") / "features.so"
    compile_features(library)
    layout = Layout(Declaration.from_dict(SMALL))
    layout.histories = HistoryTwin(Library(library), layout, HistoryShape(layout))
    return layout


@pytest.fixture(params=["numpy", "compiled"])
def layout(request: pytest.FixtureRequest, compiled: Layout) -> Layout:
    """Without it, and with it."""
    return compiled if request.param == "compiled" else Layout(compiled.declaration)


def split(layout: Layout, body: bytes, most: int = 50) -> list[bytes]:
    """The entries of `requests`."""
    found = asyncio.run(slices.entries(body, "requests", most, slices.scan_of(layout)))
    return [body[start:end] for start, end in found]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(VALUES, min_size=1, max_size=6),
    st.dictionaries(TEXTS, VALUES, max_size=4),
    st.sampled_from([None, 1]),
    st.booleans(),
    st.sampled_from([1, 2, 7, 1 << 18]),
)
def test_entries_are_what_a_parser_finds(
    layout: Layout, entries: list[Any], around: dict[str, Any], indent: int | None, ascii_only: bool, block: int
) -> None:
    """Whatever the entries and their surroundings hold, and wherever a block ends."""
    around.pop("requests", None)
    body = json.dumps({**around, "requests": entries, "x": [[1], 2]}, indent=indent, ensure_ascii=ascii_only).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slices, "_BLOCK", block)
        assert [json.loads(part) for part in split(layout, body)] == entries


@given(
    st.lists(
        st.sampled_from([*(bytes([b]) for b in b'{}[],"\\a\x00\xff'), b"\\\\", b'"' + b"a" * 40, b'\\"']), max_size=120
    ),
    st.integers(1, 400),
    st.integers(1, 60),
)
def test_compiled_code_finds_the_same_marks(compiled: Layout, parts: list[bytes], block: int, most: int) -> None:
    """In any bytes, however they are cut; a block that has more marks than asked for is the last that is looked at."""
    text = b"".join(parts)
    one, other = slices.Scan(), slices.scan_of(compiled)
    for start in range(0, len(text), block):
        end = min(start + block, len(text))
        expected = list(one.marks(text, start, end, most))
        assert list(other.marks(text, start, end, most)) == expected
        if len(expected) == most:
            break


def test_the_last_of_two_arrays_counts(layout: Layout) -> None:
    """As for any duplicate key."""
    assert split(layout, b'{"requests":[1,2],"requests":[3]}') == [b"3"]


def test_an_array_of_that_name_deeper_inside_does_not(layout: Layout) -> None:
    """Only the outer object's."""
    assert split(layout, b'{"a":{"requests":[9,9]},"requests":[1]}') == [b"1"]
    assert split(layout, b'{"requests":[{"requests":[9,9]},2]}') == [b'{"requests":[9,9]}', b"2"]


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
def test_what_is_not_such_an_object_is_refused(layout: Layout, body: bytes, field: str | None) -> None:
    """With one line, and early."""
    with pytest.raises(InputError) as caught:
        split(layout, body)
    assert caught.value.field == field


def test_what_surrounds_the_array_is_bounded(layout: Layout) -> None:
    """A long body is for its entries."""
    with pytest.raises(BodyTooLarge):
        split(layout, b'{"x":"' + b"a" * (1 << 20) + b'","requests":[1]}')
