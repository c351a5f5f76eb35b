"""Connections that cost no more than they bring: bounded heads, bounded waits, a refusal before any work is done, and
a short way for the plain call.

uvicorn reads a head of any size, waits for a body without end and starts a task for each call. Here a head has a
limit, a request has to be whole within a time, an answer that nobody reads is dropped, and a call that the service has
no time for is refused where its head was read: a refusal must cost a fraction of an answer, or an overload eats itself.
A plain `POST /predict` is answered from the parser's own callbacks; every other call is uvicorn's.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from enum import Enum
from typing import Any, Final, Protocol, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

MAX_HEAD: Final = 32 * 1024
"""Bytes that the request line and the headers may have."""
MAX_HEADERS: Final = 100


class Direct(Protocol):
    """The short way of one path."""

    def takes(self, headers: list[tuple[bytes, bytes]]) -> bool:
        """Whether it answers a call with these headers."""

    def start(
        self, headers: list[tuple[bytes, bytes]], body: bytes, respond: Callable[[int, bytes, bytes], None]
    ) -> None:
        """Answer a whole call, now or later: status, header lines, body."""


class Host(Protocol):
    """What the application tells its connections."""

    request_timeout_s: float
    """Seconds within which a request has to be here whole."""

    direct: Direct | None
    """The short way of `/predict`, once there is one."""

    def turn_away(self, path: bytes) -> bytes | None:
        """Headers and body of a 503 where the service has no time for a call, None where it may come in."""

    def refusal(self, status: int, detail: str) -> bytes:
        """Headers and body for what never became a call."""


class _Place(Enum):
    """Which part of a request comes next."""

    BETWEEN = "between"
    HEAD = "head"
    BODY = "body"


class _Stop(Exception):
    """Ends the parser: nothing after this place is read."""


class _Silent:
    """Takes the place of an event that nobody waits for."""

    def set(self) -> None:
        """Nothing."""


class _Refused:
    """Stands where uvicorn keeps the call under way: complete already, so that its body is passed over."""

    response_complete = True
    disconnected = False
    keep_alive = True
    message_event = _Silent()


_REFUSED: Final = cast(RequestResponseCycle, _Refused())


class _Call:
    """Stands there for a call on the short way."""

    __slots__ = ("connection", "disconnected", "keep_alive", "parts", "response_complete")

    message_event = _Silent()
    response_started = False

    def __init__(self, connection: Connection, keep_alive: bool) -> None:
        self.connection, self.keep_alive = connection, keep_alive
        self.parts: list[bytes] = []
        self.disconnected = self.response_complete = False

    def respond(self, status: int, lines: bytes, body: bytes) -> None:
        """Send the answer."""
        self.response_complete = True
        if not self.disconnected:
            self.connection.respond(status, lines, body, self.keep_alive)


class Connection(HttpToolsProtocol):
    """One connection of a client."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._host = cast(Host, self.app)
        self._since: float | None = self.loop.time()  # of the first byte that a request still lacks its end of
        self._stuck: float | None = None  # since when the client reads nothing
        self._closing = False
        self._over = False  # what comes in from here on is passed over
        self._place = _Place.BETWEEN
        self._head_bytes = 0
        self._begins = False
        self._answer: bytes | None = None  # a refusal, to be sent when the body has passed
        self._call: _Call | None = None  # the one whose body comes in on the short way
        self._running: RequestResponseCycle | None = None
        self._idle: float | None = None  # since when nothing was asked after such a call

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone: no call of his is told anything, those that he sent ahead included."""
        for cycle in (self._running, *(cycle for cycle, _ in self.pipeline)):
            if cycle is not None:
                cycle.disconnected = True
        self.pipeline.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of requests."""
        if self._over:
            return
        self._begins = False
        super().data_received(data)
        if self._place is _Place.BETWEEN:
            self._rest()
        elif self._place is _Place.HEAD and not self._begins:  # what it began in may have held earlier requests
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD:
                self._give_up(431, f"expected at most {MAX_HEAD} bytes before the body, received more")

    def on_message_begin(self) -> None:
        """A request begins. uvicorn's own part of it waits until it is known to be needed (`_asgi`)."""
        self.url, self.headers, self.expect_100_continue = b"", [], False
        self._since, self._place, self._head_bytes = self.loop.time(), _Place.HEAD, 0
        self._begins, self._idle = True, None

    def on_headers_complete(self) -> None:
        """A head is here: a call begins, or is refused."""
        answered = self._may_answer()
        if answered:
            self._answer = self._host.turn_away(self.url)
            if self._answer is not None:
                self.cycle, self._place = _REFUSED, _Place.BODY
                return
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if len(self.headers) > MAX_HEADERS or size > MAX_HEAD:
            self._give_up(431, f"expected at most {MAX_HEADERS} headers of {MAX_HEAD} bytes, received more")
            raise _Stop
        if answered and self._is_plain():
            self._call = _Call(self, self.parser.should_keep_alive())
            self.cycle = self._running = cast(RequestResponseCycle, self._call)
        else:
            self._asgi()
        self._place = _Place.BODY

    def on_body(self, body: bytes) -> None:
        """A part of a body."""
        if self._call is not None:
            self._call.parts.append(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """A request is here whole."""
        self._since, self._place = None, _Place.BETWEEN
        call, self._call = self._call, None
        if call is not None and self._host.direct is not None:
            parts = call.parts
            self._host.direct.start(self.headers, parts[0] if len(parts) == 1 else b"".join(parts), call.respond)
            return
        if self._answer is None:
            super().on_message_complete()
            return
        answer, self._answer = self._answer, None
        lines, _, body = answer.partition(b"\r\n\r\n")
        self.respond(503, lines + b"\r\n", body, self.parser.should_keep_alive())

    def respond(self, status: int, lines: bytes, body: bytes, keep_alive: bool) -> None:
        """Send an answer that no ASGI application sends.

        Parameters
        ----------
        status : int
        lines : bytes
            Headers, each with its end.
        body : bytes
        keep_alive : bool
            Whether the client lets the connection live.
        """
        if self.transport.is_closing():
            return
        keep = keep_alive and not self.server_state.default_headers
        end = b"\r\n" if keep else b"connection: close\r\n\r\n"
        self.transport.write(b"".join((STATUS_LINE[status], lines, end, body)))
        if not keep:
            self.transport.close()
        if self.pipeline:
            self.on_response_complete()
        else:
            self.server_state.total_requests += 1
            self._idle = self.loop.time()  # `sweep` closes what stays so: a timer a call would cost more than a look

    def pause_writing(self) -> None:
        """The client reads slower than it is answered: it is not read from either, or refusals would pile up."""
        super().pause_writing()
        self._stuck = self.loop.time()
        if not self.transport.is_closing():
            self.flow.pause_reading()

    def resume_writing(self) -> None:
        """It has caught up."""
        super().resume_writing()
        self._stuck = None
        if not self.pipeline and not self.transport.is_closing():
            self.flow.resume_reading()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP is told like every other error."""
        self._give_up(400, "expected HTTP/1.1, received something else")

    def sweep(self, now: float) -> None:
        """Close what has waited too long: for the rest of a request, for a reader, or for its own end.

        Parameters
        ----------
        now : float
            `loop.time()`.
        """
        allowed = self._host.request_timeout_s
        if self._closing or (self._stuck is not None and now - self._stuck > allowed):
            self._hang_up()
        elif self.transport.is_closing():
            self._closing = True  # whoever has not taken the rest by the next look has had his time
        elif self._since is not None and now - self._since > allowed:
            if self._place is _Place.BETWEEN:
                self.transport.close()  # nothing was ever asked here
            else:
                self._give_up(408, "expected a whole request, received a part of one in the time there is")
        elif self._idle is not None and now - self._idle > self.timeout_keep_alive:
            self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle  # `cycle` of the protocol is the newest, which need not be the one under way
        super()._start_asgi_task(cycle, app)

    def _rest(self) -> None:
        """Empty lines between requests are no request: they ended uvicorn's wait for one, and begin another."""
        if self._idle is None and self.cycle is not None and self.cycle.response_complete:
            self._idle = self.loop.time()

    def _is_plain(self) -> bool:
        """Whether the call whose head is here goes the short way: nothing of it may need a wait for the client."""
        direct = self._host.direct
        return (
            direct is not None
            and self.url == b"/predict"
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
            and self._stuck is None
            and not self.pipeline
            and direct.takes(self.headers)
        )

    def _asgi(self) -> None:
        """Let uvicorn have the call, from the beginning of its message."""
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers += headers
        super().on_headers_complete()

    def _give_up(self, status: int, detail: str) -> None:
        """Tell what is wrong with what comes in now, and close; calls that came before it are answered first."""
        if self._over or self.transport.is_closing():
            return
        answers, last = self._may_answer(), self._last_whole()
        self._over, self._since, self._place = True, None, _Place.BETWEEN
        if last is not None:
            last.keep_alive = False  # its answer closes
            return
        if answers:
            self.transport.write(STATUS_LINE[status] + b"connection: close\r\n" + self._host.refusal(status, detail))
        self.transport.close()

    def _last_whole(self) -> RequestResponseCycle | None:
        """The newest of the calls that are here whole and not answered; the one that comes in now is forgotten."""
        if self._place is not _Place.BODY:
            return None if self.cycle is None or self.cycle.response_complete else self.cycle
        if not self.pipeline:
            return None
        self.pipeline.popleft()
        return self.pipeline[0][0] if self.pipeline else self._running

    def _hang_up(self) -> None:
        """Close at once: without lingering the system too forgets what nobody reads."""
        with contextlib.suppress(OSError):
            now = struct.pack("ii", 1, 0)
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)
        self.transport.abort()

    def _may_answer(self) -> bool:
        """Whether an answer from here would be taken for the one to what comes in now."""
        if self.cycle is None or self.cycle is _REFUSED:
            return True
        if self._place is _Place.BODY:
            return not self.pipeline and not self.cycle.response_started
        return self.cycle.response_complete


def sweep_all(connections: set[Any]) -> None:
    """Look at every open connection."""
    now = asyncio.get_running_loop().time()
    for connection in list(connections):
        if isinstance(connection, Connection) and connection.transport is not None:
            connection.sweep(now)
