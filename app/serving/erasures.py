"""Erasures reach every worker: each follows one stream in Redis and forgets, in its own near tier, what it names."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any, Final

BLOCK_MS: Final = 5000
RETRY_S: Final = 1.0


class ErasureFeed:
    """Follows the stream of erasures.

    A worker that lost its connection goes on where it stopped. One that was away for longer than the stream is kept
    may have missed some, and forgets every history that it holds.

    Parameters
    ----------
    client : redis.asyncio.Redis
        Only used for this: a read that blocks keeps its connection.
    stream : bytes
        The stream's key.
    keep_s : float
        Seconds that an erasure stays in the stream; at least the time to live of a near entry.
    on_erased : callable
        Told a digest and the time of its erasure, possibly more than once.
    on_gap : callable
        Told that erasures may have been missed.
    """

    def __init__(
        self,
        client: Any,
        stream: bytes,
        *,
        keep_s: float,
        on_erased: Callable[[bytes, int], None],
        on_gap: Callable[[], None],
    ) -> None:
        self._client, self._stream, self._keep = client, stream, keep_s
        self._on_erased, self._on_gap = on_erased, on_gap
        # Redis numbers entries by its clock in ms. Starting early is harmless, and makes up for clocks that differ.
        self._last: bytes = b"%d-0" % self._oldest()
        self._read_at = time.monotonic()
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Follow from here on: what was erased before, this worker does not hold."""
        self._task = asyncio.get_running_loop().create_task(self._follow())

    async def close(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._client.aclose()

    def announcement(self, key: bytes, erased_at: int) -> tuple[Any, ...]:
        """The command that tells every worker of an erasure, and drops what is too old to matter."""
        return ("XADD", self._stream, "MINID", "~", self._oldest(), "*", "key", key, "at", erased_at)

    def _oldest(self) -> int:
        return int(1000 * (time.time() - self._keep))

    async def _follow(self) -> None:
        while True:
            try:
                async with asyncio.timeout(BLOCK_MS / 1000 + RETRY_S):
                    await self._read()
            except Exception:  # an absent Redis is the breaker's to tell; this only tries again
                await asyncio.sleep(RETRY_S)

    async def _read(self) -> None:
        reply = await self._client.xread({self._stream: self._last}, block=BLOCK_MS)
        if time.monotonic() - self._read_at > self._keep:
            self._on_gap()
        self._read_at = time.monotonic()
        for _, entries in reply:
            for identifier, entry in entries:
                self._last = identifier
                self._on_erased(entry[b"key"], int(entry[b"at"]))
