"""One connection: bytes enter, calls begin or are refused, answers leave."""

from __future__ import annotations

from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from app.connections.ends import Ending, Place
from app.connections.glance import is_plain_call
from app.connections.standins import REFUSED, DirectCall

MAX_HEAD: Final = 32 * 1024
"""Bytes that the request line and the headers may have."""
MAX_HEADERS: Final = 100
PREDICT: Final = b"/predict"
"""The target that has a short way, and that alone is ever turned away."""


class _Stop(Exception):
    """Ends the parser: nothing after this place is read."""


class Connection(Ending):
    """One connection of a client."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._admission = self._host.admission
        self._head_bytes = 0
        self._begins = False
        self._answer: bytes | None = None  # a refusal, to be sent when the body has passed
        self._call: DirectCall | None = None  # the one whose body comes in on the short way

    def data_received(self, data: bytes) -> None:
        """Bytes of requests."""
        if self._over or (self._admission.full and self._turned_away_unread(data)):
            return
        self._begins = False
        super().data_received(data)
        if self._place is Place.BETWEEN:
            self._rest()
        elif self._place is Place.HEAD and not self._begins:  # what it began in may have held earlier requests
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD:
                self._give_up(431, f"expected at most {MAX_HEAD} bytes before the body, received more")

    def on_message_begin(self) -> None:
        """A request begins. uvicorn's own part of it waits until it is known to be needed (`_asgi`)."""
        self.url, self.headers, self.expect_100_continue = b"", [], False
        self._since, self._place, self._head_bytes = self.loop.time(), Place.HEAD, 0
        self._begins, self._idle = True, None

    def on_headers_complete(self) -> None:
        """A head is here: a call begins, or is refused."""
        if self.is_upgrade():
            return
        answered = self._may_answer()
        if answered:
            self._answer = self._host.turn_away(self.url)
            if self._answer is not None:
                self.cycle, self._place = REFUSED, Place.BODY
                return
        self._check_head()
        if answered and self._is_plain():
            self._call = DirectCall(self, self.parser.should_keep_alive())
            self.cycle = self._running = self._call.as_cycle()
        else:
            self._asgi()
        self._place = Place.BODY

    def on_body(self, body: bytes) -> None:
        """A part of a body."""
        if self._call is not None:
            self._call.parts.append(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """A request is here whole."""
        if self.told_again():
            return
        self._since, self._place = None, Place.BETWEEN
        call, self._call = self._call, None
        if call is not None and self._host.direct is not None:
            parts = call.parts
            self._host.direct.start(self.headers, parts[0] if len(parts) == 1 else b"".join(parts), call.respond)
            return
        if self._answer is None:
            super().on_message_complete()
            return
        answer, self._answer = self._answer, None
        self._refuse(answer)

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

    def _turned_away_unread(self, data: bytes) -> bool:
        """Refuse one whole plain call without its being parsed, in a turn that takes no more: of what a refusal costs
        here this is what is not the system's."""
        ready = self.cycle is None or self.cycle.response_complete
        if not ready or self._place is not Place.BETWEEN or self._stuck is not None or self.pipeline:
            return False
        if self.server_state.default_headers or self.transport.is_closing() or not is_plain_call(data):
            return False
        if self.timeout_keep_alive_task is not None:
            self._unset_keepalive_if_required()
        self._since, self._idle = None, self.loop.time()
        self.server_state.total_requests += 1
        self.transport.write(self._host.turned_away())
        return True

    def _refuse(self, answer: bytes) -> None:
        lines, _, body = answer.partition(b"\r\n\r\n")
        self.respond(503, lines + b"\r\n", body, self.parser.should_keep_alive())

    def _check_head(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if len(self.headers) > MAX_HEADERS or size > MAX_HEAD:
            self._give_up(431, f"expected at most {MAX_HEADERS} headers of {MAX_HEAD} bytes, received more")
            raise _Stop

    def _rest(self) -> None:
        """Empty lines between requests are no request: they ended uvicorn's wait for one, and begin another."""
        if self._idle is None and self.cycle is not None and self.cycle.response_complete:
            self._idle = self.loop.time()

    def _is_plain(self) -> bool:
        """Whether the call whose head is here goes the short way: nothing of it may need a wait for the client."""
        direct = self._host.direct
        return (
            direct is not None
            and self.url == PREDICT
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
