"""A server's numbers: what counts as right, what as lacking, and that a wrong one is never let pass."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from threading import Event, Thread
from typing import Any

import pytest

from loadtests.peers.answers import Question, Tally, WrongAnswer, agree, check, watching
from loadtests.peers.wire import BARE, ECHO, MATRIX, OPEN_INFERENCE, ROW, Wire

QUESTIONS = [Question(ROW.encode([float(i), 2.0]), [i + 2.0, 2.0 * i]) for i in range(24)]


def right(features: list[float]) -> tuple[int, Any]:
    """Sum and product of two numbers."""
    return 200, {"scores": [features[0] + features[1], features[0] * features[1]]}


@contextmanager
def answering(answer: Callable[[list[float]], tuple[int, Any]]) -> Iterator[int]:
    """A server on a free port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            status, said = answer(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["features"])
            text = said if isinstance(said, bytes) else json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("one", "other", "agreed"),
    [
        ([0.5, 2.0], [0.5, 2.0], True),
        ([0.5], [0.5 + 9e-7], True),
        ([0.5], [0.5 + 2e-6], False),
        ([1e6], [1e6 + 0.9], True),
        ([1e6], [1e6 + 2.0], False),
        ([0.5], [float("nan")], False),
        ([0.5], [0.5, 0.5], False),
    ],
)
def test_numbers_agree_within_a_millionth(one: list[float], other: list[float], agreed: bool) -> None:
    """Absolute for small ones, relative for large ones; another count or no number at all does not agree."""
    assert agree(one, other) is agreed


def test_right_answers_are_counted() -> None:
    """Every question is asked once, several at a time."""
    with answering(right) as port:
        assert check(port, "/", QUESTIONS, ROW) == Tally(right=24, lacking=0)


def test_a_wrong_answer_is_refused() -> None:
    """One row of many with another number, and the server has no throughput."""

    def wrong_once(features: list[float]) -> tuple[int, Any]:
        status, said = right(features)
        return status, {"scores": [said["scores"][0] + 1e-4, said["scores"][1]]} if features[0] == 17.0 else said

    with answering(wrong_once) as port, pytest.raises(WrongAnswer, match=r"expected \[19\.0, 34\.0\] of LightGBM"):
        check(port, "/", QUESTIONS, ROW)


@pytest.mark.parametrize(
    "said", [b"busy", {"scores": None}, {"other": []}, [], {"scores": [1.0]}, {"scores": ["x", 2]}]
)
def test_an_answer_of_another_form_is_wrong(said: Any) -> None:
    """200 with a body that does not hold the numbers is no good answer either."""
    with answering(lambda _: (200, said)) as port, pytest.raises(WrongAnswer, match="received"):
        check(port, "/", QUESTIONS, ROW)


@pytest.mark.parametrize("answer", [(503, b"later"), (200, {"scores": [9.0], "degraded": ["deadline"]})])
def test_what_a_server_could_not_answer_is_lacking_and_not_wrong(answer: tuple[int, Any]) -> None:
    """Refused, or said to be less than was asked for: without load that is a fault, and it is told how many."""
    with answering(lambda _: answer) as port, pytest.raises(RuntimeError, match="24 of 24 rows") as caught:
        check(port, "/", QUESTIONS, ROW)
    assert not isinstance(caught.value, WrongAnswer)


def test_a_question_that_was_refused_is_asked_again() -> None:
    """A deadline that passed once on a busy machine is no fault of a server: the numbers count."""
    refused = set()

    def second_time(features: list[float]) -> tuple[int, Any]:
        if features[0] in refused:
            return right(features)
        refused.add(features[0])
        return 503, b"later"

    with answering(second_time) as port:
        assert check(port, "/", QUESTIONS, ROW) == Tally(right=24, lacking=0)


def test_answers_that_turn_wrong_under_load_are_found() -> None:
    """The watch asks on while a load runs; the end of the load raises what it saw."""
    asked, turned = count(), Event()

    def turning(features: list[float]) -> tuple[int, Any]:
        if next(asked) < 3:
            return right(features)
        turned.set()
        return 200, {"scores": [0.0, 0.0]}

    tally = Tally()
    with answering(turning) as port, pytest.raises(WrongAnswer), watching(port, "/", QUESTIONS[1:], ROW, tally):
        assert turned.wait(30.0)
    assert tally == Tally(right=3, lacking=0)


def test_a_refusal_under_load_is_counted_and_the_watch_goes_on() -> None:
    """A shed answer fails nothing: the load itself counts it as refused."""
    asked, enough = count(), Event()

    def shedding(features: list[float]) -> tuple[int, Any]:
        place = next(asked)
        if place == 6:
            enough.set()
        return right(features) if place % 2 else (503, b"later")

    tally = Tally()
    with answering(shedding) as port, watching(port, "/", QUESTIONS, ROW, tally):
        assert enough.wait(30.0)
    assert tally.right >= 3
    assert tally.lacking >= 3


@pytest.mark.parametrize(
    ("wire", "answer"),
    [
        (ROW, {"scores": [1.0, 2.0]}),
        (BARE, [1.0, 2.0]),
        (MATRIX, [[1.0, 2.0]]),
        (OPEN_INFERENCE, {"outputs": [{"name": "scores", "shape": [1, 2], "data": [1.0, 2.0]}]}),
        (ECHO, {"features": [1.0, 2.0]}),
    ],
)
def test_every_protocol_carries_the_row_and_brings_the_scores(wire: Wire, answer: Any) -> None:
    """The numbers of the row stand in the body as they are; the scores come out of an answer, and of no other."""
    assert "[0.125,7.0]" in wire.encode([0.125, 7.0]).decode()
    assert wire.read(answer) == [1.0, 2.0]
    assert wire.read(None) is None
