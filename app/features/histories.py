"""Histories parsed by compiled code: the twin of `history.parse_history`, bit for bit, for the common shapes."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from app.features.history import History
from app.features.layout import Layout
from app.features.native import Library

ROOM: Final = 4096  # numbers a history; a longer one is left to Python
_SIZES: Final = ("n_numbers", "n_maps", "n_strings", "n_keyed")
_OBJECTS: Final = ("number_names", "map_names", "string_names", "one")
_TABLES: Final = ("nested", "temporal", "map_slots", "string_slots")


class _Shapes(ctypes.Structure):
    _fields_ = (
        [(n, ctypes.c_int64) for n in _SIZES]
        + [(n, ctypes.py_object) for n in _OBJECTS]
        + [(n, ctypes.c_void_p) for n in _TABLES]
    )


class HistoryTwin:
    """A compiled parser of histories. One thread at a time.

    Parameters
    ----------
    library : Library
        `features.so` of a bundle.
    layout : Layout
    """

    def __init__(self, library: Library, layout: Layout) -> None:
        self._library = library
        # With the interpreter lock held: it reads Python objects.
        self._call: Any = ctypes.PyDLL(None, handle=library.dll._handle).pltv_history
        self._call.restype = ctypes.py_object
        self._call.argtypes = (
            ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p,
            ctypes.c_void_p,
        )  # fmt: skip
        self._text_names = layout.user_text_names
        names = tuple(name for name, *_ in layout.numeric_shapes)
        slots = {name: i for i, name in enumerate(layout.keyed_names)}
        tables = (
            [nested for _, nested, _ in layout.numeric_shapes], [temporal for *_, temporal in layout.numeric_shapes],
            [slots.get(n, -1) for n in names], [slots.get(n, -1) for n in layout.string_names],
        )  # fmt: skip
        self._tables = [np.array(t, dtype=np.int64) for t in tables]
        sizes = (len(layout.user_number_names), len(names), len(layout.string_names), len(slots))
        self._shapes = _Shapes(
            *sizes, layout.user_number_names, names, layout.string_names, 1.0, *(t.ctypes.data for t in self._tables)
        )
        self._scalars = np.empty(len(layout.user_number_names) + len(layout.segments))
        self._values, self._told = np.empty(2 * ROOM), np.zeros(2, dtype=np.int64)
        counts = self._told.ctypes.data
        self._places = self._scalars.ctypes.data, self._values.ctypes.data, ROOM, counts, counts + 8
        self._address = ctypes.addressof(self._shapes)

    def parse(self, raw: Mapping[str, Any]) -> History | None:
        """As `parse_history`; None where the shape is one that only Python reads."""
        maps = self._call(self._address, raw, *self._places)
        if maps is None:
            return None
        texts = tuple([raw.get(name) for name in self._text_names])
        n_values, known = self._told.tolist()
        values, scalars = self._values[:n_values].copy(), self._scalars.copy()
        return History(scalars, texts, values, maps, raw.get("as_of"), not (known or any(t is not None for t in texts)))
