"""Clients that are slow, silent, oversized or no HTTP at all: each is told off or dropped, and nobody else waits."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import select
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.connections import MAX_HEAD
from tests.api.served import bid
from tests.support.raw_http import closed, connect, get, post, read
from tests.support.service_process import ServiceProcess, samples, serving_process

BODY = json.dumps(bid()).encode()
MIB = 1 << 20


@pytest.fixture
def line(hasty_service: ServiceProcess) -> Iterator[socket.socket]:
    """A connection; afterwards the service answers others as before, and its log shows no failure."""
    with connect(hasty_service.port) as connection:
        yield connection
    assert hasty_service.predict(bid())["degraded"] == []
    assert "Traceback" not in hasty_service.output


def refused(line: socket.socket, status: int) -> None:
    """A problem document, then the connection is closed."""
    told = read(line)
    assert told is not None
    assert told.status == status
    assert told.headers["content-type"] == "application/problem+json"
    assert json.loads(told.body)["status"] == status
    assert told.headers["connection"] == "close"
    assert closed(line)


@pytest.mark.parametrize("part", [b"POST /predict", post("/predict", BODY)[:60], post("/predict", BODY)[:-10]])
def test_a_request_that_never_ends_is_given_up(hasty_service: ServiceProcess, line: socket.socket, part: bytes) -> None:
    """In the request line, in a header, in the body: 408, while others are answered."""
    line.sendall(part)
    assert hasty_service.predict(bid())["degraded"] == []
    refused(line, 408)


def test_who_never_asks_is_dropped(line: socket.socket) -> None:
    """A connection on which nothing comes is closed without a word."""
    assert closed(line)


def test_a_connection_that_rests_between_calls_is_kept(hasty_service: ServiceProcess, line: socket.socket) -> None:
    """The time is for one request, not for the connection."""
    with connect(hasty_service.port) as silent:
        line.sendall(post("/predict", BODY))
        first = read(line)
        assert closed(silent)  # its time is over, and that of the first call's connection too
    line.sendall(post("/predict", BODY))
    assert read(line) == first


def test_who_does_not_read_is_dropped(line: socket.socket) -> None:
    """One that asks for 40 MB and takes nothing is hung up on."""
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    line.sendall(get("/metrics") * 4000)
    poll = select.poll()
    poll.register(line, 0)  # nothing but an end
    assert poll.poll(60_000)


@pytest.mark.parametrize("piece", [1000, 1 << 20])
@pytest.mark.parametrize("place", ["path", "value", "many"])
def test_an_oversized_head_is_refused(line: socket.socket, place: str, piece: int) -> None:
    """431, whether it comes at once or in pieces, in one header or in a thousand."""
    long = b"x" * (3 * MAX_HEAD)
    head = {
        "path": b"GET /" + long + b" HTTP/1.1\r\n",
        "value": b"GET /health/live HTTP/1.1\r\nX: " + long + b"\r\n",
        "many": b"GET /health/live HTTP/1.1\r\n" + b"X-Y: abcdefgh\r\n" * 8000,
    }[place] + b"\r\n"
    with contextlib.suppress(ConnectionError):  # it may be closed before all is sent
        for start in range(0, len(head), piece):
            line.sendall(head[start : start + piece])
    with contextlib.suppress(ConnectionError):
        refused(line, 431)


@pytest.mark.parametrize(
    "sent", [b"\x16\x03\x01\x02\x00\x01", b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nX\x00: 1\r\n\r\n"]
)
def test_what_is_no_http_is_refused(line: socket.socket, sent: bytes) -> None:
    """TLS on a plain port, noise, a null in a header's name."""
    line.sendall(sent)
    refused(line, 400)


@pytest.mark.parametrize("path", ["/predict", "/predict/batch", "/features", "/features/delete"])
def test_long_bodies_get_a_clean_answer(shop_service: ServiceProcess, path: str) -> None:
    """10 MB of nonsense, of zeros, of brackets; and a gzip of 100 kB that inflates to 100 MB."""
    bodies = [os.urandom(10 * MIB), bytes(10 * MIB), b"[" * (10 * MIB), b'{"users":[' + b"{}," * (3 * MIB)]
    for body in bodies:
        answer = shop_service.post(path, body)
        assert answer.status_code in (400, 413), answer.text
    bomb = gzip.compress(bytes(100 * MIB), 9)
    assert len(bomb) < MIB
    assert shop_service.post(path, bomb, headers={"content-encoding": "gzip"}).status_code == 413
    assert shop_service.predict(bid())["degraded"] == []


def test_long_bodies_together_are_bounded(shop: Path) -> None:
    """Of three that leave no room for each other one is answered; room comes back when they are gone."""
    long = json.dumps({"requests": [bid(pad="x" * 900_000)] * 6}).encode()
    with serving_process(shop, PLTV_MAX_UPLOAD_BYTES=str(8 * MIB)) as service, contextlib.ExitStack() as stack:
        lines = [stack.enter_context(connect(service.port)) for _ in range(3)]
        for line in lines:
            line.sendall(post("/predict/batch", long)[:-1])
        told: list[socket.socket] = []
        while len(told) < 2:
            ready, _, _ = select.select([line for line in lines if line not in told], [], [], 60.0)
            assert ready
            told += ready
        assert [reply.status if (reply := read(line)) else 0 for line in told] == [503, 503]
        assert samples(service.metrics(), "pltv_shed_total") == {'{reason="uploads"}': 2.0}
        (last,) = [line for line in lines if line not in told]
        last.sendall(long[-1:])
        answered = read(last)
        assert answered is not None
        assert answered.status == 200
        assert service.post("/predict/batch", long).status_code == 200


def test_half_a_request_holds_no_stop(shop: Path) -> None:
    """A body that never ends is given up when the service stops, long before its own time is over; half a head and
    silence are dropped."""
    with serving_process(shop, PLTV_REQUEST_TIMEOUT_S="600") as service, contextlib.ExitStack() as stack:
        parts = [post("/predict", BODY)[:-10], post("/predict/batch", BODY)[:-10], b"POST /predict", b""]
        lines = [stack.enter_context(connect(service.port)) for _ in parts]
        for line, part in zip(lines, parts, strict=True):
            line.sendall(part)
        service.predict(bid())  # behind them in the queue of what is read
        assert service.stop() == 0
        for line in lines[:2]:
            refused(line, 408)
        assert all(closed(line) for line in lines[2:])
        assert "Cancel" not in service.output


def test_many_silent_connections_keep_nobody_out(hasty_service: ServiceProcess) -> None:
    """A thousand that say nothing, or half of something; then they are gone, and so are their descriptors."""
    with contextlib.ExitStack() as stack:
        lines = [stack.enter_context(connect(hasty_service.port)) for _ in range(1000)]
        for half in lines[::2]:
            half.sendall(b"POST /predict HTTP/1.1\r\nHost: pl")
        for _ in range(20):
            assert hasty_service.predict(bid())["degraded"] == []
        for place, one in enumerate(lines):
            if place % 2:
                assert closed(one)
            else:
                refused(one, 408)
    assert hasty_service.predict(bid())["degraded"] == []
