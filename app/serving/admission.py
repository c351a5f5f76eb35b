"""How much work may be in flight, and until when an answer is worth anything."""

from __future__ import annotations

from app.errors import Overloaded


class Admission:
    """Bounds the work in flight: above the limit a call is refused at once, while those inside keep their speed.

    Counted is work, not connections: idle keep-alive connections cost nothing.

    Parameters
    ----------
    max_in_flight : int
        At least 1.
    """

    def __init__(self, max_in_flight: int) -> None:
        if max_in_flight < 1:
            raise ValueError(f"max_in_flight: expected at least 1, received {max_in_flight}")
        self.max_in_flight = max_in_flight
        self.in_flight = 0

    def enter(self) -> None:
        """Count one call in; pair it with `leave`.

        Raises
        ------
        Overloaded
            When `max_in_flight` calls are under way. The call is not counted.
        """
        if self.in_flight >= self.max_in_flight:
            raise Overloaded(f"{self.in_flight} calls are under way, no more are taken")
        self.in_flight += 1

    def leave(self) -> None:
        """Count one call out."""
        self.in_flight -= 1


def deadline_of(received: float, deadline_ms: int | None, tmax_ms: int | None, default_ms: int) -> float:
    """The instant after which an answer is late.

    Parameters
    ----------
    received : float
        `loop.time()` at receipt, seconds.
    deadline_ms : int or None
        The call's own `ext.deadline_ms`, from receipt; None takes `default_ms`.
    tmax_ms : int or None
        The auction's clock (OpenRTB 2.6, 3.2.1 `tmax`), internet included: it can only lower the deadline. Zero and
        less are what exchanges send for "not set".
    default_ms : int

    Returns
    -------
    float
        On the clock of `received`.
    """
    allowed = default_ms if deadline_ms is None else deadline_ms
    if tmax_ms is not None and 0 < tmax_ms < allowed:
        allowed = tmax_ms
    return received + allowed / 1000.0
