"""Requests in JSON, read by compiled code: bytes and a table of places enter, the values that are wanted leave."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import accumulate
from typing import Any, Final

import numpy as np

from app.features.histories import HistoryTwin
from app.features.memo import Memo
from app.features.native import address

MOST_PLACES: Final = 256
"""That the compiled code has room for; as in bids.c."""

_SIZES: Final = ("n_places", "n_nodes", "n_buckets", "n_slots")
_TABLES: Final = ("places", "nodes", "buckets")
_NOWHERE: Final = -1


class Kind(IntEnum):
    """What stands in a place; the order is that of bids.c."""

    OBJECT = 0
    TEXT = 1
    NUMBER = 2
    WHOLE = 3
    WHOLES = 4
    OBJECTS = 5
    HISTORY = 6


@dataclass(frozen=True, slots=True)
class Place:
    """One key of one object of a request; null is as good as absent.

    Parameters
    ----------
    node : int
        The object; 0 is the request itself.
    name : str
        The key.
    kind : Kind
    child : int or None
        The node of an object's own keys, or of each entry of a list of objects.
    slot : int or None
        Where among the values of `BidTwin.read` it is handed out.
    key : str or None
        Under which it stands in its object's dictionary, which is there only where it has anything.
    column : str or None
        Under which it stands among the columns: of its entry in a list of objects, else of the request.
    written : callable or None
        What a text becomes as a column.
    required : bool
        Whether a request without it is refused.
    least, most : int or None
        Of a number, or of the entries of a list.
    """

    node: int
    name: str
    kind: Kind
    child: int | None = None
    slot: int | None = None
    key: str | None = None
    column: str | None = None
    written: Callable[[str], str] | None = None
    required: bool = False
    least: int | None = None
    most: int | None = None


class _Bids(ctypes.Structure):
    _fields_ = (
        *((n, ctypes.c_int64) for n in _SIZES),
        *((n, ctypes.c_void_p) for n in _TABLES),
        ("names", ctypes.c_char_p),
        *((n, ctypes.py_object) for n in ("keys", "memos")),
        ("histories", ctypes.c_void_p),
    )


class BidTwin:
    """The compiled reader of requests. One thread at a time.

    Parameters
    ----------
    histories : HistoryTwin
        Of the same library.
    places : sequence of Place
    n_slots : int

    Raises
    ------
    ValueError
        More places than the compiled code has room for.
    """

    def __init__(self, histories: HistoryTwin, places: Sequence[Place], n_slots: int) -> None:
        self._histories = histories
        dll = histories.dll
        self._read: Callable[[int, bytes], tuple[Any, ...] | None] = dll.pltv_bid
        dll.pltv_bid.restype = ctypes.py_object
        dll.pltv_bid.argtypes = (ctypes.c_void_p, ctypes.py_object)
        dll.pltv_bid_names.argtypes = (ctypes.c_void_p,)
        ordered = sorted(places, key=lambda place: place.node)
        names = [place.name.encode() for place in ordered]
        keys = tuple(dict.fromkeys(k for place in ordered for k in (place.key, place.column) if k is not None))
        written = tuple(dict.fromkeys(place.written for place in ordered if place.written is not None))
        ends = accumulate(map(len, names))
        rows = [_row(p, at - len(n), len(n), keys, written) for p, at, n in zip(ordered, ends, names, strict=True)]
        n_nodes = 1 + max(place.node for place in ordered)
        buckets = 1 << (2 * len(rows)).bit_length()
        self._tables = (
            np.array(rows, dtype=np.int64), np.zeros(2 * n_nodes, dtype=np.int64), np.zeros(buckets, dtype=np.int64)
        )  # fmt: skip
        self._bids = _Bids(
            len(rows), n_nodes, buckets, n_slots, *map(address, self._tables), b"".join(names), keys,
            tuple(map(Memo, written)), histories.address,
        )  # fmt: skip
        self._address = ctypes.addressof(self._bids)
        if not dll.pltv_bid_names(self._address):
            raise ValueError(f"bids: expected fewer places, received {len(rows)} with {n_slots} slots")

    def read(self, body: bytes) -> tuple[Any, ...] | None:
        """Read a request.

        Parameters
        ----------
        body : bytes
            JSON.

        Returns
        -------
        tuple or None
            The slots' values, None where there is none; the request's columns, a dict; its packed history (bytes or
            None), the history's `as_of` (int or None) and whether it is empty. None where the request is not plainly
            valid: then whoever words refusals has to look at it.
        """
        return self._read(self._address, body)


def _row(
    place: Place, start: int, length: int, keys: tuple[str, ...], written: tuple[Callable[[str], str], ...]
) -> tuple[int, ...]:
    """A place as place_t of bids.c."""
    bounds = (1, 0) if place.most is None else (place.least or 0, place.most)
    return (
        place.node, start, length, place.kind, _or(place.child), _or(place.slot),
        _NOWHERE if place.key is None else keys.index(place.key),
        _NOWHERE if place.column is None else keys.index(place.column),
        _NOWHERE if place.written is None else written.index(place.written),
        place.required, *bounds,
    )  # fmt: skip


def _or(place: int | None) -> int:
    return _NOWHERE if place is None else place
