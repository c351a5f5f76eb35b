"""The shape of a declaration: whatever stands in a place, it is accepted or told in one line."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

import pytest

from app.errors import DeclarationError
from app.features.layout import Layout
from app.features.shape import check_shape
from app.features.spec import Declaration
from tests.features.conftest import SMALL

ANYTHING: list[Any] = [None, True, 7, -1.5, float("nan"), "x", [], ["x"], [[]], {}, {"x": 1}, {7: "x"}]
Place = tuple[Any, ...]


def places(node: Any, place: Place = ()) -> Iterator[Place]:
    """Every place of a nested value, itself included."""
    yield place
    entries = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, entry in entries:
        yield from places(entry, (*place, key))


def replaced(place: Place, value: Any) -> Any:
    """The small declaration with something else in one place."""
    if not place:
        return value
    raw = copy.deepcopy(SMALL)
    node: Any = raw
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value
    return raw


@pytest.mark.parametrize("value", ANYTHING, ids=repr)
def test_anything_anywhere_is_accepted_or_one_line(value: Any) -> None:
    """No other exception leaves, also not from what reads the declaration afterwards."""
    for place in places(SMALL):
        with contextlib.suppress(DeclarationError):
            declaration = Declaration.from_dict(replaced(place, value))
            assert Layout(declaration).declaration.fingerprint == declaration.fingerprint
            assert len(declaration.encoder) == 2
            assert isinstance(declaration.pairs("ratios"), dict)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ([], "expected a mapping, received list"),
        ({"lookup": {}}, "lookup: no such section"),
        ({"encoder": {"min_count": "20"}}, "encoder.min_count: expected a whole number, received str"),
        ({"encoder": {"rate_smoothing": float("inf")}}, "encoder.rate_smoothing: expected a finite number"),
        ({"ranks": {"cohort": []}}, "ranks: expected any of cohorts, "),
        ({"ranks": {"cohorts": [["country", 7]]}}, "ranks.cohorts.0.1: expected a text, received int"),
        ({"groups": {"ranks": "yes"}}, "groups.ranks: expected true or false, received str"),
        ({"lookups": {"country": "spend"}}, "lookups.country: expected a list, received str"),
        ({"encodings": {False: ["rate"]}}, "encodings.False: expected a text as key, received bool"),
    ],
)
def test_the_place_is_named(raw: Any, said: str) -> None:
    """With what was expected and what came."""
    with pytest.raises(DeclarationError) as caught:
        check_shape(raw)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
