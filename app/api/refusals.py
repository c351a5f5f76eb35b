"""Answers to what never becomes a call, in bytes; and which calls do not: those that there is no time for."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote

import httptools

from app.api import problems
from app.api.direct import ROUTE
from app.api.problems import Kind
from app.serving.admission import Admission
from app.telemetry import Telemetry

_TARGET: Final = ROUTE.encode()


class Refusals:
    """Turns calls away before anything is done for them.

    Parameters
    ----------
    admission : Admission
    telemetry : Telemetry
    """

    def __init__(self, admission: Admission, telemetry: Telemetry) -> None:
        self._admission, self._telemetry = admission, telemetry
        self._busy = refusal(503, "more calls have arrived at once than can be answered in time", "overloaded")
        self._whole = b"HTTP/1.1 503 Service Unavailable\r\n" + self._busy
        self._untold = 0

    def turn_away(self, target: bytes) -> bytes | None:
        """Headers and body of a 503 where there is no time for this call, None where it may come in.

        Parameters
        ----------
        target : bytes
            As it was sent. Only `/predict` is ever turned away: health and metrics always answer.
        """
        if not leads_to_predict(target) or self._admission.arrive():
            return None
        self._count()
        return self._busy

    def turned_away(self) -> bytes:
        """That 503 with its status line, for a call to `/predict` in a turn that takes no more."""
        self._count()
        return self._whole

    def _count(self) -> None:
        """Told once a turn, before anything that is asked for after the answer is worked on."""
        if self._untold == 0:
            asyncio.get_running_loop().call_soon(self._tell)
        self._untold += 1

    def _tell(self) -> None:
        self._telemetry.turned_away(ROUTE, "backlog", self._untold)
        self._untold = 0


def leads_to_predict(target: bytes) -> bool:
    """Whether a request's target is `/predict`, in whatever form: with a query, with a host before it, with escapes."""
    if target == _TARGET:
        return True
    try:
        path = httptools.parse_url(target).path
    except httptools.HttpParserInvalidURLError:
        return False
    return path is not None and unquote(path, "latin-1") == ROUTE


def refusal(status: int, detail: str, name: str = "http") -> bytes:
    """Headers and body of an answer to what never became a call."""
    title = HTTPStatus(status).phrase
    body = problems.encode(problems.document(Kind(status, name, title), detail))
    retry = b"retry-after: 1\r\n" if status == HTTPStatus.SERVICE_UNAVAILABLE else b""
    kind = b"content-type: " + problems.MEDIA_TYPE + b"\r\n"
    return retry + kind + b"content-length: %d\r\n\r\n" % len(body) + body
