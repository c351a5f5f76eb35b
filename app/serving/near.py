"""The near tier: packed histories of this process, bounded in bytes, least recently used out first.

An entry is the packed buffer. At its first hit the parsed history is put beside it, and its bytes are counted too:
unpacking costs a hundred times a hit, holding the parsed form five times the bytes, and most entries are never hit.
Outcomes told to the observer: `hit`, `miss`, `stale` (older than the maximum age).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from sys import getsizeof
from typing import Final

from cachetools import LRUCache

from app.features.history import History, unpack
from app.features.layout import Layout

# What an entry takes beside its buffer: key, record, `as_of`, expiry and its places in the cache's three dictionaries.
# Measured with tracemalloc at 20,000 entries of 100 bytes; tests/serving/test_near.py measures it again.
ENTRY_BYTES: Final = 560
MARKER_BYTES: Final = 460
PARSED_BYTES: Final = 1000
KEY_BYTES: Final = getsizeof("") + getsizeof(0.0)  # of a map, beside its characters
MARKER_SHARE: Final = 8  # one part in eight is kept for erasure markers, so that histories cannot push them out


@dataclass(slots=True)
class _Entry:
    as_of: int
    blob: bytes
    expires: float
    history: History | None = None


@dataclass(slots=True)
class _Marker:
    erased_at: int
    expires: float


class NearTier:
    """Histories by digest. Not thread-safe: it belongs to the event loop.

    Parameters
    ----------
    layout : Layout
    max_bytes : int
        Of everything it holds.
    ttl_s : float
        Seconds until an entry is asked of Redis again.
    marker_ttl_s : float
        Seconds that an erasure is remembered.
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        max_bytes: int,
        ttl_s: float,
        marker_ttl_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._layout = layout
        self._ttl, self._marker_ttl, self._clock = ttl_s, marker_ttl_s, clock
        marker_bytes = max_bytes // MARKER_SHARE
        self._entries: LRUCache[bytes, _Entry] = LRUCache(max_bytes - marker_bytes, _entry_bytes)
        self._markers: LRUCache[bytes, _Marker] = LRUCache(marker_bytes, lambda _: MARKER_BYTES)

    def __len__(self) -> int:
        """Number of histories."""
        return len(self._entries)

    @property
    def held_bytes(self) -> int:
        """What it holds, markers included."""
        return int(self._entries.currsize + self._markers.currsize)

    def get(self, key: bytes) -> History | None:
        """The history, None where there is none or its time is over."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.expires <= self._clock():
            del self._entries[key]
            return None
        return entry.history if entry.history is not None else self._parse(key, entry)

    def as_of(self, key: bytes) -> int | None:
        """The time of a stored history, None where there is none."""
        entry = self._entries.get(key)
        return None if entry is None or entry.expires <= self._clock() else entry.as_of

    def put(self, key: bytes, as_of: int, blob: bytes) -> bool:
        """Store a packed history; False where a newer one is stored, or the user was erased at `as_of` or later."""
        marker = self._markers.get(key)
        if marker is not None and marker.erased_at >= as_of and marker.expires > self._clock():
            return False
        stored = self.as_of(key)
        if stored is not None and stored > as_of:
            return False
        entry = _Entry(as_of, blob, self._clock() + self._ttl)
        if _entry_bytes(entry) <= self._entries.maxsize:
            self._entries[key] = entry
        else:
            self._entries.pop(key, None)
        return True

    def erase(self, key: bytes, erased_at: int) -> None:
        """Forget a user, and refuse whatever is as old as the erasure (unix seconds) or as what was stored."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            erased_at = max(erased_at, entry.as_of)
        marker = self._markers.get(key)
        if marker is not None:
            erased_at = max(erased_at, marker.erased_at)
        if self._markers.maxsize >= MARKER_BYTES:
            self._markers[key] = _Marker(erased_at, self._clock() + self._marker_ttl)

    def drop(self, key: bytes, as_of: int) -> None:
        """Forget a history of `as_of` or older, so that it is read from Redis again."""
        entry = self._entries.get(key)
        if entry is not None and entry.as_of <= as_of:
            del self._entries[key]

    def clear(self) -> None:
        """Forget every history; erasures stay known."""
        self._entries.clear()

    def _parse(self, key: bytes, entry: _Entry) -> History:
        history = unpack(self._layout, entry.blob)
        parsed = _Entry(entry.as_of, entry.blob, entry.expires, history)
        if _entry_bytes(parsed) <= self._entries.maxsize:
            self._entries[key] = parsed
        return history


def _entry_bytes(entry: _Entry) -> int:
    size = ENTRY_BYTES + len(entry.blob)
    return size if entry.history is None else size + _parsed_bytes(entry.blob, entry.history)


def _parsed_bytes(blob: bytes, history: History) -> int:
    """What a parsed history takes beside the buffer that its values look into, without a look at every key."""
    maps = [m for m in history.maps if m is not None]
    texts = len(blob) - history.values.nbytes
    size = PARSED_BYTES + texts + history.scalars.nbytes + 8 * len(history.maps) + sum(map(getsizeof, maps))
    return size + KEY_BYTES * sum(map(len, maps))
