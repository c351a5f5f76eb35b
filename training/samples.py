"""Partitions of one part of the split enter; its rows, with labels that are clean and mature, leave in memory."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import DataError
from app.features.columns import Columns
from app.features.layout import Layout
from app.features.matrix import FeaturePlan
from app.features.spec import Declaration, HistoryState
from training.data.dataset import Batch, Dataset, Partition, cells, concatenate
from training.data.masking import mask_history, take
from training.data.sampling import Piece
from training.data.splits import Split, maturity
from training.learning.boosting import Floats, Ints, Mask
from training.learning.labels import Labels

LOST = (HistoryState.UNAVAILABLE, HistoryState.WITHHELD)
"""States that happen to any user; whether one is new, on the other hand, is part of who they are."""

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Sample:
    """Rows of one part of the split.

    Parameters
    ----------
    columns : Columns of n rows, one a user
    row_id : ndarray of shape (n,), object
    labels : Labels of n rows
    refunds : int
        Revenues below zero, clipped at 0.
    """

    columns: Columns
    row_id: NDArray[np.object_]
    labels: Labels
    refunds: int

    def __len__(self) -> int:
        return len(self.row_id)

    def take(self, layout: Layout, rows: Mask) -> Sample:
        """Some of the rows."""
        columns = take(self.columns, layout, np.flatnonzero(rows))
        return replace(self, columns=columns, row_id=self.row_id[rows], labels=self.labels.take(rows))

    def in_state(self, layout: Layout, state: HistoryState) -> Columns:
        """The same rows with every history put out of sight, for that reason."""
        everyone = np.ones(len(self), dtype=bool)
        return mask_history(self.columns, layout, everyone, np.full(len(self), state, dtype=np.int64))


@dataclass(frozen=True)
class Parts:
    """The rows of the three parts of the split.

    Of the `train_rows` rows that are trained on, `train` holds some as they came, and counts the refunds of all.
    """

    split: Split
    train_rows: int
    train: Sample
    calibration: Sample
    validation: Sample


@dataclass(frozen=True)
class Prepared:
    """Training rows as the learners see them: X by out-of-fold encodings, some histories masked."""

    plan: FeaturePlan
    X: Floats
    labels: Labels
    state: Ints
    fold: Ints


def data_window(split: Split) -> dict[str, Any]:
    """First and last hour, and rows, of each part."""
    return {
        name: {"first": part[0].name, "last": part[-1].name, "rows": sum(p.rows for p in part)}
        for name, part in split.parts.items()
    }


def read_sample(dataset: Dataset, partitions: Sequence[Partition], as_of: object, progress: Progress) -> Sample:
    """Read rows and labels.

    Parameters
    ----------
    dataset : Dataset
    partitions : sequence of Partition
    as_of : date, datetime or None
        When the labels were read; None counts all as mature.
    progress : callable
        Called with the number of rows of each batch read.

    Raises
    ------
    DataError
        When there is no row.
    """
    batches = []
    for batch in dataset.read(partitions, targets=True):
        batches.append(batch)
        progress(len(batch.row_id))
    if not batches:
        raise DataError(f"{dataset.path}: {partitions[0].name} to {partitions[-1].name}: expected rows, received none")
    columns = concatenate([batch.columns for batch in batches])
    labels, refunds = _labels(dataset.declaration, batches, columns.now, as_of)
    return Sample(columns, np.concatenate([batch.row_id for batch in batches]), labels, refunds)


def read_piece(dataset: Dataset, piece: Piece, as_of: object) -> Sample:
    """Read the drawn rows of one partition; arguments as of `read_sample`."""
    sample = read_sample(dataset, [piece.partition], as_of, lambda _: None)
    return sample if piece.share >= 1.0 else sample.take(dataset.layout, piece.drawn())


def join_samples(samples: Sequence[Sample]) -> Sample:
    """Samples one after the other.

    Parameters
    ----------
    samples : sequence of Sample, length ≥ 1
    """
    labels = Labels.of([s.labels for s in samples])
    row_id = np.concatenate([s.row_id for s in samples])
    return Sample(concatenate([s.columns for s in samples]), row_id, labels, sum(s.refunds for s in samples))


def gate_horizon(declaration: Declaration) -> int:
    """Position of the horizon that the gate's name ends with (`buyer_d7`), else of the `log_mean` horizon."""
    targets = declaration.targets
    named = re.search(r"(\d+)$", targets.gate)
    day = int(named[1]) if named else targets.log_mean
    return targets.horizons.index(day) if day in targets.horizons else targets.log_mean_index


def time_folds(now: Floats, folds: int) -> Ints:
    """Assign every row to a fold: equal shares of the rows in the order of time, an hour never cut in two.

    With fewer hours than folds the rows are dealt out by their position instead.

    Returns
    -------
    ndarray of shape (n,), int64
        0 … folds − 1.
    """
    hours, hour_of, counts = np.unique(now, return_inverse=True, return_counts=True)
    if len(hours) < folds:
        return np.arange(len(now), dtype=np.int64) % folds
    middle = np.cumsum(counts) - counts / 2.0
    fold_of_hour = (middle * folds / counts.sum()).astype(np.int64)
    return np.asarray(fold_of_hour[hour_of], dtype=np.int64)


def cohort(layout: Layout, columns: Columns, name: str) -> NDArray[np.object_]:
    """(n,) texts of a request or campaign column, None where missing."""
    for fields, texts in ((layout.texts, columns.texts), (layout.campaign_texts, columns.campaign_texts)):
        for j, field in enumerate(fields):
            if field.name == name:
                return cells(texts, j)
    raise DataError(f"{name}: expected a text column of the request or the campaign")


def _labels(declaration: Declaration, batches: Sequence[Batch], now: Floats, as_of: object) -> tuple[Labels, int]:
    targets = declaration.targets
    mature = maturity(now, targets.horizons, as_of)
    revenue = np.column_stack([_column(batches, targets.column(h)) for h in targets.horizons])
    refunds = int((revenue < 0.0).sum())
    known = np.column_stack([mature[h] for h in targets.horizons])
    buyer = np.greater(_column(batches, targets.gate), 0.0).astype(np.float64)
    gate_known = known[:, gate_horizon(declaration)]
    clean = np.where(known, np.maximum(revenue, 0.0), np.nan)
    weights = [batch.weight for batch in batches if batch.weight is not None]
    return Labels(np.where(gate_known, buyer, np.nan), clean, np.concatenate(weights) if weights else None), refunds


def _column(batches: Sequence[Batch], name: str) -> Floats:
    return np.concatenate([batch.targets[name] for batch in batches if batch.targets is not None])
