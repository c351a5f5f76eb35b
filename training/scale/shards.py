"""X on disk: float32 features enter, a file a partition; rows leave as LightGBM and numpy ask for them.

Features lie on the float32 grid, so that nothing is lost: what is read back is what the plan computed, in every bit.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from app.errors import DataError
from app.features.ragged import MISSING
from training.learning.boosting import Floats, Ints

SUFFIX: Final = ".f32"
BYTES: Final = 4


def write_shard(directory: Path, name: str, X: NDArray[np.float32]) -> None:
    """Write the features of a partition; the file is whole where it is there."""
    directory.mkdir(parents=True, exist_ok=True)
    partial = directory / f".{name}.{os.getpid()}.partial"
    with partial.open("wb") as file:
        np.ascontiguousarray(X, dtype="<f4").tofile(file)
    partial.replace(directory / (name + SUFFIX))


def has_shard(directory: Path, name: str, rows: int, features: int) -> bool:
    """Whether the features of a partition are there, all of them."""
    path = directory / (name + SUFFIX)
    return path.exists() and path.stat().st_size == rows * features * BYTES


class StoredX(lgb.Sequence):
    """Rows of X in files, read when they are asked for: in place of an array of shape (n, n_features), float64.

    Takes a row, a slice, a mask or positions, and gives float64 in C order, missing as the plan has it. LightGBM bins
    it as a `Sequence`, a batch at a time. The file that was read last stays mapped, and no other.

    Parameters
    ----------
    directory : Path
    shards : sequence of (name, rows)
        In the order of the rows.
    features : int
        Columns in the files.
    kept : ndarray of shape (n_kept,), int64, optional
        The columns that are read; all unless given.
    owner : object
        Kept alive as long as the rows are: with it a temporary folder would go.

    Raises
    ------
    DataError
        A file is missing or holds another number of rows.
    """

    batch_size = 4096

    def __init__(
        self,
        directory: Path,
        shards: Sequence[tuple[str, int]],
        features: int,
        kept: Ints | None = None,
        owner: object = None,
    ) -> None:
        for name, rows in shards:
            if not has_shard(directory, name, rows, features):
                expected = f"expected {rows} rows of {features} features, in a folder that every worker shares"
                raise DataError(f"{directory / (name + SUFFIX)}: {expected}")
        self._directory, self._shards, self._features, self._kept = directory, list(shards), features, kept
        self._owner = owner
        self._ends = np.cumsum([rows for _, rows in shards])
        self._open: tuple[int, NDArray[np.float32]] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self), self._features if self._kept is None else len(self._kept)

    def narrowed(self, columns: Sequence[int]) -> StoredX:
        """The same rows with some of the columns."""
        chosen = np.asarray(columns, dtype=np.int64)
        kept = chosen if self._kept is None else self._kept[chosen]
        return StoredX(self._directory, self._shards, self._features, kept, self._owner)

    def __len__(self) -> int:
        """Rows."""
        return int(self._ends[-1])

    def __getitem__(self, index: Any) -> Floats:
        """Some rows, shape (n, n_features); of a single position, shape (n_features,)."""
        if isinstance(index, int | np.integer):
            shard = int(np.searchsorted(self._ends, index, side="right"))
            row = index - self._ends[shard] + self._shards[shard][1]
            return np.array(self._canonical(self._rows(shard)[row : row + 1])[0])
        return self._gathered(np.arange(len(self), dtype=np.int64)[index])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """All rows in memory."""
        return self[:].astype(dtype or np.float64, copy=False)

    def _gathered(self, places: Ints) -> Floats:
        out = np.empty((len(places), self.shape[1]))
        shard_of = np.searchsorted(self._ends, places, side="right")
        for shard in np.unique(shard_of).tolist():
            here = np.flatnonzero(shard_of == shard)
            first = self._ends[shard] - self._shards[shard][1]
            out[here] = self._canonical(self._rows(shard)[places[here] - first])
        return out

    def _canonical(self, rows: NDArray[np.float32]) -> Floats:
        X = np.ascontiguousarray(rows if self._kept is None else rows[:, self._kept], dtype=np.float64)
        X[np.isnan(X)] = MISSING  # a conversion keeps a NaN, but not its bits
        return X

    def _rows(self, shard: int) -> NDArray[np.float32]:
        """One shard, mapped; the one before it is let go."""
        found = self._open
        if found is None or found[0] != shard:
            name, rows = self._shards[shard]
            path = self._directory / (name + SUFFIX)
            found = shard, np.memmap(path, dtype="<f4", mode="r", shape=(rows, self._features))
            self._open = found
        return found[1]
