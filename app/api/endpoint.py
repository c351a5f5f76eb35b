"""One ASGI endpoint: authorise, read the body, call, answer, count. Every door of the service is one of these.

No framework stands between the socket and the call: a route that passes through FastAPI's dependency machinery costs
half the requests a second of a worker.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from time import perf_counter
from typing import Final

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from app.api import problems
from app.api.bodies import Headers, Limits, read_body
from app.api.failures import log_unexpected, unexpected
from app.api.problems import Kind, Problems
from app.errors import Overloaded, PltvError, Unauthorized
from app.serving.admission import Uploads
from app.telemetry import Telemetry

JSON: Final = b"application/json"
Handler = Callable[[bytes], Awaitable[bytes]]

_NO_HEADERS: Final[list[tuple[bytes, bytes]]] = []


@dataclass(frozen=True, slots=True)
class Edge:
    """What all endpoints share.

    Parameters
    ----------
    problems : Problems
    unexpected : Kind
        How an error that nobody raised on purpose is told.
    telemetry : Telemetry
    """

    problems: Problems
    unexpected: Kind
    telemetry: Telemetry

    def told(self, error: Exception, route: str) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
        """Status, body and further headers of an error's answer; what nobody raised on purpose is logged."""
        if not isinstance(error, PltvError):
            log_unexpected(error, route)
            return self.unexpected.status, unexpected(self.unexpected), _NO_HEADERS
        if isinstance(error, Overloaded):
            self.telemetry.shed(error.reason)
        problem = self.problems.document(error)
        return problem["status"], problems.encode(problem), self.problems.headers(error)


class Endpoint:
    """An ASGI application for one path.

    Parameters
    ----------
    route : str
        The path, as metrics name it.
    method : str
        The one method that it answers.
    handle : async callable
        Body → answer.
    edge : Edge
    limits : Limits or None
        None: a body is neither read nor expected.
    uploads : Uploads or None
        Bounds the memory of long bodies; None where they are short.
    tokens : collection of str or None
        sha256 (hex) of the bearer tokens that open it; None: it is open; empty: it is shut.
    media_type : bytes
        Of a good answer.
    """

    def __init__(
        self,
        route: str,
        method: str,
        handle: Handler,
        edge: Edge,
        *,
        limits: Limits | None = None,
        uploads: Uploads | None = None,
        tokens: Collection[str] | None = None,
        media_type: bytes = JSON,
    ) -> None:
        self.route = route
        self.method = method
        self._handle = handle
        self._edge = edge
        self._limits = limits
        self._uploads = uploads
        self._tokens = tokens
        self._media_type = media_type

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call; nothing but a cancellation leaves."""
        start = perf_counter()
        status, media, headers = 200, self._media_type, _NO_HEADERS
        try:
            sent: Headers = dict(scope["headers"])
            if self._tokens is not None:
                check_token(sent.get(b"authorization"), self._tokens)
            if self._uploads is not None and self._limits is not None:
                with self._uploads.one() as take:
                    body = await read_body(sent, receive, self._limits, take)
                    start = perf_counter()
                    answer = await self._handle(body)
            else:
                body = b"" if self._limits is None else await read_body(sent, receive, self._limits)
                start = perf_counter()
                answer = await self._handle(body)
        except ClientDisconnect:
            return
        except Exception as error:
            status, answer, headers = self._edge.told(error, self.route)
            media = problems.MEDIA_TYPE
        # Counted before it is sent: whoever has the answer finds it in the next scrape.
        self._edge.telemetry.request(self.route, status, perf_counter() - start)
        await reply(send, status, answer, media, headers)


async def reply(
    send: Send, status: int, body: bytes, media_type: bytes, headers: list[tuple[bytes, bytes]] = _NO_HEADERS
) -> None:
    """Send a whole response."""
    own = [(b"content-type", media_type), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": own + headers})
    await send({"type": "http.response.body", "body": body})


def check_token(authorization: bytes | None, digests: Collection[str]) -> None:
    """Hold a bearer token against the hashes of those that are known, in constant time.

    Raises
    ------
    Unauthorized
        Absent or unknown.
    """
    scheme, _, token = (authorization or b"").partition(b" ")
    if scheme.lower() != b"bearer" or not token:
        raise Unauthorized("expected Authorization: Bearer and a token")
    digest = hashlib.sha256(token.strip()).hexdigest()
    known = [hmac.compare_digest(digest, other) for other in digests]
    if not any(known):
        raise Unauthorized("expected a token that is known here")
