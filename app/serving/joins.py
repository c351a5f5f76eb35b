"""Reads that travel together: the keys asked for in one event-loop turn become one command.

A round trip costs the process the same for one key as for a hundred. While all allowed commands are under way, keys
gather for the next one. Every wait ends by the timeout, or by the caller's own deadline where that is earlier.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

MAX_UNDER_WAY: Final = 4
MAX_KEYS: Final = 256  # of one command: a larger reply would hold the event loop
LATE_S: Final = 0.001
SECOND_LOOK_S: Final = 0.001


class Lost(Enum):
    """Why there is no reply; the value is the outcome told to the observer."""

    TIMEOUT = "timeout"
    DEADLINE = "deadline"
    ERROR = "error"
    OPEN = "open"


Reply = bytes | None | Lost
Done = Callable[[Reply], None]
"""Gets the value of a key, None where there is none, or why it is not known; must not raise."""

Values = list[bytes | None] | Exception
Read = Callable[[Sequence[bytes], Callable[[Values], None]], None]


@dataclass(slots=True, eq=False)
class _Group:
    ends: float
    waiting: dict[bytes, list[Done]] = field(default_factory=dict)
    timer: asyncio.TimerHandle | None = None
    over: bool = False


class JoinedReads:
    """Joins the reads of a turn.

    Parameters
    ----------
    read : callable
        Takes keys, and a callback that gets their values in the same order, or the exception in place of them, now or
        later. A reply that comes after the time is over is passed over.
    timeout_s : float
        The longest that anyone waits.
    on_reply, on_failure : callable
        Told once a command: it was answered, or it failed or timed out.
    """

    def __init__(
        self, read: Read, *, timeout_s: float, on_reply: Callable[[], None], on_failure: Callable[[], None]
    ) -> None:
        self._read, self._timeout = read, timeout_s
        self._on_reply, self._on_failure = on_reply, on_failure
        self._next: _Group | None = None
        self._under_way: set[_Group] = set()

    def get(self, key: bytes, deadline: float, done: Done) -> None:
        """Ask for the value of a key.

        Parameters
        ----------
        key : bytes
        deadline : float
            `loop.time()` instant.
        done : callable
            Called once, now or in a later turn of the event loop.
        """
        loop = asyncio.get_running_loop()
        if deadline <= loop.time():
            done(Lost.DEADLINE)
            return
        group = self._joinable(loop)
        if deadline < group.ends:
            done = _Impatient(loop, deadline, done).settle
        group.waiting.setdefault(key, []).append(done)

    def close(self) -> None:
        """End every wait now."""
        for group in (*self._under_way, *((self._next,) if self._next else ())):
            self._end(group, Lost.ERROR)

    def _joinable(self, loop: asyncio.AbstractEventLoop) -> _Group:
        group = self._next
        if group is None or len(group.waiting) >= MAX_KEYS:
            if group is not None:
                self._start(group)  # full: it leaves now, beyond the bound on commands
            group = self._next = _Group(loop.time() + self._timeout)
            group.timer = loop.call_at(group.ends, self._expire, group)
            loop.call_soon(self._depart)
        return group

    def _depart(self) -> None:
        if self._next is not None and len(self._under_way) < MAX_UNDER_WAY:
            group, self._next = self._next, None
            self._start(group)

    def _start(self, group: _Group) -> None:
        self._under_way.add(group)
        self._read(list(group.waiting), lambda values: self._land(group, values))

    def _land(self, group: _Group, values: Values) -> None:
        if group.over:
            return
        if isinstance(values, Exception) or not _are_values(values, len(group.waiting)):
            self._on_failure()
            self._end(group, Lost.ERROR)
            return
        self._on_reply()
        self._leave(group)
        for waiting, value in zip(group.waiting.values(), values, strict=True):
            for done in waiting:
                done(value)

    def _expire(self, group: _Group) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() - group.ends > LATE_S:
            # This process was busy past the end: the reply may lie unread in the socket. Look once more.
            group.ends = float("inf")
            group.timer = loop.call_later(SECOND_LOOK_S, self._expire, group)
            return
        self._on_failure()
        self._end(group, Lost.TIMEOUT)

    def _end(self, group: _Group, why: Lost) -> None:
        self._leave(group)
        for waiting in group.waiting.values():
            for done in waiting:
                done(why)

    def _leave(self, group: _Group) -> None:
        """Make room for the next group."""
        group.over = True
        if group is self._next:
            self._next = None
        if group.timer is not None:
            group.timer.cancel()
        self._under_way.discard(group)
        self._depart()


def _are_values(reply: object, n: int) -> bool:
    """Whether a reply holds a value a key; whatever else a server says must not end in whoever reads the value."""
    return isinstance(reply, list) and len(reply) == n and all(v is None or isinstance(v, bytes) for v in reply)


class _Impatient:
    """A caller whose time is over before that of the group."""

    __slots__ = ("_done", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, deadline: float, done: Done) -> None:
        self._done: Done | None = done
        self._timer = loop.call_at(deadline, self.settle, Lost.DEADLINE)

    def settle(self, reply: Reply) -> None:
        """Pass on what comes first."""
        done, self._done = self._done, None
        if done is not None:
            self._timer.cancel()
            done(reply)
