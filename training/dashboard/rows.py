"""Rows to look at: a data set's hours, or an uploaded file, enter; a random sample of their rows leaves in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from app.errors import DataError
from app.features.spec import Declaration
from app.inference.manifest import Manifest
from training.data.dataset import HOUR_FORMAT, Batch, Dataset, Partition, concatenate
from training.data.masking import take
from training.data.schema import check_targets
from training.evaluation.rows import Oracle
from training.learning.boosting import Floats, Ints
from training.learning.labels import Labels
from training.samples import Sample
from training.validation import read_oracle


@dataclass(frozen=True)
class Rows:
    """A sample of some rows.

    Parameters
    ----------
    sample : Sample of n rows
        Its labels are all NaN where `labelled` is not.
    labelled : bool
        Whether the source has the label columns.
    oracle : Oracle or None
        The truth of generated rows.
    total : int
        Rows that the sample was drawn from.
    hours : tuple of str
        Partitions that they lie in.
    """

    sample: Sample
    labelled: bool
    oracle: Oracle | None
    total: int
    hours: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.sample)


def default_hours(partitions: Sequence[Partition], manifest: Manifest) -> tuple[str, str]:
    """First and last hour to begin with: those after the bundle's own, where the data go on after them; else all."""
    names = [p.name for p in partitions]
    last = manifest.data_window["calibration"]["last"]
    later = [name for name in names if name > last]
    return (later[0] if later else names[0]), names[-1]


def taught(rows: Rows, manifest: Manifest) -> int:
    """How many of the hours lie within those that trained and calibrated the bundle."""
    window = manifest.data_window
    return sum(window["train"]["first"] <= hour <= window["calibration"]["last"] for hour in rows.hours)


def read_rows(dataset: Dataset, first: str, last: str, limit: int, seed: int = 0) -> Rows:
    """A random sample of the rows of some hours, in their order.

    Every row of these hours has the same chance, whatever its hour; equal arguments draw equal rows, so that two
    bundles are asked for the same ones.

    Parameters
    ----------
    dataset : Dataset
    first, last : str
        Names of partitions.
    limit : int
        Rows of the sample at most.
    seed : int

    Raises
    ------
    DataError
        When no row lies in these hours, or a file is not as declared.
    """
    hours = [p for p in dataset.partitions if first <= p.name <= last]
    total = sum(p.rows for p in hours)
    if total == 0:
        raise DataError(f"{dataset.path}: {first} to {last}: expected rows, received none")
    chosen = np.sort(np.random.default_rng(seed).permutation(total)[:limit])
    labelled = has_labels(dataset)
    batches, start = [], 0
    for batch in dataset.read(hours, targets=labelled):
        stop = start + len(batch.row_id)
        within = chosen[np.searchsorted(chosen, start) : np.searchsorted(chosen, stop)] - start
        if len(within):
            batches.append(_thinned(batch, dataset, within))
        start = stop
    sample = _sample(batches, dataset.declaration)
    oracle = read_oracle(dataset.path, sample.row_id, dataset.declaration.targets.horizons)
    return Rows(sample, labelled, oracle, total, tuple(p.name for p in hours))


def read_upload(content: bytes, hour: datetime, declaration: Declaration, limit: int, seed: int = 0) -> Rows:
    """The same from one parquet file, all of whose rows are of one hour.

    Parameters
    ----------
    content : bytes
        Of the file.
    hour : datetime
        UTC; the `now` of every row.
    declaration : Declaration
    limit, seed : int

    Raises
    ------
    DataError
        When it is no parquet file or a column is not as declared.
    """
    with tempfile.TemporaryDirectory(prefix="pltv-upload-") as place:
        folder = Path(place) / f"{declaration.partition}={hour.strftime(HOUR_FORMAT)}"
        folder.mkdir()
        (folder / "upload.parquet").write_bytes(content)
        try:
            return read_rows(Dataset(Path(place), declaration), folder.name, folder.name, limit, seed)
        except DataError as error:
            # The folder is ours and gone by then: what is wrong is said of the file.
            raise DataError(str(error).replace(f"{folder / 'upload.parquet'}", "the uploaded file")) from error


def has_labels(dataset: Dataset) -> bool:
    """Whether the first file has every label column, of a type that can be read."""
    schema: pa.Schema = pq.read_schema(dataset.partitions[0].files[0])
    try:
        check_targets(schema, dataset.declaration)
    except DataError:
        return False
    return True


def _thinned(batch: Batch, dataset: Dataset, rows: Ints) -> Batch:
    labels = None if batch.targets is None else {name: values[rows] for name, values in batch.targets.items()}
    return Batch(take(batch.columns, dataset.layout, rows), batch.row_id[rows], batch.now, labels)


def _sample(batches: Sequence[Batch], declaration: Declaration) -> Sample:
    columns = concatenate([batch.columns for batch in batches])
    identities = np.concatenate([batch.row_id for batch in batches])
    targets = declaration.targets
    buyer, *revenue = (_outcome(batches, name) for name in (targets.gate, *map(targets.column, targets.horizons)))
    # As training reads them: a refund is no revenue, and NaN stays NaN.
    labels = Labels(np.where(np.isnan(buyer), np.nan, np.greater(buyer, 0.0)), np.maximum(np.stack(revenue, 1), 0.0))
    return Sample(columns, identities, labels, int(sum((one < 0.0).sum() for one in revenue)))


def _outcome(batches: Sequence[Batch], name: str) -> Floats:
    return np.concatenate([np.full(len(b.row_id), np.nan) if b.targets is None else b.targets[name] for b in batches])
