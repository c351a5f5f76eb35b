"""The short way of a plain POST /predict answers what the ASGI way does, byte for byte, in every order of arrival."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from tests.api.served import bid
from tests.support import redis_process
from tests.support.raw_http import Reply, closed, connect, get, post, read, read_all
from tests.support.service_process import ServiceProcess, samples, serving_process
from tests.support.slow_redis import slowed

BODY = json.dumps(bid()).encode()
OTHER = json.dumps({**bid(), "id": "another"}).encode()
WRONG = b'{"id": 1, "imp": []'
LONG = BODY[:-1] + b" " * 70_000 + b"}"


def ask(service: ServiceProcess, *requests: bytes) -> list[Reply]:
    """Answers to requests sent together on one connection, in the order in which they came."""
    with connect(service.port) as line:
        line.sendall(b"".join(requests))
        return read_all(line, len(requests))


def chunked(body: bytes) -> bytes:
    """A POST whose length is not told beforehand."""
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:7], body[7:]) if part)
    return b"POST /predict HTTP/1.1\r\nHost: pltv\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


def taken(line: socket.socket, data: bytes) -> int:
    """How much of it can be sent before the other side no longer takes any."""
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < len(data):
            sent += line.send(data[sent : sent + 65_536])
    return sent


@pytest.mark.parametrize("body", [BODY, WRONG, b"", b"null", b'{"id": "x"}'])
def test_both_ways_give_the_same_bytes(shop_service: ServiceProcess, body: bytes) -> None:
    """Status, headers and body of good answers and of problems."""
    (direct,) = ask(shop_service, post("/predict", body, Content_Type="application/json"))
    for unusual in (
        chunked(body),
        post("/predict?way=asgi", body),
        post("/predict", gzip.compress(body), Content_Encoding="gzip"),
        post("/predict", body, Content_Type="text/json"),
    ):
        (asgi,) = ask(shop_service, unusual)
        assert (asgi.status, asgi.body) == (direct.status, direct.body)
        assert {k: v for k, v in asgi.headers.items() if k != "connection"} == direct.headers


def test_a_long_body_and_a_wrong_type_are_the_asgi_ways(shop_service: ServiceProcess) -> None:
    """What the short way does not take is answered as ever."""
    plain, long = ask(shop_service, post("/predict", BODY), post("/predict", LONG))
    assert long.body == plain.body
    (told,) = ask(shop_service, post("/predict", BODY, Content_Type="text/plain"))
    assert (told.status, told.headers["content-type"]) == (415, "application/problem+json")


@pytest.mark.parametrize("wish", ["h2c", "websocket", "HTTP/3.0, h2c"])
def test_a_wish_for_another_protocol_is_passed_over(shop_service: ServiceProcess, wish: str) -> None:
    """HTTP/1.1 answers in HTTP/1.1, with the whole body read: at once, in pieces, and again on the same connection."""
    (expected,) = ask(shop_service, post("/predict", BODY))
    call = post("/predict", BODY, Connection="Upgrade, HTTP2-Settings", Upgrade=wish, HTTP2_Settings="AAMAAABk")
    plain = get("/health/live").replace(
        b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: " + wish.encode() + b"\r\n\r\n"
    )
    told = ask(
        shop_service, call, plain, chunked(BODY).replace(b"\r\n", b"\r\nConnection: upgrade\r\nUpgrade: a\r\n", 1)
    )
    assert [answer.status for answer in told] == [200, 200, 200]
    assert told[0].body == told[2].body == expected.body
    with connect(shop_service.port) as line:
        for cut in (30, len(call) - len(BODY) - 3, len(call) - 5):
            line.sendall(call[:cut])
            shop_service.predict(bid())  # so that the pieces are read apart
            line.sendall(call[cut:])
            assert read_all(line, 1)[0].body == expected.body


def test_many_wishes_are_read_one_after_the_other(shop_service: ServiceProcess) -> None:
    """Thousands in one packet, and a tunnel, which is refused in one line."""
    wish = b"GET /health/live HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    assert {answer.status for answer in ask(shop_service, wish * 2000)[:1]} == {200}
    with connect(shop_service.port) as line:
        line.sendall(b"CONNECT pltv:80 HTTP/1.1\r\nHost: pltv:80\r\n\r\n")
        (told,) = read_all(line, 1)
        assert told.status == 400
        assert closed(line)


def test_calls_sent_ahead_are_answered_in_their_order(shop_service: ServiceProcess) -> None:
    """Plain and unusual ones, and other paths, mixed on one connection before the first answer is there."""
    answers = ask(
        shop_service,
        post("/predict", BODY),
        post("/predict", OTHER),
        get("/health/live"),
        chunked(BODY),
        post("/predict", WRONG),
        post("/predict", OTHER),
    )
    assert [answer.status for answer in answers] == [200, 200, 200, 200, 400, 200]
    ids = [json.loads(answers[place].body)["id"] for place in (0, 1, 3, 5)]
    assert ids == [bid()["id"], "another", bid()["id"], "another"]


def test_a_body_in_pieces_is_one_body(shop_service: ServiceProcess) -> None:
    """However it is cut."""
    whole = post("/predict", BODY)
    (expected,) = ask(shop_service, whole)
    with connect(shop_service.port) as line:
        for cut in (1, 40, len(whole) - len(BODY) + 1, len(whole) - 1):
            line.sendall(whole[:cut])
            shop_service.predict(bid())  # so that the pieces are read apart
            line.sendall(whole[cut:])
            answer = read(line)
            assert answer is not None
            assert answer.body == expected.body


def test_who_wants_the_connection_closed_gets_it(shop_service: ServiceProcess) -> None:
    """After a whole answer that says so; HTTP/1.0 too."""
    for request in (
        post("/predict", BODY, Connection="close"),
        post("/predict", BODY).replace(b"HTTP/1.1", b"HTTP/1.0"),
    ):
        with connect(shop_service.port) as line:
            line.sendall(request)
            answer = read(line)
            assert answer is not None
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert closed(line)


MANY_HEADERS = b"GET /x HTTP/1.1\r\n" + b"".join(b"a%d: b\r\n" % n for n in range(200)) + b"\r\n"
BROKEN = {
    "headers": MANY_HEADERS,
    "url": b"GET http://[ HTTP/1.1\r\nHost: pltv\r\n\r\n",
    "chunk": b"POST /predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nno length\r\n",
    "no http": b"} and more than Content-Length said",
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize(
    "ahead",
    [
        [post("/predict", BODY)],
        [post("/predict?way=asgi", BODY)],
        [post("/predict", BODY), post("/predict", OTHER), get("/health/live"), chunked(OTHER)],
    ],
    ids=["short", "asgi", "several"],
)
def test_what_follows_takes_no_answer_away(shop_service: ServiceProcess, ahead: list[bytes], broken: bytes) -> None:
    """Calls with something broken behind them get their own answers, not its refusal; then the connection closes."""
    expected = ask(shop_service, *ahead)
    with connect(shop_service.port) as line:
        line.sendall(b"".join(ahead) + broken + post("/predict", BODY))
        answers = read_all(line, len(ahead))
        assert closed(line)
    assert [(a.status, a.body) for a in answers] == [(e.status, e.body) for e in expected]
    assert answers[-1].headers["connection"] == "close"


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_what_follows_an_answer_is_told(shop_service: ServiceProcess, broken: bytes) -> None:
    """Once every earlier call has been answered, the refusal is what is broken's own."""
    with connect(shop_service.port) as line:
        line.sendall(post("/predict", BODY))
        assert read_all(line, 1)[0].status == 200
        line.sendall(broken)
        (told,) = read_all(line, 1)
        assert told.status == (431 if broken is MANY_HEADERS else 400)
        assert told.headers["connection"] == "close"
        assert closed(line)


