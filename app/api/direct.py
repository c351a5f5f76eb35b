"""`POST /predict` without a task, a future or an ASGI message: a whole body enters, status, headers and body leave.

For a call that needs no wait, what asyncio and ASGI do around it costs more than the prediction. The connection hands
over the plain calls, which are nearly all; whatever is unusual about one (gzip, chunks, a long body, `Expect`) goes the
ASGI way through `Endpoint`, with the same code behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from time import perf_counter
from typing import Final

from app.api import problems
from app.api.bodies import Limits
from app.api.endpoint import JSON, Edge, check_token
from app.api.predict import Predict

ROUTE: Final = "/predict"
LONGEST: Final = 64 * 1024
"""Bytes of a body that may gather in a connection, in memory that nobody accounts for."""

Respond = Callable[[int, bytes, bytes], None]
"""Status, header lines (each with its end), body."""

_DIGITS: Final = len(str(LONGEST)) + 1
_UNUSUAL: Final = frozenset((b"content-encoding", b"transfer-encoding", b"expect", b"upgrade"))
_JSON_HEAD: Final = b"content-type: " + JSON + b"\r\ncontent-length: "
_PROBLEM_HEAD: Final = b"content-type: " + problems.MEDIA_TYPE + b"\r\ncontent-length: "


class DirectPredict:
    """The short way to `Predict`.

    Parameters
    ----------
    predict : Predict
    edge : Edge
    limits : Limits
    tokens : collection of str or None
        As `Endpoint`'s.
    """

    def __init__(self, predict: Predict, edge: Edge, limits: Limits, tokens: Collection[str] | None) -> None:
        self._predict = predict
        self._edge = edge
        self._longest = min(limits.sent, LONGEST)
        self._tokens = tokens

    def takes(self, headers: Sequence[tuple[bytes, bytes]]) -> bool:
        """Whether a call with these headers (lower-case names) is a plain one."""
        length = -1
        for name, value in headers:
            if name == b"content-length":
                length = int(value) if value.isdigit() and len(value) < _DIGITS else -1
            elif name == b"content-type":
                if value != JSON:
                    return False
            elif name in _UNUSUAL:
                return False
        return 0 <= length <= self._longest

    def start(self, headers: Sequence[tuple[bytes, bytes]], body: bytes, respond: Respond) -> None:
        """Answer a whole call.

        Parameters
        ----------
        headers : sequence of (bytes, bytes)
        body : bytes
        respond : callable
            Called once, now or in a later turn of the event loop.
        """
        start, edge = perf_counter(), self._edge

        def done(outcome: bytes | Exception) -> None:
            if isinstance(outcome, bytes):
                edge.telemetry.request(ROUTE, 200, perf_counter() - start)
                respond(200, _JSON_HEAD + b"%d\r\n" % len(outcome), outcome)
                return
            status, answer, more = edge.told(outcome, ROUTE)
            edge.telemetry.request(ROUTE, status, perf_counter() - start)
            lines = b"".join(name + b": " + value + b"\r\n" for name, value in more)
            respond(status, _PROBLEM_HEAD + b"%d\r\n" % len(answer) + lines, answer)

        if self._tokens is not None:
            try:
                check_token(dict(headers).get(b"authorization"), self._tokens)
            except Exception as error:
                done(error)
                return
        self._predict.start(body, done)
