"""What functions made of texts, remembered: callers send the same few again and again. Never so many, nor so long ones,
that what callers send fills the memory.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, Final, TypeVar

MOST_REMEMBERED: Final = 16_384  # texts a column; whoever sends more distinct ones pays for working them out
LONGEST_REMEMBERED: Final = 256  # characters; what tells categories apart is shorter

T = TypeVar("T")


class Memo(dict[str, Any]):
    """What a function made of the texts it has seen, up to `MOST_REMEMBERED` of them.

    Parameters
    ----------
    compute : callable
        text → number or text.
    """

    def __init__(self, compute: Callable[[str], Any]) -> None:
        self._compute = compute

    def __missing__(self, text: str) -> Any:
        value = self._compute(text)
        if len(text) <= LONGEST_REMEMBERED and len(self) < MOST_REMEMBERED:
            self[text] = value
        return value


def remembered(most: int) -> Callable[[Callable[[str], T]], Callable[[str], T]]:
    """Decorate a function of one text: its last `most` answers are kept, none of a text that is too long."""

    def decorate(compute: Callable[[str], T]) -> Callable[[str], T]:
        known = lru_cache(most)(compute)

        @wraps(compute)
        def look(text: str) -> T:
            return known(text) if len(text) <= LONGEST_REMEMBERED else compute(text)

        return look

    return decorate
