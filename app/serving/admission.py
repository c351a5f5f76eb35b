"""How much work may be under way, how much a turn of the loop takes in, and until when an answer is worth anything."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from time import thread_time
from typing import Final

from app.errors import Overloaded

LEAST_A_TURN: Final = 8
"""Calls that a turn takes in whatever they cost."""

_FIRST_COST_S: Final = 150e-6
_JOINED: Final = 4  # calls alone cost more than calls joined: only turns with this many tell of the cost under load
_SMOOTHING: Final = 0.05
_SPIKE: Final = 2.0  # a scrape or a slice of a batch in between must not pass for the price of a call


class Admission:
    """Bounds the work in flight: above the limit a call is refused at once, while those inside keep their speed.

    Counted is work, not connections: idle keep-alive connections cost nothing, nor does a body that is still coming.

    Parameters
    ----------
    max_in_flight : int
        At least 1.
    turn_s : float
        Seconds of work that one turn of the event loop may take in. Whoever comes during a turn waits for its end, so
        that an answer takes two turns at most, and a refusal one.
    """

    def __init__(self, max_in_flight: int, turn_s: float = float("inf")) -> None:
        if max_in_flight < 1:
            raise ValueError(f"max_in_flight: expected at least 1, received {max_in_flight}")
        self.max_in_flight = max_in_flight
        self.in_flight = 0
        self._turn_s = turn_s
        self._cost_s = _FIRST_COST_S
        self._in_turn = False
        self._arrived = self._room = self._taken = 0
        self._since = 0.0

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

    def arrive(self) -> bool:
        """Whether this turn has time for one more call, asked before anything is done for it.

        All calls that wait in sockets are met in one turn, before the first of them is worked on.
        """
        if not self._in_turn:
            self._begin_turn()
        if self._arrived >= self._room:
            return False
        self._arrived += 1
        return True

    def _begin_turn(self) -> None:
        asyncio.get_running_loop().call_soon(self._end_turn)
        now = thread_time()
        if self._taken >= _JOINED:
            found = min((now - self._since) / self._taken, _SPIKE * self._cost_s)
            self._cost_s += _SMOOTHING * (found - self._cost_s)
        self._since, self._in_turn = now, True
        room = self.max_in_flight - self.in_flight
        affordable = max(LEAST_A_TURN, self._turn_s / self._cost_s)
        self._room = room if room < affordable else int(affordable)

    def _end_turn(self) -> None:
        self._taken, self._arrived, self._in_turn = self._arrived, 0, False


class Uploads:
    """Bounds the memory of long bodies under way: many at once would otherwise take what the machine has.

    Parameters
    ----------
    max_bytes : int
        Of all together.
    """

    def __init__(self, max_bytes: int) -> None:
        self._free = max_bytes

    @contextlib.contextmanager
    def one(self) -> Iterator[Callable[[int], None]]:
        """One body, from its first byte to its answer.

        Yields
        ------
        callable
            Counts bytes in; raises `Overloaded` when the bodies under way leave no room for them.
        """
        held = 0

        def take(n: int) -> None:
            nonlocal held
            if n > self._free:
                raise Overloaded("the long bodies under way leave no room for another", reason="uploads")
            self._free -= n
            held += n

        try:
            yield take
        finally:
            self._free += held


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
