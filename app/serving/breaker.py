"""Circuit breaker: whether it is worth asking a dependency that keeps failing.

closed ── `limit` failures in a row ──> open ── pause over, one probe ──> half-open ── probe answered ──> closed
                                          ^                                   │
                                          └──── probe failed: longer pause ───┘
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from typing import Literal

State = Literal["closed", "open", "half_open"]


class Breaker:
    """Counts failures in a row and decides who may ask.

    Parameters
    ----------
    limit : int
        Failures in a row that open it. After a probe one failure is enough, until a real call succeeds.
    pause_s, max_pause_s : float
        Seconds from opening to the probe; doubled by every opening up to the maximum until a real call succeeds, and
        spread by ±25 % so that workers do not probe in step.
    on_change : callable
        Told whether it is open, whenever that changes.
    together_s : float
        Failures less than this after the last one that counted are the same one: a single stall fails every call that
        was under way.
    clock, spread : callable
        Monotonic seconds, and a number in [0, 1).
    """

    def __init__(
        self,
        limit: int = 3,
        pause_s: float = 0.5,
        max_pause_s: float = 8.0,
        on_change: Callable[[bool], None] = lambda _: None,
        together_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        spread: Callable[[], float] = random.random,
    ) -> None:
        self.state: State = "closed"
        self._limit = limit
        self._shortest, self._longest = pause_s, max_pause_s
        self._on_change, self._clock, self._spread = on_change, clock, spread
        self._failures = 0
        self._together, self._failed_at = together_s, -math.inf
        self._pause = pause_s
        self._probe_at = 0.0

    @property
    def closed(self) -> bool:
        """Whether calls may be made."""
        return self.state == "closed"

    def succeed(self) -> None:
        """A call was answered."""
        self._failures = 0
        self._pause = self._shortest
        self._close()

    def fail(self) -> None:
        """A call was not answered. Those that were still under way when it opened change nothing."""
        now = self._clock()
        if self.state != "closed" or now - self._failed_at < self._together:
            return
        self._failures, self._failed_at = self._failures + 1, now
        if self._failures >= self._limit:
            self._open()

    def take_probe(self) -> bool:
        """Whether the caller is the one that must probe now; it reports by `probed`."""
        if self.state != "open" or self._clock() < self._probe_at:
            return False
        self.state = "half_open"
        return True

    def probed(self, answered: bool) -> None:
        """The probe ended: calls may be made again, on trial, or the pause grows."""
        if answered:
            self._failures = self._limit - 1
            self._close()
        else:
            self._open()

    def _close(self) -> None:
        if self.state != "closed":
            self.state = "closed"
            self._on_change(False)

    def _open(self) -> None:
        self.state = "open"
        self._probe_at = self._clock() + self._pause * (0.75 + 0.5 * self._spread())
        self._pause = min(2 * self._pause, self._longest)
        self._on_change(True)
