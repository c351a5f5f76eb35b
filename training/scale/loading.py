"""Training rows without holding them: a data set and a split enter; fitted plans, features on disk and labels leave."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from app.errors import DataError
from app.features.matrix import FeaturePlan
from app.features.spec import Declaration
from app.features.twin import LIBRARY
from training.config import TrainingConfig
from training.data.assembly import merge_texts
from training.data.dataset import Dataset, Partition
from training.data.sampling import Piece, pieces
from training.data.splits import maturity
from training.examining import REFERENCE_ROWS
from training.learning.boosting import Floats, Ints
from training.learning.labels import Labels
from training.publishing.codegen import compile_features
from training.samples import Prepared, Sample, gate_horizon, join_samples, time_folds
from training.scale.finished import Finished, digest
from training.scale.fitting import FittedPlans, fit_plans, needs_encodings, ranked_inputs
from training.scale.pieces import (
    Building,
    Outlining,
    Ranking,
    Reading,
    Source,
    build,
    outline,
    rank_inputs,
    read_held_out,
)
from training.scale.shards import StoredX, has_shard
from training.scale.workers import Workers

Advance = Callable[[int], None]


@dataclass(frozen=True)
class TrainingRows:
    """The rows of the training part that can teach anything, without their columns.

    Parameters
    ----------
    pieces : list of Piece
    labels : Labels of n rows
    state, fold : ndarray of shape (n,), int64
    kept : Sample
        At most `REFERENCE_ROWS` of them as they came, evenly spread.
    refunds : int
    plans : FittedPlans
    """

    pieces: list[Piece]
    labels: Labels
    state: Ints
    fold: Ints
    kept: Sample
    refunds: int
    plans: FittedPlans


class Loader:
    """Reads the parts of a split, piece by piece, on whoever works.

    Parameters
    ----------
    dataset : Dataset
    config : TrainingConfig
    workers : Workers
    finished : Finished
        Keeps what is done.
    """

    def __init__(self, dataset: Dataset, config: TrainingConfig, workers: Workers, finished: Finished) -> None:
        self._dataset, self._config, self._workers, self._finished = dataset, config, workers, finished

    def held_out(self, name: str, part: Sequence[Partition], as_of: object, done: Advance) -> Sample:
        """The rows of a part that trains nothing, as they came; at most about `heldout_rows` where configured."""
        rows, most = sum(p.rows for p in part), self._config.sampling.heldout_rows
        share = 1.0 if most is None or rows <= most else most / rows
        chosen = pieces(part, share, self._config.seed)
        _need_rows(self._dataset, part, chosen)
        reading = Reading(self._dataset, as_of)

        def read() -> Sample:
            return join_samples(self._workers.map(read_held_out, chosen, reading, _counted(chosen, done)))

        return self._finished.stage(name, read)

    def training(self, part: Sequence[Partition], as_of: object, done: Advance) -> TrainingRows:
        """Read the training part once, and fit the plan.

        Only rows whose gate is mature can teach anything: encodings, classifier and folds all read it.
        """
        declaration, config = self._dataset.declaration, self._config
        chosen = pieces(_mature(part, declaration, as_of), config.sampling.train_frac, config.seed)
        if not chosen:
            need_buyers(self._dataset, None, "training")

        def read() -> TrainingRows:
            return self._read(chosen, as_of, done)

        return self._finished.stage("plan", read)

    def features(self, rows: TrainingRows, as_of: object, done: Advance) -> Prepared:
        """Build the features that are not there yet, as float32 on disk."""
        plan, by_fold = rows.plans.plan, rows.plans.by_fold
        fitted = digest(plan.fingerprint, *(one.fingerprint for one in by_fold.values()))
        directory = self._finished.directory / f"features-{fitted}"
        names = [p.partition.name for p in rows.pieces]
        folds = dict(zip(names, _split(rows.fold, rows.pieces), strict=True))
        width = len(plan.names)
        there = [has_shard(directory, name, len(folds[name]), width) for name in names]
        missing = [p for p, known in zip(rows.pieces, there, strict=True) if not known]
        self._finished.hold()
        if missing:
            library = compiled_twin(self._finished.directory)
            building = Building(self._source(as_of), by_fold, folds, directory, library)
            self._workers.map(build, missing, building, _counted(missing, done))
        X = StoredX(directory, [(name, len(fold)) for name, fold in folds.items()], width, owner=self._finished)
        # An array to all who take rows of it by slices, masks and positions.
        return Prepared(plan, cast(Floats, X), rows.labels, rows.state, rows.fold)

    def _read(self, chosen: list[Piece], as_of: object, done: Advance) -> TrainingRows:
        declaration, config = self._dataset.declaration, self._config
        now = np.concatenate([np.full(p.rows, float(p.partition.now)) for p in chosen])
        fold = time_folds(now, config.folds)
        early = FeaturePlan.unfitted(declaration)
        inputs = None if needs_encodings(early) else ranked_inputs(early)
        outlining = Outlining(self._source(as_of), max(1, -(-len(now) // REFERENCE_ROWS)), inputs)
        outlines = self._workers.map(outline, chosen, outlining, _counted(chosen, done))
        labels = Labels.of([o.labels for o in outlines])
        need_buyers(self._dataset, labels, "training")
        revenue = np.nan_to_num(labels.revenue[:, gate_horizon(declaration)])
        state, refunds = np.concatenate([o.state for o in outlines]), sum(o.refunds for o in outlines)
        kept = join_samples([o.kept for o in outlines if len(o.kept)])
        early_ranked = [o.ranked for o in outlines if o.ranked is not None]
        texts, campaign_texts = (
            merge_texts(blocks, np.int32)
            for blocks in zip(*((o.texts, o.campaign_texts) for o in outlines), strict=True)
        )
        del outlines  # their texts would lie in memory twice while the plan is fitted

        def ranked(plan: FeaturePlan) -> NDArray[np.float32]:
            if inputs is None:
                return np.concatenate(self._workers.map(rank_inputs, chosen, Ranking(self._source(as_of), plan)))
            return np.concatenate(early_ranked)

        plans = fit_plans(declaration, (texts, campaign_texts), labels.buyer, revenue, fold, ranked)
        return TrainingRows(chosen, labels, state, fold, kept, refunds, plans)

    def _source(self, as_of: object) -> Source:
        return Source(self._dataset, as_of, self._config.history_mask, self._config.seed)


def compiled_twin(directory: Path) -> Path:
    """The compiled twin of every plan, for the workers: compiled unless it is there."""
    library = directory / LIBRARY
    if not library.exists():
        directory.mkdir(parents=True, exist_ok=True)
        partial = directory / f".{os.getpid()}.{LIBRARY}"
        compile_features(partial)
        partial.replace(library)
    return library


def narrowed(X: Floats, kept: Sequence[int]) -> Floats:
    """X with some of its columns, as it is: on disk, or in memory."""
    stored: object = X
    if isinstance(stored, StoredX):
        return cast(Floats, stored.narrowed(kept))
    return np.ascontiguousarray(X[:, kept])


def identity(dataset: Dataset, config: TrainingConfig) -> list[object]:
    """What rows and features rest on: the declaration, the files, how they are split, drawn, masked and dealt out."""
    files = [(p.name, path.name, *_stamp(path)) for p in dataset.partitions for path in p.files]
    keys = {"split", "maturity", "history_mask", "folds", "seed", "sampling", "sample_weight"}
    settings = config.model_dump(mode="json", include=keys)
    return [dataset.declaration.fingerprint, str(dataset.path.resolve()), files, settings]


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _mature(part: Sequence[Partition], declaration: Declaration, as_of: object) -> list[Partition]:
    """The hours whose gate had come to its end: maturity is a matter of the hour alone."""
    now = np.array([p.now for p in part], dtype=np.float64)
    horizons = declaration.targets.horizons
    known = maturity(now, horizons, as_of)[horizons[gate_horizon(declaration)]]
    return [p for p, here in zip(part, known.tolist(), strict=True) if here]


def _split(fold: Ints, chosen: Sequence[Piece]) -> list[Ints]:
    return np.split(fold, [p.start for p in chosen[1:]])


def _counted(chosen: Sequence[Piece], advance: Advance) -> Advance:
    """Tell of rows where workers tell of pieces."""
    return lambda place: advance(chosen[place].partition.rows)


def _need_rows(dataset: Dataset, part: Sequence[Partition], chosen: Sequence[Piece]) -> None:
    if not chosen:
        raise DataError(f"{dataset.path}: {part[0].name} to {part[-1].name}: expected rows, received none")


def need_buyers(dataset: Dataset, labels: Labels | None, part: str) -> None:
    """Refuse a part in which nobody bought, or that has no rows at all, or none of any weight."""
    if labels is None or not (labels.buyer == 1.0).any():
        gate = dataset.declaration.targets.gate
        raise DataError(f"{dataset.path}: {gate}: expected a mature buyer in the {part} part, received none")
    if labels.weight is not None and not labels.weight[labels.buyer == 1.0].any():
        column = "" if dataset.weighting is None else dataset.weighting.column
        raise DataError(f"{dataset.path}: {column}: expected a buyer of some weight in the {part} part, received none")
