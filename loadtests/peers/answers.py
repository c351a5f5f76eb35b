"""Whether a server's numbers are right. Questions with their answers enter, how many were answered so leave."""

from __future__ import annotations

import contextlib
import http.client
import json
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from threading import Event, Thread
from typing import Any, Final

from loadtests.peers.wire import Wire

TOLERANCE: Final = 1e-6
_TIMEOUT_S: Final = 30.0
_PAUSE_S: Final = 0.05
_TRIES: Final = 5  # of a question that got no good answer: on a busy machine a deadline may pass


class WrongAnswer(RuntimeError):
    """A server answered 200 with other numbers than LightGBM's: it has no throughput."""


@dataclass(frozen=True, slots=True)
class Question:
    """One body and the scores that LightGBM gives for it.

    Parameters
    ----------
    body : bytes
    scores : sequence of float
    """

    body: bytes
    scores: Sequence[float]


@dataclass(slots=True)
class Tally:
    """What came back.

    Parameters
    ----------
    right : int
        Answered 200 with the numbers that were expected.
    lacking : int
        Refused, unanswered, or said by the server itself to be less than was asked for.
    """

    right: int = 0
    lacking: int = 0


def ask(connection: http.client.HTTPConnection, path: str, question: Question, wire: Wire) -> bool:
    """Ask one question.

    Returns
    -------
    bool
        Whether it got a good answer: 200, and nothing that the server calls degraded.

    Raises
    ------
    WrongAnswer
        The numbers are not those of LightGBM.
    """
    try:
        connection.request("POST", path, question.body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
    except (OSError, http.client.HTTPException):
        connection.close()
        return False
    if answer.status != 200:
        return False
    said = _json(text)
    if isinstance(said, dict) and said.get("degraded"):
        return False
    scores = wire.read(said)
    if scores is None or not agree(scores, question.scores):
        raise WrongAnswer(f"expected {list(question.scores)} of LightGBM, received {scores or text[:200]!r}")
    return True


def agree(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether as many numbers are equal within `TOLERANCE`, absolute below 1 and relative above."""
    return len(one) == len(other) and all(
        math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE) for a, b in zip(one, other, strict=True)
    )


def check(port: int, path: str, questions: Sequence[Question], wire: Wire, callers: int = 8) -> Tally:
    """Ask every question, several at a time: a server that joins requests must not mix them up.

    Raises
    ------
    WrongAnswer
        At the first answer that is wrong.
    RuntimeError
        A question got no good answer however often it was asked; nothing else was asked of the server.
    """
    with ThreadPoolExecutor(callers) as pool:
        shares = [questions[i::callers] for i in range(callers)]
        tallies = list(pool.map(lambda share: _ask_all(port, path, share, wire), shares))
    lacking = sum(tally.lacking for tally in tallies)
    if lacking:
        raise RuntimeError(f"{lacking} of {len(questions)} rows got no good answer while nothing else was asked")
    return Tally(sum(tally.right for tally in tallies))


@contextlib.contextmanager
def watching(port: int, path: str, questions: Sequence[Question], wire: Wire, tally: Tally) -> Iterator[None]:
    """Ask now and then while a load runs, and count into `tally`.

    Raises
    ------
    WrongAnswer
        At the end, where an answer under load was wrong.
    """
    over, wrong = Event(), list[WrongAnswer]()

    def watch() -> None:
        with contextlib.closing(_connection(port)) as connection:
            for question in cycle(questions):
                if over.wait(_PAUSE_S):
                    return
                try:
                    good = ask(connection, path, question, wire)
                except WrongAnswer as error:
                    wrong.append(error)
                    return
                tally.right += good
                tally.lacking += not good

    thread = Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if wrong:
        raise wrong[0]


def _ask_all(port: int, path: str, questions: Sequence[Question], wire: Wire) -> Tally:
    with contextlib.closing(_connection(port)) as connection:
        good = [any(ask(connection, path, question, wire) for _ in range(_TRIES)) for question in questions]
    return Tally(sum(good), len(good) - sum(good))


def _connection(port: int) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
