"""What predicting together takes, by how many they are. Times of flushes enter, what the next one will take leaves."""

from __future__ import annotations

from typing import Final

_FIRST_S: Final = 50e-6  # of one request, before anything is known
_SIZES: Final = 7  # powers of two that are told apart; what is larger costs a request no less
_SMOOTHING: Final = 0.1
_SPIKE: Final = 2.0  # a pause of the process must not pass for the price of a request


class Pace:
    """Smoothed seconds that a request takes in a flush of its size.

    Requests alone cost several times what they cost together, so that one figure for all would be wrong for most. Sizes
    are told apart by their power of two; for one that never came the next smaller tells, which is no lower.
    """

    def __init__(self) -> None:
        self._each_s: list[float | None] = [None] * (_SIZES + 1)

    def expected_s(self, n: int) -> float:
        """Seconds that a flush will take.

        Parameters
        ----------
        n : int
            Requests, at least 1.
        """
        return n * self._each(min(n.bit_length(), _SIZES))

    def took(self, n: int, seconds: float) -> None:
        """A flush of `n` requests took so long."""
        place = min(n.bit_length(), _SIZES)
        known = self._each(place)
        self._each_s[place] = known + _SMOOTHING * (min(seconds / n, _SPIKE * known) - known)

    def relent(self, n: int) -> None:
        """A flush of `n` was not tried for the time that it would take: the next guess is lower, or one spell of
        slowness would be believed for ever."""
        place = min(n.bit_length(), _SIZES)
        self._each_s[place] = (1.0 - _SMOOTHING) * self._each(place)

    def not_tried(self, n: int, tried: int) -> None:
        """`n` were too many and `tried` go instead; where those tell nothing of such sizes, the guess relents."""
        if min(n.bit_length(), _SIZES) != min(tried.bit_length(), _SIZES):
            self.relent(n)

    def _each(self, place: int) -> float:
        while place and self._each_s[place] is None:
            place -= 1
        return self._each_s[place] or _FIRST_S