def test_who_reads_no_refusals_is_not_read_from(shop: Path) -> None:
    """While no call is taken in, refusals that nobody reads do not pile up: the sender comes to a stop."""
    patient: dict[str, Any] = {
        "PLTV_REQUEST_TIMEOUT_S": "600",
        "PLTV_REDIS_TIMEOUT_MS": "600000",
        "PLTV_NEAR_BYTES": "0",
    }
    call = post("/predict", json.dumps(bid(user={"id": "somebody"})).encode())
    with (
        redis_process.running() as server,
        slowed(server.port) as relay,
        serving_process(
            shop, PLTV_REDIS_URL=f"redis://127.0.0.1:{relay.port}/0", PLTV_MAX_IN_FLIGHT="1", **patient
        ) as service,
        connect(service.port) as first,
        connect(service.port, timeout=2.0) as flood,
    ):
        relay.delay_s = 600.0
        first.sendall(call)
        while samples(service.metrics(), "pltv_in_flight")[""] == 0.0:
            time.sleep(0.01)
        flow = b"POST /predict HTTP/1.1\r\n\r\n" * 640_000  # more than the system keeps of unread bytes
        assert taken(flood, flow) < len(flow)
        assert service.client.get("/health/live").status_code == 200


def test_a_caller_who_leaves_harms_nobody(shop_service: ServiceProcess) -> None:
    """Gone before the answer: the next is served, and nothing is logged."""
    for _ in range(20):
        with connect(shop_service.port) as line:
            line.sendall(post("/predict", BODY) * 3)
    assert shop_service.predict(bid())["degraded"] == []
    deadline = time.monotonic() + 60.0
    while samples(shop_service.metrics(), "pltv_in_flight")[""] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert samples(shop_service.metrics(), "pltv_in_flight")[""] == 0.0
    assert "xception" not in shop_service.output


def test_tokens_are_held_on_both_ways(shop: Path) -> None:
    """401 without, 200 with, whichever way a call goes."""
    known = hashlib.sha256(b"secret").hexdigest()
    with serving_process(shop, PLTV_API_TOKENS=known) as service:
        for request in (post("/predict", BODY), post("/predict?way=asgi", BODY)):
            (refused,) = ask(service, request)
            assert refused.status == 401
            (wrong,) = ask(service, request.replace(b"Host: pltv", b"Host: pltv\r\nAuthorization: Bearer other"))
            assert wrong.status == 401
            (taken,) = ask(service, request.replace(b"Host: pltv", b"Host: pltv\r\nAuthorization: Bearer secret"))
            assert taken.status == 200
