"""Compiled libraries: a path enters, a loaded library leaves that is unloaded with its last reference."""

from __future__ import annotations

import _ctypes
import ctypes
import weakref
from pathlib import Path

from app.errors import BundleCorrupt


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


def _own_spelling(path: Path) -> str:
    """Return a spelling of `path` that is equal only for the same file.

    dlopen hands out the library that it already holds under an equal *name* before it looks at the disk: a
    bundle replaced in place would answer with its predecessor's trees. Different names it compares by inode,
    which is right, so the inode's bits are written as neutral path segments.
    """
    bits = f"{path.stat().st_ino:b}"
    return str(path.resolve().parent) + "/" + "".join(".//" if bit == "1" else "./" for bit in bits) + path.name
