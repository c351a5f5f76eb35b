"""Histories that came inline go to Redis in the background: a bounded queue, and nobody waits.

Outcomes told to the observer under `redis`: `stored`, `older`, `refused` (erased since), `failed`, `dropped` (the
queue is full, or the breaker is open).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from itertools import islice
from typing import Final

from app.features.history import held_history
from app.serving.near import NearTier
from app.serving.observing import Observer
from app.serving.remote import ERASED_SINCE, STORED, RedisTier

MAX_QUEUED: Final = 4096
MAX_A_WRITE: Final = 64
_OUTCOMES: Final = {STORED: "stored", ERASED_SINCE: "refused"}


class BackgroundWrites:
    """A queue of packed histories and the task that empties it.

    Parameters
    ----------
    remote : RedisTier
    near : NearTier
        Corrected where Redis refuses: what this process kept is then not the newest.
    observer : Observer
    """

    def __init__(self, remote: RedisTier, near: NearTier, observer: Observer) -> None:
        self._remote, self._near, self._observer = remote, near, observer
        self._queue: dict[bytes, bytes] = {}
        self._filled = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Start writing."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Stop, after one last try to write what is queued."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        while self._queue and self._remote.breaker.closed:
            await self._write()

    def add(self, key: bytes, blob: bytes) -> None:
        """Queue a history; it replaces one of the same user that still waits."""
        full = len(self._queue) >= MAX_QUEUED and key not in self._queue
        if full or not self._remote.breaker.closed:
            self._observer.cache("redis", "dropped")
            return
        self._queue[key] = blob
        self._filled.set()

    def forget(self, keys: Sequence[bytes]) -> None:
        """Take users out of the queue."""
        for key in keys:
            self._queue.pop(key, None)

    async def _run(self) -> None:
        while True:
            await self._filled.wait()
            while self._queue:
                await self._write()
            self._filled.clear()

    async def _write(self) -> None:
        keys = list(islice(self._queue, MAX_A_WRITE))
        items = [(key, self._queue.pop(key)) for key in keys]
        try:
            verdicts = await self._remote.swap(items)
        except Exception:  # refused, unreachable, or whatever a client raises: the queue goes on
            self._observer.cache("redis", "failed")
            return
        for (key, blob), (verdict, as_of) in zip(items, verdicts, strict=True):
            self._observer.cache("redis", _OUTCOMES.get(verdict, "older"))
            if verdict == ERASED_SINCE:
                self._near.erase(key, as_of)
            elif verdict != STORED:
                self._near.drop(key, held_history(blob).as_of or 0)
