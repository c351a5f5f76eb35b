"""Tests of app/connections/glance.py; the oracle is the parser itself."""

from __future__ import annotations

import httptools
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.connections.glance import is_plain_call
from tests.support.raw_http import post

BODY = b'{"id": "r1"}'


class Parsed:
    """What the parser makes of some bytes."""

    def __init__(self, data: bytes) -> None:
        self.urls: list[bytes] = []
        self.bodies: list[bytes] = []
        self.whole = 0
        self.parser = httptools.HttpRequestParser(self)
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        """A request line."""
        self.urls.append(url)

    def on_body(self, body: bytes) -> None:
        """A part of a body."""
        self.bodies.append(body)

    def on_message_complete(self) -> None:
        """An end."""
        self.whole += 1


@pytest.mark.parametrize(
    "data",
    [
        post("/predict", BODY),
        post("/predict", b""),
        post("/predict", b"\r\n\r\nPOST /predict HTTP/1.1\r\n"),
        post("/predict", BODY, Content_Type="application/json", User_Agent="a b", X_Trace="\xff\t"),
        post("/predict", BODY).replace(b"Content-Length: ", b"content-LENGTH:"),
    ],
)
def test_a_plain_call_is_told(data: bytes) -> None:
    """Whatever its headers say that does not change what the call is; and with a byte less or more it is another."""
    assert is_plain_call(data)
    assert not is_plain_call(data[:-1])
    assert not is_plain_call(data + b" ")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"POST /predict HTTP/1.1\r\n\r\n",
        post("/predict?x", BODY),
        post("/predict", BODY, Connection="close"),
        post("/predict", BODY, Expect="100-continue"),
        post("/predict", BODY, Upgrade="h2c"),
        post("/predict", BODY, Transfer_Encoding="chunked"),
        post("/predict", BODY, Content_Length=str(len(BODY))),
        post("/predict", BODY, X="a\nTransfer-Encoding: chunked"),
        post("/predict", BODY, X="a" * 5000),
        post("/predict", BODY).replace(b"HTTP/1.1", b"HTTP/1.0"),
        post("/predict", BODY).replace(b"POST", b"post"),
        b"POST /predict HTTP/1.1\r\nContent-Length: 10000000\r\n\r\n",
    ],
)
def test_anything_else_is_the_parsers(data: bytes) -> None:
    """What closes, waits, changes the protocol, has another length, or is longer than is looked at."""
    assert not is_plain_call(data)


HEADER = st.builds(
    lambda name, gap, value, end: name + gap + value + end,
    st.sampled_from(
        [b"Content-Length", b"content-length", b"Host", b"Connection", b"X-A", b"", b" X", b"X Y", b"\xe9"]
    ),
    st.sampled_from([b":", b": ", b" :", b":\t", b""]),
    st.one_of(st.sampled_from([b"0", b"5", b"05", b"5, 5", b"-5", b"close", b"5 "]), st.binary(max_size=6)),
    st.sampled_from([b"\r\n", b"\n", b"\r", b""]),
)


@given(st.lists(HEADER, max_size=4), st.binary(max_size=8))
@example([b"Content-Length: 5\r\n", b"X:\x00\r\n"], b"12345")
@example([b"Content-Length: 5\r\n", b"X: a\n b\r\n"], b"12345")
def test_the_parser_agrees(headers: list[bytes], body: bytes) -> None:
    """What is taken for a plain call is one message to the parser, with that body and no end of the connection."""
    data = b"POST /predict HTTP/1.1\r\n" + b"".join(headers) + b"\r\n" + body
    if is_plain_call(data):
        parsed = Parsed(data)
        assert (parsed.urls, parsed.whole, b"".join(parsed.bodies)) == ([b"/predict"], 1, body)
        assert parsed.parser.should_keep_alive()
        assert not parsed.parser.should_upgrade()
