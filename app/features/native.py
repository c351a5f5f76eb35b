"""Compiled libraries: a path enters, a loaded library leaves that is unloaded with its last reference."""

from __future__ import annotations

import _ctypes
import ctypes
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from app.errors import BundleCorrupt, BundleIncompatible

# Of all ways to pass an array's address the cheapest: 0.3 µs an array, where `array.ctypes.data` takes 1.1.
_addressof = ctypes.addressof
_view: Callable[[Any], ctypes.Array[ctypes.c_char]] = (ctypes.c_char * 0).from_buffer


class Library:
    """One dlopen, undone when its last reference goes.

    Parameters
    ----------
    path : Path

    Raises
    ------
    BundleCorrupt
        The file is no library of this platform.
    """

    def __init__(self, path: Path) -> None:
        try:
            self.dll = ctypes.CDLL(_own_spelling(path))
        except OSError as error:
            raise BundleCorrupt(f"{path.name}: not a library of this platform ({error})") from error
        weakref.finalize(self, _ctypes.dlclose, self.dll._handle).atexit = False

    def require_interface(self, expected: int, path: Path) -> None:
        """Refuse a library whose structures are others: they are bare memory and must not be touched.

        Raises
        ------
        BundleIncompatible
            One line that says what to run.
        """
        try:
            received: object = self.dll.pltv_interface()
        except AttributeError:
            received = "none"
        if received != expected:
            raise BundleIncompatible(
                f"{path.name}: expected interface {expected}, received {received}; "
                f"recompile it: pltv recompile --bundle {path.parent}"
            )


def address(array: NDArray[Any]) -> int:
    """Where a C-contiguous array's numbers lie; a read-only one (a memory map) pays for the slower way."""
    return _addressof(_view(array)) if array.flags.writeable else array.ctypes.data


def _own_spelling(path: Path) -> str:
    """Return a spelling of `path` that is equal only for the same file.

    dlopen hands out the library that it already holds under an equal *name* before it looks at the disk: a
    bundle replaced in place would answer with its predecessor's trees. Different names it compares by inode,
    which is right, so the inode's bits are written as neutral path segments.
    """
    bits = f"{path.stat().st_ino:b}"
    return str(path.resolve().parent) + "/" + "".join(".//" if bit == "1" else "./" for bit in bits) + path.name
