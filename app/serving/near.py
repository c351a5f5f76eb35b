"""The near tier: histories of this process, bounded in bytes, least recently used out first.

An entry is the packed buffer, which the features are computed from in place: nothing is parsed at a hit, and nothing
is held beside it. Outcomes told to the observer: `hit`, `miss`, `stale` (older than the maximum age).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from app.features.history import History
from app.serving.lru import Lru

# What an entry takes beside its buffer: key, tuple, `as_of`, expiry and its place in the dictionary.
# Measured with tracemalloc at 20,000 entries of 100 bytes; tests/serving/test_near.py measures it again.
ENTRY_BYTES: Final = 330
MARKER_BYTES: Final = 280
MARKER_SHARE: Final = 8  # one part in eight is kept for erasure markers, so that histories cannot push them out

# Plain tuples of plain values: the garbage collector stops looking at them, however many there are.
_Entry = tuple[bytes, int, bool, float]  # packed, as_of, empty, expires
_Marker = tuple[int, float]  # erased_at, expires


class NearTier:
    """Histories by digest. Not thread-safe: it belongs to the event loop.

    Parameters
    ----------
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
        *,
        max_bytes: int,
        ttl_s: float,
        marker_ttl_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ttl, self._marker_ttl, self._clock = ttl_s, marker_ttl_s, clock
        marker_bytes = max_bytes // MARKER_SHARE
        self._entries: Lru[bytes, _Entry] = Lru(max_bytes - marker_bytes, _entry_bytes)
        self._markers: Lru[bytes, _Marker] = Lru(marker_bytes, lambda _: MARKER_BYTES)

    def __len__(self) -> int:
        """Number of histories."""
        return len(self._entries)

    @property
    def held_bytes(self) -> int:
        """What it holds, markers included."""
        return self._entries.held_bytes + self._markers.held_bytes

    def get(self, key: bytes) -> History | None:
        """The history, None where there is none or its time is over."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        packed, as_of, empty, expires = entry
        if expires <= self._clock():
            self._entries.pop(key)
            return None
        return History(packed, as_of, empty)

    def as_of(self, key: bytes) -> int | None:
        """The time of a stored history, None where there is none."""
        entry = self._entries.get(key)
        return None if entry is None or entry[3] <= self._clock() else entry[1]

    def put(self, key: bytes, history: History) -> bool:
        """Store a history; False where a newer one is stored, or the user was erased at its `as_of` or later.

        Raises
        ------
        ValueError
            It has no `as_of`.
        """
        as_of = history.as_of
        if as_of is None:
            raise ValueError("near tier: expected a history with an as_of")
        marker = self._markers.get(key)
        if marker is not None and marker[0] >= as_of and marker[1] > self._clock():
            return False
        stored = self.as_of(key)
        if stored is not None and stored > as_of:
            return False
        self._entries.put(key, (history.packed, as_of, history.empty, self._clock() + self._ttl))
        return True

    def erase(self, key: bytes, erased_at: int) -> None:
        """Forget a user, and refuse whatever is as old as the erasure (unix seconds) or as what was stored."""
        entry, marker = self._entries.pop(key), self._markers.get(key)
        if entry is not None:
            erased_at = max(erased_at, entry[1])
        if marker is not None:
            erased_at = max(erased_at, marker[0])
        self._markers.put(key, (erased_at, self._clock() + self._marker_ttl))

    def drop(self, key: bytes, as_of: int) -> None:
        """Forget a history of `as_of` or older, so that it is read from Redis again."""
        entry = self._entries.get(key)
        if entry is not None and entry[1] <= as_of:
            self._entries.pop(key)

    def clear(self) -> None:
        """Forget every history; erasures stay known."""
        self._entries.clear()


def _entry_bytes(entry: _Entry) -> int:
    return ENTRY_BYTES + len(entry[0])
