"""What the application tells its connections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from app.serving.admission import Admission


class Direct(Protocol):
    """The short way of one path."""

    def takes(self, headers: list[tuple[bytes, bytes]]) -> bool:
        """Whether it answers a call with these headers."""

    def start(
        self, headers: list[tuple[bytes, bytes]], body: bytes, respond: Callable[[int, bytes, bytes], None]
    ) -> None:
        """Answer a whole call, now or later: status, header lines, body."""


class Host(Protocol):
    """The application."""

    request_timeout_s: float
    """Seconds within which a request has to be here whole."""

    direct: Direct | None
    """The short way of `/predict`, once there is one."""

    admission: Admission
    """Says when a turn of the event loop takes no more calls in."""

    def turn_away(self, target: bytes) -> bytes | None:
        """Headers and body of a 503 where the service has no time for a call, None where it may come in."""

    def turned_away(self) -> bytes:
        """That 503 with its status line, for one more call to `/predict` in a turn that is full."""

    def refusal(self, status: int, detail: str) -> bytes:
        """Headers and body for what never became a call."""
