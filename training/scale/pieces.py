"""What a worker does with one piece: rows are read and parsed; what the plan is fitted on, or their features, leave.

Every function takes the piece first and what all pieces share second, so that it can be sent to another machine that
sees the same folders.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import BundleError
from app.features.columns import Columns, Texts
from app.features.matrix import FeaturePlan
from app.features.twin import Twin
from training.data.dataset import Dataset
from training.data.masking import draw_mask, mask_history, take
from training.data.sampling import Piece
from training.learning.boosting import Ints
from training.learning.labels import Labels
from training.samples import Sample, read_piece
from training.scale.shards import write_shard


@dataclass(frozen=True)
class Source:
    """Where pieces come from and how their histories are masked.

    Parameters
    ----------
    dataset : Dataset
    as_of : date, datetime or None
        When the labels were read.
    history_mask : float
    seed : int
    """

    dataset: Dataset
    as_of: object
    history_mask: float
    seed: int

    def read(self, piece: Piece) -> tuple[Sample, Columns]:
        """The rows as they came, and their columns with some histories masked."""
        sample = read_piece(self.dataset, piece, self.as_of)
        rows, states = draw_mask(len(sample), self.history_mask, self.seed, piece.start)
        return sample, mask_history(sample.columns, self.dataset.layout, rows, states)


@dataclass(frozen=True)
class Outlining:
    """What `outline` is told: the source, which rows to keep whole, and what is ranked.

    Parameters
    ----------
    source : Source
    stride : int
        Every so-manieth row of all pieces is kept as it came.
    inputs : FeaturePlan or None
        Computes the features that are ranked; None where there are none, or they need fitted encodings.
    """

    source: Source
    stride: int
    inputs: FeaturePlan | None


@dataclass(frozen=True)
class Outline:
    """What of a piece outlives it in memory: a twentieth of its features, or less.

    Parameters
    ----------
    texts, campaign_texts : Texts of n rows
        Masked; codes in as few bytes as they need.
    labels : Labels of n rows
    state : ndarray of shape (n,), int64
        History state, after masking.
    kept : Sample
        Some rows as they came.
    refunds : int
    ranked : ndarray of shape (n, n_ranked), float32, or None
        Features that are ranked; they lie on the float32 grid.
    """

    texts: Texts
    campaign_texts: Texts
    labels: Labels
    state: Ints
    kept: Sample
    refunds: int
    ranked: NDArray[np.float32] | None


def outline(piece: Piece, what: Outlining) -> Outline:
    """Read a piece for the fit of the plan."""
    sample, columns = what.source.read(piece)
    whole = (piece.start + np.arange(len(sample))) % what.stride == 0
    return Outline(
        _compact(columns.texts),
        _compact(columns.campaign_texts),
        sample.labels,
        columns.row_state,
        sample.take(what.source.dataset.layout, whole),
        sample.refunds,
        None if what.inputs is None else what.inputs.transform(columns).astype(np.float32),
    )


def _compact(texts: Texts) -> Texts:
    codes: NDArray[Any] = texts.codes.astype(np.min_scalar_type(len(texts.entries)))
    return replace(texts, codes=codes)


@dataclass(frozen=True)
class Ranking:
    """What `rank_inputs` is told: the source, and the fitted plan of the features that are ranked."""

    source: Source
    inputs: FeaturePlan


def rank_inputs(piece: Piece, what: Ranking) -> NDArray[np.float32]:
    """(n, n_ranked) features that are ranked and need fitted encodings."""
    return what.inputs.transform(what.source.read(piece)[1]).astype(np.float32)


@dataclass(frozen=True)
class Building:
    """What `build` is told.

    Parameters
    ----------
    source : Source
    plans : mapping of int to FeaturePlan
        Fold → the plan whose target statistics know nothing of that fold.
    folds : mapping of str to ndarray of shape (n,), int64
        Partition → fold of each row of its piece.
    directory : Path
        Where features go.
    library : Path
        The compiled twin of the plan, `features.so`; numpy answers where it is of another platform.
    """

    source: Source
    plans: Mapping[int, FeaturePlan]
    folds: Mapping[str, Ints]
    directory: Path
    library: Path

    def compiled(self, fold: int) -> FeaturePlan:
        """The fold's plan, with its twin: the same bits in a fifth of the time."""
        plan = self.plans[fold]
        if plan.twin is None:
            with suppress(BundleError):
                plan.twin = Twin(self.library, plan)
        return plan


def build(piece: Piece, what: Building) -> int:
    """Write the features of a piece, each row encoded out of fold; return the number of rows."""
    _, columns = what.source.read(piece)
    fold = what.folds[piece.partition.name]
    X = np.empty((len(fold), len(next(iter(what.plans.values())).names)), dtype=np.float32)
    for k in np.unique(fold).tolist():
        here = np.flatnonzero(fold == k)
        some = columns if len(here) == len(fold) else take(columns, what.source.dataset.layout, here)
        X[here] = what.compiled(k).transform(some)
    write_shard(what.directory, piece.partition.name, X)
    return len(X)


@dataclass(frozen=True)
class Reading:
    """What `read_held_out` is told: the data set, and when its labels were read."""

    dataset: Dataset
    as_of: object


def read_held_out(piece: Piece, what: Reading) -> Sample:
    """Read a piece as it came."""
    return read_piece(what.dataset, piece, what.as_of)
