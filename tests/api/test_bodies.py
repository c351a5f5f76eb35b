"""Tests of app.api.bodies."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import MutableMapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect

from app.api.bodies import Headers, Limits, inflate, read_body
from app.errors import BodyTooLarge, InputError, UnsupportedMedia

LIMITS = Limits(sent=100, inflated=1000)


def read(headers: Headers, *parts: bytes, gone: bool = False) -> tuple[bytes, int]:
    """The body that arrives in parts, and how many of them were asked for."""
    messages: list[MutableMapping[str, Any]] = [
        {"type": "http.request", "body": part, "more_body": gone or i < len(parts) - 1} for i, part in enumerate(parts)
    ]
    asked = 0

    async def receive() -> MutableMapping[str, Any]:
        nonlocal asked
        asked += 1
        return messages[asked - 1] if asked <= len(messages) else {"type": "http.disconnect"}

    return asyncio.run(read_body(headers, receive, LIMITS)), asked


@pytest.mark.parametrize(
    "media", [None, b"application/json", b"Application/JSON; charset=utf-8", b"application/ld+json", b""]
)
def test_json_is_read(media: bytes | None) -> None:
    """Whether its type is given or not."""
    headers = {} if media is None else {b"content-type": media}
    assert read(headers, b"{", b"}")[0] == b"{}"


@pytest.mark.parametrize(
    "headers",
    [
        {b"content-type": b"text/plain"},
        {b"content-type": b"application/x-www-form-urlencoded"},
        {b"content-encoding": b"br"},
        {b"content-encoding": b"gzip, gzip"},
    ],
)
def test_other_media_are_refused(headers: Headers) -> None:
    """Before a byte is read."""
    with pytest.raises(UnsupportedMedia):
        read(headers, b"{}")


def test_the_limit_stops_the_reading() -> None:
    """At once where the length is given, else with the part that passes it."""
    assert len(read({}, b"x" * 60, b"x" * 40)[0]) == 100
    with pytest.raises(BodyTooLarge):
        read({b"content-length": b"101"})
    with pytest.raises(BodyTooLarge):
        read({b"content-length": b"9" * 5000})
    with pytest.raises(BodyTooLarge):
        read({b"content-length": b"5"}, b"x" * 101)
    with pytest.raises(BodyTooLarge):
        read({}, b"x" * 60, b"x" * 60, gone=True)


def test_a_caller_who_leaves_is_no_error_of_his_body() -> None:
    """The rest never comes."""
    with pytest.raises(ClientDisconnect):
        read({}, b"x", gone=True)
    with pytest.raises(ClientDisconnect):
        read({})


def test_gzip_is_inflated_up_to_the_limit() -> None:
    """A bomb costs no more than the limit."""
    packed = gzip.compress(b"x" * 1000)
    assert read({b"content-encoding": b"gzip"}, packed)[0] == b"x" * 1000
    with pytest.raises(BodyTooLarge):
        read({b"content-encoding": b"gzip"}, gzip.compress(b"x" * 1001))
    with pytest.raises(BodyTooLarge):
        inflate(gzip.compress(bytes(10_000_000)), 1_000_000)


def test_long_gzip_is_inflated_aside() -> None:
    """The same bytes."""
    plain = bytes(range(256)) * 4000
    packed = gzip.compress(plain, compresslevel=0)

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": packed}

    limits = Limits(len(packed), len(plain))
    assert asyncio.run(read_body({b"content-encoding": b"gzip"}, receive, limits)) == plain


@given(
    pattern=st.binary(min_size=1, max_size=300),
    size=st.integers(0, 3).map(lambda n: n << 18).flatmap(lambda n: st.integers(max(0, n - 2), n + 2)),
    level=st.sampled_from([0, 1, 9]),
    rest=st.sampled_from([b"", b"x"]),
)
def test_pieces_are_put_together(pattern: bytes, size: int, level: int, rest: bytes) -> None:
    """Around the ends of the pieces that are worked on: the same bytes, one byte too many, something that follows."""
    plain = (pattern * (size // len(pattern) + 1))[:size]
    packed = gzip.compress(plain, compresslevel=level) + rest
    if rest:
        with pytest.raises(InputError, match="cut off or followed by more"):
            inflate(packed, size)
    else:
        assert inflate(packed, size) == plain
    if size:
        with pytest.raises(BodyTooLarge):
            inflate(packed, size - 1)
        with pytest.raises(InputError):
            inflate(packed[: -1 - len(rest)], size)


@pytest.mark.parametrize("broken", [b"", b"{}", gzip.compress(b"{}")[:-3], gzip.compress(b"{}") + b"x"])
def test_broken_gzip_is_the_caller_s_mistake(broken: bytes) -> None:
    """Nothing, no gzip, half a stream, more than one."""
    with pytest.raises(InputError):
        inflate(broken, 100)
