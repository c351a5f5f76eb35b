"""Hostile bodies: an answer or a clean problem document, never a 500."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.api.served import HISTORY, TS, Served, bid, with_history

DEEP = b'{"a":' * 3000
GOOD = json.dumps(bid()).encode()


def with_value(path: str, literal: bytes) -> bytes:
    """The good request with a literal in place of a field."""
    request: Any = bid(user=with_history())
    *parents, leaf = path.split(".")
    place = request
    for parent in parents:
        place = place.setdefault(parent, {})
    place[leaf] = "@@"
    return json.dumps(request).encode().replace(b'"@@"', literal)


NUMBERS = (
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"1e400",
    b"-1e400",
    b"9" * 400,
    b"9" * 5000,
    b"true",
    b'"1.5"',
    b"[]",
    b"01",
)
BODIES = [
    b"",
    b" ",
    b"null",
    b"[]",
    b'"x"',
    b"5",
    b"\x00",
    b"\xff\xfe",
    b"\xef\xbb\xbf" + GOOD,
    GOOD + b"x",
    GOOD[:-1],
    GOOD * 2,
    DEEP,
    DEEP + b"1" + b"}" * 3000,
    b"[" * 20_000,
    GOOD.replace(b"r1", b"\\ud800"),
    GOOD.replace(b"r1", b"\xff"),
    GOOD.replace(b"r1", b"\x01"),
    GOOD.replace(b'"imp"', b"'imp'"),
    GOOD.replace(b'[{"id": "1"}]', b'{"id": "1"}'),
    *(with_value("device.ext.price", number) for number in NUMBERS),
    *(with_value("user.ext.history.spend", b'{"toys":' + number + b"}") for number in NUMBERS),
    *(with_value("user.ext.history.visits", b'[["toys",' + number + b"]]") for number in NUMBERS),
    *(with_value("user.ext.history.as_of", number) for number in NUMBERS),
    *(with_value("ext.ts", number) for number in NUMBERS),
    *(with_value("ext.deadline_ms", number) for number in NUMBERS),
    *(with_value("tmax", number) for number in NUMBERS),
]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[-40:]))
def test_a_hostile_body_gets_a_clean_400(service: Served, body: bytes) -> None:
    """A problem document that echoes nothing."""
    answer = service.post("/predict", body)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert list(problem) == ["type", "title", "status", "detail", "field"]
    assert len(answer.content) < 500
    if b"1.5" in body and problem["field"] is not None:
        assert "1.5" not in answer.text


@pytest.mark.parametrize(
    "body",
    [
        with_value("user.ext.history.spend", b"{}"),
        with_value("user.ext.history.spend", b"[]"),
        with_value("user.ext.history.spend", b'{"":1,"\\u0000":2,"\\ud83d\\ude00":3}'),
        with_value("user.ext.history.spend", b'{"a":1e308,"b":-1e308,"c":1e-320,"d":-0.0}'),
        with_value("user.ext.history.visits", b'{"a":-1e300,"b":1e300}'),
        with_value("device.browser", b'"' + b"x" * 15_000 + b'"'),
        with_value("unknown", b"NaN"),
        with_value("unknown", b"9" * 400),
        with_value("unknown", b'{"a":' * 100 + b"1" + b"}" * 100),
        with_value("ext.campaigns", b"[" + b",".join([b'{"id":"c"}'] * 64) + b"]"),
        with_value("id", b'""'),
        with_value("ext.ts", b"0"),
        with_value("ext.ts", b"4102444800"),
        GOOD.replace(b'"id": "r1"', b'"id": 5, "id": "r1"'),
        b" \r\n\t" + GOOD + b"\n",
    ],
    ids=lambda body: repr(body[-40:]),
)
def test_what_is_odd_but_valid_is_answered(service: Served, body: bytes) -> None:
    """Empty maps, extreme numbers, odd keys, as many campaigns as are allowed."""
    answer = service.post("/predict", body)
    expected = {200, 400} if b"as_of" in body and b'"ts": 0' in body else {200}
    assert answer.status_code in expected, answer.text


def test_bodies_over_the_limit_are_413(service: Served) -> None:
    """With and without a length."""
    assert service.post("/predict", b'{"x":"' + b"x" * 24_000 + b'"}').status_code == 413

    async def stream() -> Any:
        for _ in range(30):
            yield b"x" * 1000

    answer = service._runner.run(service._client.post("/predict", content=stream()))
    assert answer.status_code == 413


def test_other_media_are_415(service: Served) -> None:
    """Said by the caller himself."""
    assert service.post("/predict", GOOD, headers={"content-type": "text/xml"}).status_code == 415
    assert service.post("/predict", GOOD, headers={"content-encoding": "deflate"}).status_code == 415


def test_a_thousand_mistakes_are_told_in_one_line(service: Served) -> None:
    """Listing them all would hold up other callers."""
    spend = b"{" + b",".join(b'"%d":"x"' % i for i in range(1500)) + b"}"
    problem = service.post("/predict", with_value("user.ext.history.spend", spend)).json()
    assert (problem["status"], problem["field"]) == (400, None)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(TS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
PLACES = st.sampled_from(
    [
        "id",
        "imp",
        "tmax",
        "device",
        "device.ext",
        "device.browser",
        "device.lmt",
        "device.osv",
        "regs.gpp",
        "regs.gpp_sid",
        "user.ext",
        "user.ext.history",
        *(f"user.ext.history.{name}" for name in HISTORY),
        "ext",
        "ext.ts",
        "ext.campaigns",
    ]
)


@given(PLACES, JSON)
def test_any_value_in_any_place_gets_an_answer_or_a_400(service: Served, place: str, value: Any) -> None:
    """Whatever it is, it is the caller's."""
    assert service.post("/predict", with_value(place, json.dumps(value).encode())).status_code in (200, 400)


@given(st.binary(max_size=60))
def test_any_bytes_get_a_400(service: Served, body: bytes) -> None:
    """On each door that reads a body."""
    for path in ("/predict", "/predict/batch", "/features", "/features/delete"):
        assert service.post(path, body).status_code == 400
