"""Partitions enter, predictions leave: streamed through the same `Predictor` that serves, into CSV or parquet.

Every input file becomes a part of its own, and the parts become the output when the last of them is whole: a run that
was killed goes on from its last whole part (`training.publishing.parts`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow.parquet as pq

from app.errors import InputError
from app.features.spec import Targets
from app.inference.ensemble import Predictions
from app.inference.predictor import Predictor
from training.data.dataset import Batch, Dataset, Partition
from training.publishing.parts import FORMATS, Table, Work

BATCH_ROWS = 16_384  # of X that is 30 MB
Objective = Literal["mean", "msle"]


def predict(
    predictor: Predictor,
    dataset: Dataset,
    out: Path,
    *,
    objective: Objective = "mean",
    everything: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Predict every row of a data set, in its order.

    Parameters
    ----------
    predictor : Predictor
    dataset : Dataset
        Needs no targets.
    out : Path
        `.csv` (numbers in repr precision) or `.parquet`; appears when it is complete. Until then the finished parts lie
        in the folder `.NAME.parts` beside it; the same call takes them up, and any other one begins anew.
    objective : {"mean", "msle"}
        What the one column answers: the expected revenue, or expm1(E[log1p y]).
    everything : bool
        Write p_buyer, the mean of every horizon and log_mean instead.
    progress : callable
        Called with the number of rows of each batch, and of each part that was there.

    Returns
    -------
    int
        Rows written, those of earlier runs among them.

    Raises
    ------
    InputError
        For another file type, where the file can not be written, or while another run writes it.
    """
    if out.suffix not in FORMATS:
        raise InputError(f"expected a .csv or .parquet file, received {out.name}", "out")
    targets = dataset.declaration.targets
    names = columns(targets, dataset.declaration.row_id, everything)

    def tables(only: Partition) -> Iterator[Table]:
        for batch in dataset.read([only], targets=False, batch_rows=BATCH_ROWS):
            yield _table(names, batch, predictor.predict(batch.columns), targets, objective, everything)
            progress(len(batch.row_id))

    try:
        with Work(out, names, _identity(predictor, dataset, names, objective)) as work:
            for i, only in enumerate(_files(dataset)):
                if work.has(i):
                    progress(pq.read_metadata(only.files[0]).num_rows)
                else:
                    work.write(i, tables(only))
            work.finish()
    except OSError as error:
        raise InputError(f"can not be written ({error.strerror})", str(out)) from error
    return dataset.rows


def columns(targets: Targets, row_id: str, everything: bool) -> list[str]:
    """The columns of the file."""
    if not everything:
        return [row_id, targets.column(targets.log_mean)]
    return [row_id, "p_buyer", *map(targets.column, targets.horizons), f"log_mean_d{targets.log_mean}"]


def _files(dataset: Dataset) -> list[Partition]:
    """The files of all partitions in the order of the rows, each as a partition of its own."""
    return [replace(hour, files=(path,)) for hour in dataset.partitions for path in hour.files]


def _identity(predictor: Predictor, dataset: Dataset, names: Sequence[str], objective: Objective) -> list[object]:
    """What the output depends on: parts are taken up only where all of it is the same."""
    manifest = predictor.manifest
    bundle = sorted((name, entry.sha256) for name, entry in manifest.files.items())
    files = [(hour.name, *stamp(hour.files[0])) for hour in _files(dataset)]
    return [bundle, manifest.feature_fingerprint, files, list(names), objective]


def stamp(path: Path) -> tuple[str, int, int]:
    """Name, bytes and time of change of a file: what tells that it is still the one that was read."""
    status = path.stat()
    return path.name, status.st_size, status.st_mtime_ns


def _table(
    names: Sequence[str],
    batch: Batch,
    predictions: Predictions,
    targets: Targets,
    objective: Objective,
    everything: bool,
) -> Table:
    if everything:
        values = [predictions.p_buyer, *predictions.ltv.T, predictions.log_mean]
    else:
        values = [predictions.log_mean if objective == "msle" else predictions.ltv[:, targets.log_mean_index]]
    numbers = [np.asarray(column).tolist() for column in values]
    return dict(zip(names, [batch.row_id.tolist(), *numbers], strict=True))
