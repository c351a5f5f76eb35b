"""How a connection ends: the times that it may wait, what is told of a broken request, and hanging up."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from enum import Enum
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from app.connections.host import Host
from app.connections.standins import REFUSED
from app.connections.upgrades import Unupgraded


class Place(Enum):
    """Which part of a request comes next."""

    BETWEEN = "between"
    HEAD = "head"
    BODY = "body"


class Ending(Unupgraded):
    """A connection that waits for nothing longer than it may."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._host = cast(Host, self.app)
        self._since: float | None = self.loop.time()  # of the first byte that a request still lacks its end of
        self._stuck: float | None = None  # since when the client reads nothing
        self._idle: float | None = None  # since when nothing was asked after a call on the short way
        self._closing = False
        self._over = False  # what comes in from here on is passed over
        self._place = Place.BETWEEN
        self._running: RequestResponseCycle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone: no call of his is told anything, those that he sent ahead included."""
        for cycle in (self._running, *(cycle for cycle, _ in self.pipeline)):
            if cycle is not None:
                cycle.disconnected = True
        self.pipeline.clear()
        super().connection_lost(exc)

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

    def sweep(self, now: float, most_s: float) -> None:
        """Close what has waited too long: for the rest of a request, for a reader, or for its own end.

        Parameters
        ----------
        now : float
            `loop.time()`.
        most_s : float
            Seconds that a client may take, where the application's own limit is not lower.
        """
        allowed = min(self._host.request_timeout_s, most_s)
        if self._closing or (self._stuck is not None and now - self._stuck > allowed):
            self._hang_up()
        elif self.transport.is_closing():
            self._closing = True  # whoever has not taken the rest by the next look has had his time
        elif self._since is not None and now - self._since > allowed:
            if self._place is Place.BETWEEN:
                self.transport.close()  # nothing was ever asked here
            else:
                self._give_up(408, "expected a whole request, received a part of one in the time there is")
        elif self._idle is not None and now - self._idle > self.timeout_keep_alive:
            self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle  # `cycle` of the protocol is the newest, which need not be the one under way
        super()._start_asgi_task(cycle, app)

    def _give_up(self, status: int, detail: str) -> None:
        """Tell what is wrong with what comes in now, and close; calls that came before it are answered first."""
        if self._over or self.transport.is_closing():
            return
        answers, last = self._may_answer(), self._last_whole()
        self._over, self._since, self._place = True, None, Place.BETWEEN
        if last is not None:
            last.keep_alive = False  # its answer closes
            return
        if answers:
            self.transport.write(STATUS_LINE[status] + b"connection: close\r\n" + self._host.refusal(status, detail))
        self.transport.close()

    def _last_whole(self) -> RequestResponseCycle | None:
        """The newest of the calls that are here whole and not answered; the one that comes in now is forgotten."""
        if self._place is not Place.BODY:
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
        if self.cycle is None or self.cycle is REFUSED:
            return True
        if self._place is Place.BODY:
            return not self.pipeline and not self.cycle.response_started
        return self.cycle.response_complete


def sweep_all(connections: set[Any], most_s: float = float("inf")) -> None:
    """Look at every open connection; `most_s` as in `Ending.sweep`."""
    now = asyncio.get_running_loop().time()
    for connection in list(connections):
        if isinstance(connection, Ending) and connection.transport is not None:
            connection.sweep(now, most_s)
