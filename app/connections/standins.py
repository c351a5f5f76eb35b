"""What stands where uvicorn keeps the call under way, for calls that are not its own."""

from __future__ import annotations

from typing import Final, Protocol, cast

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


class Responding(Protocol):
    """Whoever can send an answer."""

    def respond(self, status: int, lines: bytes, body: bytes, keep_alive: bool) -> None:
        """Send it."""


class _Silent:
    """Takes the place of an event that nobody waits for."""

    def set(self) -> None:
        """Nothing."""


class _Refused:
    """A call that was refused: complete already, so that its body is passed over."""

    response_complete = True
    disconnected = False
    keep_alive = True
    message_event = _Silent()


REFUSED: Final = cast(RequestResponseCycle, _Refused())


class DirectCall:
    """A call on the short way.

    Parameters
    ----------
    connection : Responding
    keep_alive : bool
        Whether the client lets the connection live.
    """

    __slots__ = ("connection", "disconnected", "keep_alive", "parts", "response_complete")

    message_event = _Silent()
    response_started = False

    def __init__(self, connection: Responding, keep_alive: bool) -> None:
        self.connection, self.keep_alive = connection, keep_alive
        self.parts: list[bytes] = []
        self.disconnected = self.response_complete = False

    def respond(self, status: int, lines: bytes, body: bytes) -> None:
        """Send the answer."""
        self.response_complete = True
        if not self.disconnected:
            self.connection.respond(status, lines, body, self.keep_alive)

    def as_cycle(self) -> RequestResponseCycle:
        """Itself, as uvicorn knows it."""
        return cast(RequestResponseCycle, self)
