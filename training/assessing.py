"""A published bundle and a data set enter, its evaluation beside the baselines leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from app.errors import DataError
from app.features.matrix import FeaturePlan
from app.inference.predictor import Predictor
from training.data.dataset import Dataset, Partition
from training.evaluation.baselines import Baseline, fit_baselines
from training.evaluation.report import evaluate
from training.evaluation.rows import EvaluationRows, Scored
from training.learning.boosting import MAX_BIN, Floats
from training.progress import Stages
from training.samples import Sample, gate_horizon, read_sample, time_folds
from training.validation import evaluation_rows, score, score_baseline, score_lost

FOLDS = 5


@dataclass(frozen=True)
class Settings:
    """How to assess.

    Parameters
    ----------
    as_of : str or None
        When the labels were read; None counts all as mature.
    replicates, seed : int
        Of the bootstrap; the seed is the baselines' too.
    threads : int
        Of LightGBM.
    """

    as_of: str | None
    replicates: int
    seed: int
    threads: int


@dataclass(frozen=True)
class Assessment:
    """A bundle judged on data: the figures, and what they are of.

    Parameters
    ----------
    evaluation : dict
        As `training.evaluation.report.evaluate` returns it.
    rows : EvaluationRows
    scored : list of Scored
        The bundle, bundles beside it, baselines.
    X : ndarray of shape (n, n_features)
        Of the judged rows, by the bundle's plan.
    judged : Sample
    known_rows : int
        Rows that the baselines learned from.
    """

    evaluation: dict[str, Any]
    rows: EvaluationRows
    scored: list[Scored]
    X: Floats
    judged: Sample
    known_rows: int


def assess(
    predictor: Predictor, data: Path, settings: Settings, stages: Stages, beside: Sequence[Predictor] = ()
) -> Assessment:
    """Evaluate a bundle.

    Where the data hold the hours that trained it, it is judged on the hours after them, and the baselines learn from
    the hours before; on other data all are judged on the second half, and the baselines learn from the first: they
    then know the very days that they are judged on, and the bundle does not.

    Parameters
    ----------
    predictor : Predictor
    data : Path
        Folder of hourly partitions; its oracle is used where there is one.
    settings : Settings
    stages : Stages
    beside : sequence of Predictor
        Other bundles, judged on the same rows under their own names.

    Raises
    ------
    DataError
        When there are no rows to learn from or to judge on, or a bundle beside predicts other horizons or was trained
        on the judged hours.
    """
    declaration, targets = predictor.declaration, predictor.declaration.targets
    dataset = Dataset(data, declaration)
    earlier, later = _parts(dataset, predictor.manifest.data_window)
    for other in beside:
        _check_beside(predictor, other, later)
    with stages.stage("read rows", sum(p.rows for p in (*earlier, *later))) as advance:
        known, judged = (read_sample(dataset, part, settings.as_of, advance) for part in (earlier, later))
    with stages.stage("features"):
        X = predictor.plan.transform(judged.columns)
    with stages.stage("train the baselines"):
        plan, fitted = _baselines(dataset, known, settings)
    rows = evaluation_rows(judged, declaration, _cohorts(predictor), data)
    scored = [score(predictor.ensemble, X, judged.columns.row_state)]
    scored += [_score_beside(other, data, later, settings) for other in beside]
    # Each side has its own encodings: the baselines may not read what the bundle learned of other days.
    theirs = plan.transform(judged.columns)
    scored += [score_baseline(baseline, theirs) for baseline in fitted]
    with stages.stage("score with intervals"):
        evaluation = evaluate(
            rows,
            scored,
            targets.horizons,
            bootstrap_replicates=settings.replicates,
            seed=settings.seed,
            log_horizon=targets.log_mean,
            simulated=score_lost(predictor.ensemble, predictor.plan, judged),
        )
    return Assessment(evaluation, rows, scored, X, judged, len(known))


def _cohorts(predictor: Predictor) -> list[str]:
    """Columns to look at bias in: those of the prior, and the the campaign's categories, its advertiser among them."""
    campaign = {field.name for field in predictor.declaration.scope("campaign") if field.kind == "category"}
    return sorted(campaign | {name for level in predictor.prior.levels for name in level})


def _check_beside(predictor: Predictor, other: Predictor, later: Sequence[Partition]) -> None:
    expected, received = predictor.declaration.targets.horizons, other.declaration.targets.horizons
    if expected != received:
        raise DataError(f"{other.manifest.name}: expected horizons {list(expected)}, received {list(received)}")
    if other.manifest.name == predictor.manifest.name:
        raise DataError(f"{other.manifest.name}: expected bundles of different names beside each other")
    last = other.manifest.data_window["calibration"]["last"]
    first = other.manifest.data_window["train"]["first"]
    if seen := [p.name for p in later if first <= p.name <= last]:
        raise DataError(f"{other.manifest.name}: it was trained on {seen[0]}, which it should be judged on")


def _score_beside(other: Predictor, data: Path, later: Sequence[Partition], settings: Settings) -> Scored:
    """Another bundle's answers, by its own declaration of the same rows."""
    sample = read_sample(Dataset(data, other.declaration), later, settings.as_of, lambda _: None)
    answers = score(other.ensemble, other.plan.transform(sample.columns), sample.columns.row_state)
    return replace(answers, name=other.manifest.name)


def _parts(dataset: Dataset, window: Any) -> tuple[tuple[Partition, ...], tuple[Partition, ...]]:
    hours = dataset.partitions
    trained = {window["train"]["first"], window["calibration"]["last"]}
    if trained <= {p.name for p in hours}:
        earlier = tuple(p for p in hours if p.name <= window["calibration"]["last"])
    else:
        earlier = hours[: len(hours) // 2]
    later = hours[len(earlier) :]
    if not earlier or not later:
        raise DataError(f"{dataset.path}: expected hours to learn from and hours after them, received {len(hours)}")
    return earlier, later


def _baselines(dataset: Dataset, sample: Sample, settings: Settings) -> tuple[FeaturePlan, list[Baseline]]:
    declaration = dataset.declaration
    targets = declaration.targets
    mature = sample.take(dataset.layout, np.isfinite(sample.labels.buyer))
    if not (mature.labels.buyer == 1.0).any():
        expected = "expected a mature buyer among the earlier hours, received none"
        raise DataError(f"{dataset.path}: {targets.gate}: {expected}")
    buyer, revenue = mature.labels.buyer, np.nan_to_num(mature.labels.revenue[:, gate_horizon(declaration)])
    plan = FeaturePlan.fit(declaration, mature.columns, buyer, revenue)
    fold = time_folds(mature.columns.now, FOLDS)
    return plan, fit_baselines(
        plan.transform_out_of_fold(mature.columns, buyer, revenue, fold),
        {h: mature.labels.revenue[:, i] for i, h in enumerate(targets.horizons)},
        buyer,
        horizons=targets.horizons,
        seed=settings.seed,
        num_threads=settings.threads,
        params={"max_bin": MAX_BIN},
        log_horizon=targets.log_mean,
    )
