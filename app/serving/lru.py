"""A dictionary bounded in bytes: what was used least recently goes first. O(1) a call, 140 bytes an entry."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Lru(Generic[K, V]):
    """Values by key.

    Parameters
    ----------
    max_bytes : int
    size : callable
        Bytes of a value; always the same for the same value.
    """

    def __init__(self, max_bytes: int, size: Callable[[V], int]) -> None:
        self.max_bytes = max_bytes
        self.held_bytes = 0
        self._size = size
        self._values: OrderedDict[K, V] = OrderedDict()

    def __len__(self) -> int:
        """Number of values."""
        return len(self._values)

    def get(self, key: K) -> V | None:
        """The value, which is now the last to go."""
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: K, value: V) -> None:
        """Keep a value in the place of an older one, and drop what there is no room for, the value itself at worst."""
        self.pop(key)
        size = self._size(value)
        if size > self.max_bytes:
            return
        self._values[key] = value
        self.held_bytes += size
        while self.held_bytes > self.max_bytes:
            self.held_bytes -= self._size(self._values.popitem(last=False)[1])

    def pop(self, key: K) -> V | None:
        """Take a value out, None where there is none."""
        value = self._values.pop(key, None)
        if value is not None:
            self.held_bytes -= self._size(value)
        return value

    def clear(self) -> None:
        """Drop everything."""
        self._values.clear()
        self.held_bytes = 0
