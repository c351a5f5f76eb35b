"""Histories in JSON, parsed by compiled code to the packed form: validation and `history.parse_history` in one pass."""

from __future__ import annotations

import ctypes
from typing import Any, Final

import numpy as np

from app.features.history import FINGERPRINT_BYTES, History
from app.features.layout import Layout
from app.features.native import Library

Path = tuple[bytes, ...]
AS_OF: Final = "as_of"
_NUMBER, _TEXT, _MAP, _NESTED, _LIST, _AS_OF = range(6)  # as in histories.c
_SHAPE_SIZES: Final = ("n_numbers", "n_texts", "n_segments", "n_numeric", "n_keyed")
_SIZES: Final = ("n_fields", "n_maps", "n_nested", "n_lists", "n_buckets")
_TABLES: Final = ("name_ends", "kinds", "places", "temporal", "maps", "nested", "lists", "keyed", "buckets")
_KEYED_BYTES: Final = 32  # keyed_t of packed.h


class _Shape(ctypes.Structure):
    _fields_ = (
        [(n, ctypes.c_int64) for n in _SHAPE_SIZES]
        + [(n, ctypes.c_void_p) for n in ("keyed", "slots")]
        + [("fingerprint", ctypes.c_char_p)]
    )


class _Histories(ctypes.Structure):
    _fields_ = (
        [("shape", ctypes.c_void_p)]
        + [(n, ctypes.c_int64) for n in _SIZES]
        + [("names", ctypes.c_char_p)]
        + [(n, ctypes.c_void_p) for n in _TABLES]
    )


class HistoryShape:
    """What compiled code has to know of a layout to read its packed histories in place.

    Parameters
    ----------
    layout : Layout

    Attributes
    ----------
    address : int
        Of the structure, which lives as long as this object.
    """

    def __init__(self, layout: Layout) -> None:
        slots = np.full(len(layout.segments), -1, dtype=np.int64)
        slots[list(layout.keyed_segments)] = np.arange(len(layout.keyed))
        self._tables = np.array(layout.keyed_segments, dtype=np.int64), slots
        sizes = (
            len(layout.user_numbers), len(layout.user_texts), len(layout.segments), layout.n_numeric, len(layout.keyed)
        )  # fmt: skip
        fingerprint = bytes.fromhex(layout.fingerprint)[:FINGERPRINT_BYTES]
        self._shape = _Shape(*sizes, *(t.ctypes.data for t in self._tables), fingerprint)
        self.address = ctypes.addressof(self._shape)


class HistoryTwin:
    """The compiled reader of histories. One thread at a time.

    Parameters
    ----------
    library : Library
        `features.so` of a bundle.
    layout : Layout
    shape : HistoryShape
        Of the layout.

    Attributes
    ----------
    dll : ctypes.PyDLL
        The library as it is called with the interpreter lock held; loaded as long as this object.
    address : int
        Of the structure that describes the layout to it, which lives as long.
    """

    def __init__(self, library: Library, layout: Layout, shape: HistoryShape) -> None:
        self._library, self._shape = library, shape
        # With the interpreter lock held: it makes Python objects.
        self.dll = dll = ctypes.PyDLL(None, handle=library.dll._handle)
        self._parse: Any = dll.pltv_history
        self._parse.restype = ctypes.py_object
        self._parse.argtypes = (ctypes.c_void_p, ctypes.py_object, ctypes.py_object, ctypes.py_object)
        self._sound: Any = dll.pltv_sound
        self._sound.argtypes = (ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)
        self._room = np.empty(_KEYED_BYTES * len(layout.keyed) + 1, dtype=np.uint8)
        self._room_address = self._room.ctypes.data
        self._tables = {name: np.array(t, dtype=np.int64) for name, t in zip(_TABLES, _tables(layout), strict=True)}
        names = b"".join(name.encode() for name in _names(layout))
        sizes = (len(self._tables[name]) for name in ("kinds", "maps", "nested", "lists", "buckets"))
        self._histories = _Histories(
            shape.address, *sizes, names, *(self._tables[name].ctypes.data for name in _TABLES)
        )
        self.address = ctypes.addressof(self._histories)
        learn: Any = dll.pltv_history_names
        learn.argtypes, learn.restype = (ctypes.c_void_p,), None
        learn(self.address)

    def take(self, body: bytes, path: Path, stand_in: bytes) -> tuple[bytes, History] | None:
        """Take the history out of a JSON body.

        Parameters
        ----------
        body : bytes
        path : tuple of bytes
            The keys that lead to the history's object.
        stand_in : bytes
            JSON that is put in the history's place.

        Returns
        -------
        (bytes, History) or None
            What is left of the body, which is valid JSON exactly where the body is; None where the history is not
            plainly valid, or there is none: then the whole body has to be validated.
        """
        found = self._parse(self.address, body, path, stand_in)
        return None if found is None else (found[0], History(found[1], found[2], found[3]))

    def sound(self, packed: bytes) -> bool:
        """Whether a buffer is a packed history of this layout, its numbers and texts included."""
        return bool(self._sound(self.address, packed, self._room_address))


def _names(layout: Layout) -> list[str]:
    """The fields, by number."""
    return [*layout.user_number_names, *layout.user_text_names, *(f.name for f in layout.ragged), AS_OF]


def _tables(layout: Layout) -> tuple[Any, ...]:
    names = _names(layout)
    place = {name: i for i, name in enumerate(names)}
    shapes = {name: (nested, temporal) for name, nested, temporal in layout.numeric_shapes}
    n_numbers, n_texts = len(layout.user_numbers), len(layout.user_texts)
    ragged = [_LIST if f.name not in shapes else _NESTED if f.nested else _MAP for f in layout.ragged]
    buckets = 1 << (2 * len(names)).bit_length()
    return (
        np.cumsum([len(name.encode()) for name in names]),
        [*[_NUMBER] * n_numbers, *[_TEXT] * n_texts, *ragged, _AS_OF],
        [i if i < n_numbers else 0 for i in range(len(names))],
        [name in shapes and shapes[name][1] for name in names],
        [place[name] for name in shapes],
        [place[name] for name, (nested, _) in shapes.items() if nested],
        [place[name] for name in layout.string_names],
        [place[name] for name in layout.keyed_names],
        np.zeros(buckets),
    )
