"""How much work may be under way, how much a turn of the loop takes in, and until when an answer is worth anything."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Final

from app.errors import Overloaded
from app.serving.pace import Pace

LEAST_A_TURN: Final = 8
"""Calls that a turn takes in whatever they cost."""

_SMOOTHING: Final = 0.1


class Admission:
    """Bounds the work in flight: above the limit a call is refused at once, while those inside keep their speed.

    Counted is work, not connections: idle keep-alive connections cost nothing, nor does a body that is still coming.

    Parameters
    ----------
    max_in_flight : int
        At least 1.
    turn_s : float
        Seconds that one turn of the event loop may take, from its first call to the last answer. Whoever comes during
        a turn waits for its end, so that an answer takes two turns at most, and a refusal one.
    pace : Pace or None
        What the answers of a turn will take; None begins with none known.
    """

    def __init__(self, max_in_flight: int, turn_s: float = float("inf"), pace: Pace | None = None) -> None:
        if max_in_flight < 1:
            raise ValueError(f"max_in_flight: expected at least 1, received {max_in_flight}")
        self.max_in_flight = max_in_flight
        self.in_flight = 0
        self.full = False
        """Whether this turn has refused a call: it will take no other."""
        self._turn_s = turn_s
        self._pace = pace or Pace()
        self._in_turn = False
        self._arrived = self._room = 0
        self._begun = self._received = self._refuses_from = 0.0
        self._refusing_s = 0.0  # what the refusals of a turn take, smoothed
        self._looked: float | None = None  # when the sockets were last looked at, where the loop has been busy since

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

        All calls that wait in sockets are met in one turn, and answered together at its end. Time that has gone by is
        read from the clock, whatever it went to; what the answers will take, and the refusals, is estimated.
        """
        if not self._in_turn:
            self._begin_turn()
        if self.full:
            return False
        late = self._too_late(self._arrived + 1)
        if late or self._arrived >= self._room:
            self.full, self._refuses_from = True, monotonic()
            if late:
                self._pace.not_tried(self._arrived + 1, self._arrived)
            return False
        self._arrived += 1
        return True

    def received(self) -> float:
        """The instant at which what is read now will have arrived: nobody looked at the sockets while others were
        answered, and on average it came half way through that. A caller's time counts from there.

        Returns
        -------
        float
            `time.monotonic()`.
        """
        if not self._in_turn:
            self._begin_turn()
        return self._received

    def _too_late(self, n: int) -> bool:
        if n <= LEAST_A_TURN:
            return False
        gone = monotonic() - self._begun
        return gone + self._refusing_s + self._pace.expected_s(n) > self._turn_s

    def _begin_turn(self) -> None:
        asyncio.get_running_loop().call_soon(self._end_turn)
        self._begun, self._in_turn = monotonic(), True
        self._received = self._begun if self._looked is None else 0.5 * (self._looked + self._begun)
        self._room = self.max_in_flight - self.in_flight

    def _end_turn(self) -> None:
        """All that waited has been read; what comes from now on waits until the answers are out."""
        self._looked = monotonic()
        refusing_s = self._looked - self._refuses_from if self.full else 0.0
        self._refusing_s += _SMOOTHING * (min(refusing_s, self._turn_s) - self._refusing_s)
        self._arrived, self._in_turn, self.full = 0, False, False
        asyncio.get_running_loop().call_soon(self._rest)

    def _rest(self) -> None:
        """The sockets have been looked at again, and unless a turn began in them, nobody waited."""
        if not self._in_turn:
            self._looked = None


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
        `time.monotonic()` at receipt, seconds.
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
