"""The offline data set: a folder of hive-partitioned parquet enters, batches of `Columns` leave.

`DIR/datetime=2025-10-01-00-00/part-0.parquet`: one folder an hour, whose hour (UTC) is the `now` of its rows. Only
the declared columns are read, and texts come with the dictionaries of the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from app.errors import DataError
from app.features.columns import Columns, Floats
from app.features.layout import Layout
from app.features.spec import Declaration
from training.data.arrow import numbers
from training.data.assembly import cells, concatenate, naming, read_columns, whole
from training.data.schema import check_schema, check_targets, check_weight, target_columns
from training.data.weights import Weighting, read_weights

__all__ = ["BATCH_ROWS", "Batch", "Dataset", "Partition", "cells", "concatenate"]

BATCH_ROWS: Final = 65_536
HOUR_FORMAT: Final = "%Y-%m-%d-%H-%M"


@dataclass(frozen=True, slots=True)
class Partition:
    """The rows of one hour.

    Parameters
    ----------
    name : str
        The folder's name.
    now : int
        The hour, unix seconds.
    files : tuple of Path
    rows : int
    """

    name: str
    now: int
    files: tuple[Path, ...]
    rows: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one file.

    Parameters
    ----------
    columns : Columns of n rows
    row_id : ndarray of shape (n,), object
        Texts.
    now : int
        The hour, unix seconds.
    targets : dict of str to ndarray of shape (n,), float64, or None
        Label column → numbers, finite; None where they were not asked for.
    weight : ndarray of shape (n,), float64, or None
        Of rows that are asked for with their targets, where the data set is weighted.
    """

    columns: Columns
    row_id: NDArray[np.object_]
    now: int
    targets: dict[str, Floats] | None
    weight: Floats | None = None


