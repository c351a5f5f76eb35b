"""A published bundle and a data set enter, its evaluation beside the baselines leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from app.errors import DataError
from app.features.matrix import FeaturePlan
from app.inference.predictor import Predictor
from training.data.dataset import Dataset, Partition
from training.evaluation.baselines import Baseline, fit_baselines
from training.evaluation.report import evaluate
from training.progress import Stages
from training.samples import Sample, gate_horizon, read_sample, time_folds
from training.validation import evaluation_rows, score, score_baseline, score_lost

FOLDS = 5


def assess(
    predictor: Predictor, data: Path, *, as_of: str | None, replicates: int, seed: int, threads: int, stages: Stages
) -> dict[str, Any]:
    """Evaluate a bundle.

    Where the data hold the hours that trained it, it is judged on the hours after them, and the baselines learn from
    the hours before; on other data all are judged on the second half, and the baselines learn from the first: they
    then know the very days that they are judged on, and the bundle does not.

    Parameters
    ----------
    predictor : Predictor
    data : Path
        Folder of hourly partitions; its oracle is used where there is one.
    as_of : str or None
        When the labels were read; None counts all as mature.
    replicates, seed : int
        Of the bootstrap.
    threads : int
        Of LightGBM.
    stages : Stages

    Raises
    ------
    DataError
        When there are no rows to learn from or to judge on.
    """
    declaration, targets = predictor.declaration, predictor.declaration.targets
    dataset = Dataset(data, declaration)
    earlier, later = _parts(dataset, predictor.manifest.data_window)
    with stages.stage("read rows", sum(p.rows for p in (*earlier, *later))) as advance:
        known, judged = (read_sample(dataset, part, as_of, advance) for part in (earlier, later))
    with stages.stage("features"):
        X = predictor.plan.transform(judged.columns)
    with stages.stage("train the baselines"):
        baselines = _baselines(dataset, known, seed, threads)
    cohorts = sorted({name for level in predictor.prior.levels for name in level})
    rows = evaluation_rows(judged, declaration, cohorts, data)
    ours = score(predictor.ensemble, X, judged.columns.row_state)
    # Each side has its own encodings: the baselines may not read what the bundle learned of other days.
    plan, fitted = baselines
    theirs = plan.transform(judged.columns)
    scored = [ours, *(score_baseline(baseline, theirs) for baseline in fitted)]
    with stages.stage("score with intervals"):
        return evaluate(
            rows,
            scored,
            targets.horizons,
            bootstrap_replicates=replicates,
            seed=seed,
            log_horizon=targets.log_mean,
            simulated=score_lost(predictor.ensemble, predictor.plan, judged),
        )


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


def _baselines(dataset: Dataset, sample: Sample, seed: int, threads: int) -> tuple[FeaturePlan, list[Baseline]]:
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
        seed=seed,
        num_threads=threads,
        log_horizon=targets.log_mean,
    )
