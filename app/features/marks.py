"""The shallow marks of a long JSON text by compiled code: where the entries of an array lie, without parsing them."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any

import numpy as np

from app.features.histories import HistoryTwin
from app.features.native import address


class MarkScan:
    """One text on its way through compiled code; `app.api.slices.Scan` is its definition.

    Parameters
    ----------
    histories : HistoryTwin
        Of the library that has the code.
    """

    def __init__(self, histories: HistoryTwin) -> None:
        self._histories = histories  # keeps the library loaded
        self._find: Any = histories.dll.pltv_marks
        self._find.restype = ctypes.c_int64
        self._find.argtypes = (
            ctypes.c_char_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p,
            ctypes.c_void_p,
        )  # fmt: skip
        self._state = np.zeros(3, dtype=np.int64)  # scan_t of marks.c

    def marks(self, text: bytes, start: int, end: int, most: int) -> Iterator[tuple[int, int]]:
        """Brackets and commas of the second level between two places.

        Parameters
        ----------
        text : bytes
        start, end : int
            A block; each begins where the one before ended.
        most : int
            Marks at most; a block with more is not looked at to its end.

        Returns
        -------
        iterator of (int, int)
            Place, counted from `start`, and kind as in `app.api.slices`.
        """
        places = np.empty((2, most), dtype=np.int64)
        n = self._find(
            text, start, end, address(self._state), most, address(places), address(places) + places.strides[0]
        )  # fmt: skip
        return zip(places[0, :n].tolist(), places[1, :n].tolist(), strict=True)
