"""X enters, raw scores leave: a shared library of compiled trees called through ctypes, once a matrix.

The contract of a library is one function, `int pltv_predict(const double *X, size_t n_rows, double *out)`,
and two constants, `pltv_n_features` and `pltv_n_targets` (`training/publishing/entry.c` writes them).
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import BundleCorrupt
from app.features.native import Library, address

_FLOAT64 = np.dtype(np.float64)


@dataclass(frozen=True, slots=True)
class Entry:
    """The library's function as a bare address, and the library that must stay loaded while it is called."""

    library: Library
    address: int


class CompiledModel:
    """Trees compiled into a shared library.

    Reentrant: calls on several threads at once are safe, and each releases the interpreter lock.

    Parameters
    ----------
    path : Path
        The library. Verify its hash first: loading a library runs its code.
    n_features, n_targets : int
        Columns of X and of the raw scores.

    Raises
    ------
    BundleCorrupt
        When the file is no such library, or was made for other numbers of columns.
    """

    def __init__(self, path: Path, n_features: int, n_targets: int) -> None:
        self.path = path
        self.n_features = n_features
        self.n_targets = n_targets
        self._library: _Library | None = _Library(path)
        for name, expected in (("n_features", n_features), ("n_targets", n_targets)):
            received = self._library.constant(f"pltv_{name}")
            if received != expected:
                raise BundleCorrupt(f"{path.name}: expected {name} {expected}, the library has {received}")

    def predict_raw(self, X: NDArray[np.float64], out: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """Return the raw scores, equal to LightGBM's `predict(raw_score=True)` to the last bit.

        Parameters
        ----------
        X : ndarray of shape (n_rows, n_features), float64, C-contiguous
            NaN is missing. Only read.
        out : ndarray of shape (n_rows, n_targets), float64, C-contiguous, optional
            Filled and returned instead of a new array.

        Raises
        ------
        ValueError
            On any other shape, dtype or memory order, or after `close`.
        """
        library = self._library  # a reference of this call: `close` on another thread unloads after it
        if library is None:
            raise ValueError(f"{self.path.name} was closed")
        if X.ndim != 2 or X.shape[1] != self.n_features or X.dtype != _FLOAT64 or not X.flags.c_contiguous:
            raise ValueError(_mismatch("X", X, ("n_rows", self.n_features)))
        n_rows = X.shape[0]
        if out is None:
            out = np.empty((n_rows, self.n_targets))
        elif out.shape != (n_rows, self.n_targets) or out.dtype != _FLOAT64 or not out.flags.c_contiguous:
            raise ValueError(_mismatch("out", out, (n_rows, self.n_targets)))
        if n_rows and library.predict(address(X), n_rows, address(out)):
            raise MemoryError(f"{self.path.name}: no memory for {n_rows} rows")
        return out

    def entry(self) -> Entry:
        """What compiled code calls in `predict_raw`'s place.

        Raises
        ------
        ValueError
            After `close`.
        """
        library = self._library
        if library is None:
            raise ValueError(f"{self.path.name} was closed")
        where = ctypes.cast(library.predict, ctypes.c_void_p).value
        assert where is not None
        return Entry(library, where)

    def close(self) -> None:
        """Refuse further calls, and unload the library when those under way have returned."""
        self._library = None


class _Library(Library):
    """The library and its one function."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            self.predict: Any = self.dll.pltv_predict
        except AttributeError as error:
            raise BundleCorrupt(f"{path.name}: not a library of compiled trees ({error})") from error
        self.predict.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
        self.predict.restype = ctypes.c_int

    def constant(self, name: str) -> int:
        return ctypes.c_int32.in_dll(self.dll, name).value


def _mismatch(name: str, array: NDArray[Any], shape: tuple[object, int]) -> str:
    expected = f"({shape[0]}, {shape[1]}) float64 C-contiguous"
    order = "C-contiguous" if array.flags.c_contiguous else "not C-contiguous"
    return f"{name}: expected {expected}, received {array.shape} {array.dtype} {order}"
