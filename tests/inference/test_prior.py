"""The prior answers every request."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.errors import BundleCorrupt
from app.inference.prior import Prior

OBJ: dict[str, Any] = {
    "levels": [["country", "category", "os"], ["country", "os"], []],
    "tables": [{"us|games|ios": [0.3, 1.0, 2.0]}, {"us|ios": [0.2, 0.5, 1.0]}, {"": [0.1, 0.1, 0.2]}],
}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (("us", "games", "ios"), (0.3, 1.0, 2.0)),
        (("us", "tools", "ios"), (0.2, 0.5, 1.0)),
        (("us", None, "ios"), (0.2, 0.5, 1.0)),
        (("us", None, None), (0.1, 0.1, 0.2)),
        (("de", "games", "ios"), (0.1, 0.1, 0.2)),
        ((None, None, None), (0.1, 0.1, 0.2)),
    ],
)
def test_the_most_specific_cohort_answers(values: tuple[str | None, ...], expected: tuple[float, ...]) -> None:
    """A level answers when all of its fields are present and it knows them."""
    assert Prior.from_json(OBJ).lookup(*values) == expected


def test_round_trip() -> None:
    """Written and read again, it is the same."""
    assert Prior.from_json(json.loads(json.dumps(Prior.from_json(OBJ).to_json()))) == Prior.from_json(OBJ)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tables": OBJ["tables"][:2]}, "expected 3 tables, received 2"),
        ({"levels": [["country"], ["os"], []]}, "expected levels within"),
        ({"levels": [["country", "category", "os"], ["country"], ["os"]]}, "expected a last level"),
        ({"tables": [{"a": [1.0]}, {}, {"": [0.1, 0.1]}]}, "one number of values a cohort"),
        ({"tables": [{"a": ["x"]}, {}, {"": [0.1]}]}, "ValueError"),
        ({"levels": None}, "TypeError"),
    ],
)
def test_refuses_a_prior_with_gaps(change: dict[str, Any], message: str) -> None:
    """A prior that could fail on a request is refused when it is read."""
    with pytest.raises(BundleCorrupt, match=f"prior.json: .*{message}"):
        Prior.from_json({**OBJ, **change})
