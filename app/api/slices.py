"""A long body taken apart without being parsed whole. JSON bytes enter; the byte ranges of one array's entries leave.

Parsing 3 MB at once would hold the event loop for 10–17 ms. Here the structure is found block by block, other calls
have their turn in between, and each entry is then validated alone, so that one that is wrong does not spoil the rest.
numpy is the definition; a bundle's compiled code finds the same (`app.features.marks`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from time import perf_counter
from typing import Final, Protocol

import numpy as np
import orjson
from numpy.typing import NDArray

from app.errors import BodyTooLarge, InputError
from app.features.layout import Layout
from app.features.marks import MarkScan

TURN_S: Final = 0.001
"""Seconds of work after which other calls have their turn."""

_BLOCK: Final = 1 << 17
_ENVELOPE: Final = 1 << 20  # bytes of what surrounds the array
_OPEN, _CLOSE, _COMMA, _QUOTE, _BACKSLASH = 1, 2, 3, 4, 5
_KINDS: Final = bytes(
    {**dict.fromkeys(b"{[", _OPEN), **dict.fromkeys(b"}]", _CLOSE), 44: _COMMA, 34: _QUOTE, 92: _BACKSLASH}.get(byte, 0)
    for byte in range(256)
)
_STEPS: Final = np.array([0, 1, -1, 0, 0, 0], dtype=np.int64)  # change of depth by kind


class Pace:
    """Lets other calls have their turn whenever `TURN_S` of work have passed."""

    def __init__(self) -> None:
        self._since = perf_counter()

    @property
    def is_over(self) -> bool:
        """Whether it is time to `rest`."""
        return perf_counter() - self._since > TURN_S

    async def rest(self) -> None:
        """Give way, if it is time."""
        if self.is_over:
            await asyncio.sleep(0)
            self._since = perf_counter()


class Marks(Protocol):
    """Finds the marks of one text."""

    def marks(self, text: bytes, start: int, end: int, most: int) -> Iterable[tuple[int, int]]:
        """Brackets and commas of the second level from `start` to `end`: place from `start` on, and kind.

        Those are the marks of the values of the outer object. No more than `most`: to list a million takes longer than
        a turn may.
        """


def scan_of(layout: Layout) -> Marks:
    """What finds the marks of one text, compiled where the live bundle brings the code."""
    return Scan() if layout.histories is None else MarkScan(layout.histories)


async def entries(body: bytes, name: str, most: int, scan: Marks | None = None) -> list[tuple[int, int]]:
    """Find the entries of the array that a JSON object holds as `name`.

    Parameters
    ----------
    body : bytes
        The object. Its other fields are ignored.
    name : str
    most : int
        Entries that the array may have.
    scan : Marks, optional
        Of this body alone; by numpy unless given.

    Returns
    -------
    list of (int, int)
        Start and end of each entry in `body`, at least one. Whether an entry is JSON at all is not known yet.

    Raises
    ------
    InputError
        Not such an object, no entry, or more than `most`.
    BodyTooLarge
        More than 1 MiB around the array.
    """
    found = await _last_array(body, f'"{name}"'.encode(), name, most, scan or Scan())
    start, end = (found[0] + 1, found[-1]) if found else (0, 0)
    _check_envelope(body[:start] + body[end:], name)
    if not found:
        raise InputError("expected an array", name)
    cuts = [place + 1 for place in found[:-1]]
    ranges = list(zip(cuts, found[1:], strict=True))
    if len(ranges) == 1 and not body[start:end].strip():
        raise InputError("expected at least 1 entries, received 0", name)
    return ranges


async def _last_array(body: bytes, key: bytes, name: str, most: int, scan: Marks) -> list[int] | None:
    """Places of the array's bracket, its commas and its closing bracket; of the last such array, as JSON has it."""
    pace = Pace()
    found: list[int] | None = None
    places: list[int] | None = None  # while inside the array
    budget = 4 * most + 1000  # shallow marks; a body with more of them is no list of objects
    for start in range(0, len(body), _BLOCK):
        for place, kind in scan.marks(body, start, min(start + _BLOCK, len(body)), budget + 1):
            budget -= 1
            if kind == _OPEN and body[start + place] == 0x5B and _has_key(body, start + place, key):
                places = [start + place]
            elif places is not None:
                places.append(start + place)
                if kind == _CLOSE:
                    found, places = places, None
            if budget < 0 or (places is not None and len(places) > most):
                raise InputError(f"expected at most {most} entries, received more", name)
        await pace.rest()
    return found


class Scan:
    """Marks by numpy. Each block leaves to the next its depth, whether a string goes on, and a run of backslashes."""

    def __init__(self) -> None:
        self._depth = 0
        self._inside = False
        self._backslashes = 0

    def marks(self, text: bytes, start: int, end: int, most: int) -> Iterable[tuple[int, int]]:
        """As `Marks` has it."""
        block = text[start:end]
        kinds = np.frombuffer(block.translate(_KINDS), np.uint8)
        places = np.flatnonzero(kinds != 0)
        kinds = kinds[places]
        quotes = kinds == _QUOTE
        quotes &= ~self._escaped(places, kinds, len(block))
        inside = np.bitwise_xor.accumulate(np.concatenate(([self._inside], quotes)))
        self._inside = bool(inside[-1])
        outside = ~inside[:-1] & (kinds <= _COMMA)
        places, kinds = places[outside], kinds[outside]
        depths = self._depth + np.cumsum(_STEPS[kinds])
        if len(depths):
            self._depth = int(depths[-1])
        # A closing bracket is as deep as what it closes.
        shallow = np.flatnonzero(depths + (kinds == _CLOSE) == 2)[:most]
        return zip(places[shallow].tolist(), kinds[shallow].tolist(), strict=True)

    def _escaped(self, places: NDArray[np.intp], kinds: NDArray[np.uint8], length: int) -> NDArray[np.bool_]:
        """Whether an odd run of backslashes stands right before each place."""
        slashes = places[kinds == _BACKSLASH]
        carried, self._backslashes = self._backslashes, 0
        odd = np.zeros(length + 1, dtype=bool)
        if len(slashes):
            first = np.concatenate(([True], np.diff(slashes) != 1))
            begin = np.maximum.accumulate(np.where(first, slashes, 0))
            runs = slashes - begin + 1 + np.where(begin == 0, carried, 0)
            odd[slashes + 1] = runs % 2 == 1
            if slashes[-1] == length - 1:
                self._backslashes = int(runs[-1])
        odd[0] = carried % 2 == 1
        escaped: NDArray[np.bool_] = odd[places]
        return escaped


def _has_key(body: bytes, place: int, key: bytes) -> bool:
    """Whether the bracket at `place` is the value of `key`."""
    before = body[max(0, place - 64 - len(key)) : place].rstrip()
    if not before.endswith(b":"):
        return False
    before = before[:-1].rstrip()
    return before.endswith(key) and not before.endswith(b"\\" + key)


def _check_envelope(envelope: bytes, name: str) -> None:
    """What surrounds the array must be a JSON object."""
    if len(envelope) > _ENVELOPE:
        raise BodyTooLarge(f"expected at most {_ENVELOPE} bytes around the array, received more", name)
    try:
        parsed = orjson.loads(envelope)
    except orjson.JSONDecodeError as error:
        raise InputError(f"expected JSON, received something else near line {error.lineno}") from None
    if not isinstance(parsed, dict):
        raise InputError("expected an object")
    if not isinstance(parsed.get(name), list):
        raise InputError("expected an array", name)
