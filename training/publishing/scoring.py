"""Partitions enter, predictions leave: streamed through the same `Predictor` that serves, into CSV or parquet."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from app.errors import InputError
from app.features.spec import Targets
from app.inference.ensemble import Predictions
from app.inference.predictor import Predictor
from training.data.dataset import Batch, Dataset

BATCH_ROWS = 16_384  # of X that is 30 MB
Objective = Literal["mean", "msle"]
Table = dict[str, list[float] | list[str]]


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
        `.csv` (numbers in repr precision) or `.parquet`; appears when it is complete.
    objective : {"mean", "msle"}
        What the one column answers: the expected revenue, or expm1(E[log1p y]).
    everything : bool
        Write p_buyer, the mean of every horizon and log_mean instead.
    progress : callable
        Called with the number of rows of each batch.

    Returns
    -------
    int
        Rows written.

    Raises
    ------
    InputError
        For another file type, or where the file can not be written.
    """
    targets = dataset.declaration.targets
    names = columns(targets, dataset.declaration.row_id, everything)
    rows = 0
    with _writer(out, names) as write:
        for batch in dataset.read(targets=False, batch_rows=BATCH_ROWS):
            predictions = predictor.predict(batch.columns)
            write(_table(names, batch, predictions, targets, objective, everything))
            rows += len(batch.row_id)
            progress(len(batch.row_id))
    return rows


def columns(targets: Targets, row_id: str, everything: bool) -> list[str]:
    """The columns of the file."""
    if not everything:
        return [row_id, targets.column(targets.log_mean)]
    return [row_id, "p_buyer", *map(targets.column, targets.horizons), f"log_mean_d{targets.log_mean}"]


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


class _Write(Protocol):
    def __call__(self, table: Table) -> None: ...


@contextmanager
def _writer(out: Path, names: Sequence[str]) -> Iterator[_Write]:
    """Open a file beside `out` that takes its place when all is written."""
    kinds = {".csv": _csv, ".parquet": _parquet}
    if out.suffix not in kinds:
        raise InputError(f"expected a .csv or .parquet file, received {out.name}", "out")
    partial = out.with_name(f".{out.name}.partial-{os.getpid()}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with kinds[out.suffix](partial, names) as write:
            yield write
        partial.replace(out)
    except OSError as error:
        raise InputError(f"can not be written ({error.strerror})", str(out)) from error
    finally:
        with suppress(OSError):  # where the folder is none, there is nothing to remove
            partial.unlink()


@contextmanager
def _csv(path: Path, names: Sequence[str]) -> Iterator[_Write]:
    with path.open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(names)

        def write(table: Table) -> None:
            lines.writerows(_rows(table))

        yield write


def _rows(table: Table) -> Iterable[tuple[object, ...]]:
    # csv writes a float by repr: the shortest text that reads back as the same bits.
    return zip(*table.values(), strict=True)


@contextmanager
def _parquet(path: Path, names: Sequence[str]) -> Iterator[_Write]:
    schema = pa.schema([(names[0], pa.string()), *((name, pa.float64()) for name in names[1:])])
    with pq.ParquetWriter(path, schema) as writer:

        def write(table: Table) -> None:
            writer.write_table(pa.table(table, schema=schema))

        yield write
