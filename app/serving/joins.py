"""Reads that travel together: the keys asked for in one event-loop turn become one command.

A round trip costs the process the same for one key as for a hundred. While all allowed commands are under way, keys
gather for the next one. Every wait ends by the timeout, or by the caller's own deadline where that is earlier.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
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
Read = Callable[[Sequence[bytes]], Awaitable[Sequence[bytes | None]]]


@dataclass(slots=True, eq=False)
class _Group:
    ends: float
    waiting: dict[bytes, list[asyncio.Future[Reply]]] = field(default_factory=dict)
    timer: asyncio.TimerHandle | None = None
    task: asyncio.Task[None] | None = None


class JoinedReads:
    """Joins the reads of a turn.

    Parameters
    ----------
    read : callable
        Keys → values in their order; may raise anything.
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

    def get(self, key: bytes, deadline: float) -> asyncio.Future[Reply]:
        """The value of a key. The future always gets a result, never an exception.

        Parameters
        ----------
        key : bytes
        deadline : float
            `loop.time()` instant.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Reply] = loop.create_future()
        if deadline <= loop.time():
            future.set_result(Lost.DEADLINE)
            return future
        group = self._joinable(loop)
        group.waiting.setdefault(key, []).append(future)
        if deadline < group.ends:
            handle = loop.call_at(deadline, _resolve, future, Lost.DEADLINE)
            future.add_done_callback(lambda _: handle.cancel())
        return future

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
            self._start(self._next)
            self._next = None

    def _start(self, group: _Group) -> None:
        self._under_way.add(group)
        group.task = asyncio.get_running_loop().create_task(self._fly(group))

    async def _fly(self, group: _Group) -> None:
        try:
            values = await self._read(list(group.waiting))
        except Exception:  # whatever a client may raise is a lost reply: a prediction may not fail by it
            self._on_failure()
            self._end(group, Lost.ERROR)
        else:
            self._on_reply()
            for futures, value in zip(group.waiting.values(), values, strict=True):
                for future in futures:
                    _resolve(future, value)
            self._end(group, Lost.ERROR)

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
        if group is self._next:
            self._next = None
        if group.timer is not None:
            group.timer.cancel()
        if group.task is not None and group.task is not asyncio.current_task():
            group.task.cancel()
        for futures in group.waiting.values():
            for future in futures:
                _resolve(future, why)
        self._under_way.discard(group)
        self._depart()


def _resolve(future: asyncio.Future[Reply], reply: Reply) -> None:
    if not future.done():
        future.set_result(reply)
