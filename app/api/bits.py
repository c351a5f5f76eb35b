"""A strict reader of bit fields. A base64url text enters; integers leave, never a bit beyond the end."""

from __future__ import annotations

import binascii
from typing import Final

_WEB_SAFE: Final = str.maketrans("-_", "+/")
_FIBONACCI: Final = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987, 1597, 2584, 4181, 6765)


class Undecodable(ValueError):
    """The text is not what the specification describes."""


class Bits:
    """Big-endian bit fields of a base64url text without padding, six bits a character.

    Raises
    ------
    Undecodable
        On a foreign character, and on every read past the end.
    """

    __slots__ = ("_left", "_value")

    def __init__(self, text: str) -> None:
        # Six bits a character, whatever the text was padded to: GPP pads to six, TCF to eight, and both read alike.
        fill = -len(text) % 4
        try:
            whole = binascii.a2b_base64(text.translate(_WEB_SAFE) + "A" * fill, strict_mode=True)
        except ValueError:
            raise Undecodable("expected base64url characters") from None
        self._value = int.from_bytes(whole) >> 6 * fill
        self._left = 6 * len(text)

    def integer(self, width: int) -> int:
        """The next `width` bits."""
        if width > self._left:
            raise Undecodable("ends too early")
        self._left -= width
        return self._value >> self._left & (1 << width) - 1

    def flag(self) -> bool:
        """The next bit."""
        return self.integer(1) == 1

    def skip(self, width: int) -> None:
        """Pass over `width` bits that are there."""
        if width > self._left:
            raise Undecodable("ends too early")
        self._left -= width

    def fibonacci(self) -> int:
        """The next Fibonacci-coded number: bits weigh 1, 2, 3, 5, …; two ones in a row end it."""
        total, last = 0, False
        for weight in _FIBONACCI:
            bit = self.flag()
            if bit and last:
                return total
            total += weight if bit else 0
            last = bit
        raise Undecodable("expected a Fibonacci code of at most 18 bits")