class Dataset:
    """Hourly parquet files, checked against the declaration before any row is read.

    Parameters
    ----------
    path : Path
        Folder that holds the `<partition>=YYYY-MM-DD-HH-MM` folders.
    declaration : Declaration
    weighting : Weighting, optional
        The column of weights that comes with the labels.

    Attributes
    ----------
    partitions : tuple of Partition
        In time.
    layout : Layout

    Raises
    ------
    DataError
        One line that names the file or folder and the column, what was expected and what came.
    """

    def __init__(self, path: Path, declaration: Declaration, weighting: Weighting | None = None) -> None:
        self.path = path
        self.declaration = declaration
        self.weighting = weighting
        self.layout = Layout(declaration)
        self._checked: set[tuple[pa.Schema, bool]] = set()
        self.partitions = tuple(sorted(self._partitions(), key=lambda p: p.now))

    @property
    def rows(self) -> int:
        """Number of rows of all partitions."""
        return sum(p.rows for p in self.partitions)

    def read(
        self, partitions: Iterable[Partition] | None = None, *, targets: bool, batch_rows: int = BATCH_ROWS
    ) -> Iterator[Batch]:
        """Read partitions file by file, in bounded batches, in the order of the rows.

        Parameters
        ----------
        partitions : iterable of Partition, optional
            All, unless given.
        targets : bool
            Whether to read the label columns; test files lack them.
        batch_rows : int
            Rows of a batch at most.

        Raises
        ------
        DataError
            A truncated or damaged file, a missing label column, a missing label.
        """
        for partition in self.partitions if partitions is None else partitions:
            for path in partition.files:
                with _blaming(path):
                    for batch in self.record_batches(path, targets=targets, batch_rows=batch_rows):
                        yield self._batch(batch, partition.now, targets)

    def check_labels(self) -> None:
        """Look for the label columns in every file, before hours are spent on the first of them.

        Raises
        ------
        DataError
            As `read` with targets.
        """
        for partition in self.partitions:
            for path in partition.files:
                with _blaming(path), pq.ParquetFile(path) as file:
                    self._check_schema(file.schema_arrow, targets=True)

    def _partitions(self) -> Iterator[Partition]:
        if not self.path.is_dir():
            raise DataError(f"{self.path}: expected a folder of hourly partitions, received none")
        prefix = f"{self.declaration.partition}="
        folders = sorted(p for p in self.path.iterdir() if p.is_dir() and p.name.startswith(prefix))
        if not folders:
            raise DataError(f"{self.path}: expected folders named {prefix}YYYY-MM-DD-HH-MM, received none")
        for folder in folders:
            files = tuple(sorted(folder.glob("*.parquet")))
            if not files:
                raise DataError(f"{folder}: expected *.parquet files, received an empty partition")
            yield Partition(folder.name, _hour(folder, prefix), files, sum(map(self._check, files)))

    def _check(self, path: Path) -> int:
        """Rows of a file whose columns are as declared."""
        with _blaming(path), pq.ParquetFile(path) as file:
            self._check_schema(file.schema_arrow, targets=False)
            return int(file.metadata.num_rows)

    def _check_schema(self, schema: pa.Schema, targets: bool) -> None:
        bare = schema.remove_metadata()
        if (bare, targets) not in self._checked:
            (check_targets if targets else check_schema)(bare, self.declaration)
            if targets and self.weighting is not None:
                check_weight(bare, self.weighting.column)
            self._checked.add((bare, targets))

    def record_batches(self, path: Path, *, targets: bool, batch_rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """Read a file's declared columns as Arrow has them, in bounded batches, in the order of the rows.

        Raises
        ------
        DataError
            As `read`, without the file's name before it.
        """
        names = [self.declaration.row_id, *(f.name for f in self.declaration.fields)]
        with pq.ParquetFile(path) as plain:
            self._check_schema(plain.schema_arrow, targets=False)
            if targets:
                self._check_schema(plain.schema_arrow, targets=True)
                names += target_columns(self.declaration)
                names += [] if self.weighting is None else [self.weighting.column]
            dictionaries = _text_paths(plain.schema, self.declaration.row_id)
            footer = plain.metadata
        with pq.ParquetFile(path, metadata=footer, read_dictionary=dictionaries) as file:
            # One row group at a time: its dictionaries are one, so that nested columns stay in one piece.
            for group in range(file.num_row_groups):
                for batch in file.iter_batches(batch_rows, row_groups=[group], columns=names):
                    if batch.num_rows:
                        yield batch

    def _batch(self, batch: pa.RecordBatch, now: int, targets: bool) -> Batch:
        row_id = self.declaration.row_id
        with naming(row_id):
            identities = whole(batch, row_id).to_numpy(zero_copy_only=False)
        if batch.column(row_id).null_count:
            raise DataError(f"{row_id}: expected a text in every row, received null")
        labels = {name: _label(batch, name) for name in target_columns(self.declaration)} if targets else None
        columns = read_columns(batch, self.layout, now)
        return Batch(columns, identities, now, labels, self._weight(batch) if targets else None)

    def _weight(self, batch: pa.RecordBatch) -> Floats | None:
        if self.weighting is None:
            return None
        with naming(self.weighting.column):
            return read_weights(whole(batch, self.weighting.column), self.weighting)


def _label(batch: pa.RecordBatch, name: str) -> Floats:
    with naming(name):
        label = numbers(batch.column(name))
    if missing := int(np.isnan(label).sum()):
        raise DataError(f"{name}: expected a finite label in every row, received {missing} missing")
    return label


def _hour(folder: Path, prefix: str) -> int:
    try:
        moment = datetime.strptime(folder.name.removeprefix(prefix), HOUR_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        moment = None
    if moment is None or moment.minute:
        raise DataError(f"{folder}: expected {prefix}YYYY-MM-DD-HH-00, an hour, received {folder.name}")
    return int(moment.timestamp())


def _text_paths(schema: pq.ParquetSchema, row_id: str) -> list[str]:
    """Leaves that hold texts, but for the row's identity, which no dictionary shortens."""
    leaves = (schema.column(i) for i in range(len(schema)))
    return [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY" and leaf.path != row_id]


@contextmanager
def _blaming(path: Path) -> Iterator[None]:
    """Put the file before what is wrong with it, in one line."""
    try:
        yield
    except DataError as fault:
        raise DataError(f"{path}: {fault}") from fault
    except (pa.ArrowException, OSError) as fault:
        reason = str(fault).split("\n", 1)[0]
        raise DataError(f"{path}: expected a sound parquet file, received {reason}") from fault
