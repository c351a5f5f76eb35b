"""Training, from hourly parquet to a bundle in its place: the order of the stages."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from app.errors import DataError
from app.features.columns import Columns
from app.features.layout import Layout
from app.features.matrix import FeaturePlan
from app.features.spec import Declaration
from app.inference.manifest import Manifest
from training.config import TrainingConfig
from training.data.dataset import Dataset
from training.data.masking import draw_mask, mask_history
from training.data.splits import check_no_leak, temporal_split
from training.learning.boosting import Matrix, Runtime
from training.learning.feature_selection import Selection, select_features
from training.learning.learners import Fitted, fit_base
from training.progress import Silent, Stages
from training.publishing.assembling import Assembled, assemble_ensemble
from training.publishing.golden_rows import golden_requests
from training.publishing.publish import Content, publish, staging
from training.publishing.references import fit_prior
from training.samples import Parts, Prepared, Sample, cohort, data_window, gate_horizon, read_sample, time_folds
from training.validation import Judged, judge

SELECTION = "selection.json"
"""In the bundle: which features were dropped and why, where any were."""


@dataclass(frozen=True)
class Trained:
    """What `train` returns: the sealed bundle's manifest, its place, and the evaluation in its report."""

    manifest: Manifest
    bundle: Path
    evaluation: dict[str, Any]


def train(
    declaration: Declaration,
    config: TrainingConfig,
    data: Path,
    out: Path,
    *,
    stages: Stages | None = None,
    key: bytes | None = None,
) -> Trained:
    """Train, judge and publish.

    Parameters
    ----------
    declaration : Declaration
    config : TrainingConfig
    data : Path
        Folder of hourly partitions.
    out : Path
        The bundle's place; its name is the bundle's.
    stages : Stages, optional
        Who shows progress.
    key : bytes or None
        Signs the bundle.

    Raises
    ------
    DataError, BundleError
        One line; `out` is then as it was.
    """
    show = stages or Silent()
    dataset = Dataset(data, declaration)
    parts, prepared = prepare(dataset, config, show)
    with staging(out) as directory:
        prepared, assembled = build(directory, parts, prepared, declaration, config, show)
        with show.stage("judge on held-out rows"):
            judged = Judged(directory, out.name, data, data_window(parts.split))
            evaluation = judge(judged, parts, prepared, assembled, declaration, config)
        with show.stage("publish"):
            content = _content(dataset, parts, prepared, assembled, declaration, config, evaluation)
            manifest = publish(directory, out, content, assembled.ensemble, assembled.proofs, key)
        assembled.ensemble.close()
    return Trained(manifest, out, evaluation)


def prepare(dataset: Dataset, config: TrainingConfig, show: Stages) -> tuple[Parts, Prepared]:
    """Read and split the rows, and compute the training rows' features.

    Parameters
    ----------
    dataset : Dataset
    config : TrainingConfig
    show : Stages

    Raises
    ------
    DataError
        One line: what is missing to learn from, a leak.
    """
    parts = _read(dataset, config, show)
    return parts, _prepare(parts, dataset.declaration, config, show)


def build(
    directory: Path,
    parts: Parts,
    prepared: Prepared,
    declaration: Declaration,
    config: TrainingConfig,
    show: Stages,
) -> tuple[Prepared, Assembled]:
    """Select features, learn, compile into `directory`, and calibrate.

    Returns
    -------
    prepared : Prepared
        The training rows with the features that were kept.
    assembled : Assembled
        Its libraries are open: close its ensemble.
    """
    prepared, selection = _selected(prepared, declaration, config, show)
    if selection is not None:
        text = json.dumps(selection.to_json(), indent=2, ensure_ascii=False)
        (directory / SELECTION).write_text(text, encoding="utf-8")
    base = _learn(prepared, declaration, config, show)
    with show.stage("compile, certify and calibrate"):
        return prepared, assemble_ensemble(directory, base, prepared, parts.calibration, declaration, config)


def _read(dataset: Dataset, config: TrainingConfig, show: Stages) -> Parts:
    split = temporal_split(dataset.partitions, config.split.options())
    with show.stage("read rows", dataset.rows) as advance:
        read = config.maturity.as_of
        taught = datetime.fromtimestamp(split.validation[0].now, UTC) if config.maturity.embargo else read
        train, calibration, validation = (
            read_sample(dataset, part, as_of, advance)
            for part, as_of in zip(split.parts.values(), (taught, taught, read), strict=True)
        )
    for name, sample in (("training", train), ("calibration", calibration)):
        if not (sample.labels.buyer == 1.0).any():
            gate = dataset.declaration.targets.gate
            raise DataError(f"{dataset.path}: {gate}: expected a mature buyer in the {name} part, received none")
    # The gate decides which rows can teach anything: encodings, classifier and folds all read it.
    return Parts(split, train.take(dataset.layout, np.isfinite(train.labels.buyer)), calibration, validation)


def _prepare(parts: Parts, declaration: Declaration, config: TrainingConfig, show: Stages) -> Prepared:
    sample = parts.train
    with show.stage("features", 2) as advance:
        columns = _masked(sample, declaration, config)
        fold = time_folds(columns.now, config.folds)
        buyer = sample.labels.buyer
        revenue = np.nan_to_num(sample.labels.revenue[:, gate_horizon(declaration)])
        plan = FeaturePlan.fit(declaration, columns, buyer, revenue)
        check_no_leak(parts.split, plan.names, declaration)
        advance(1)
        X = plan.transform_out_of_fold(columns, buyer, revenue, fold)
        advance(1)
    return Prepared(plan, X, sample.labels, columns.row_state, fold)


def _masked(sample: Sample, declaration: Declaration, config: TrainingConfig) -> Columns:
    rows, states = draw_mask(len(sample), config.history_mask, config.seed)
    return mask_history(sample.columns, Layout(declaration), rows, states)


def _selected(
    prepared: Prepared, declaration: Declaration, config: TrainingConfig, show: Stages
) -> tuple[Prepared, Selection | None]:
    """The rows with the features that are worth computing, where that is to be found out."""
    if config.selection is None:
        return prepared, None
    names, anchor = prepared.plan.names, gate_horizon(declaration)
    with show.stage("select features"):
        selection = select_features(prepared.X, names, prepared.labels, prepared.fold, anchor, config)
    kept = [names.index(name) for name in selection.kept]
    X = np.ascontiguousarray(prepared.X[:, kept])
    return replace(prepared, plan=prepared.plan.restricted(selection.kept), X=X), selection


def _learn(prepared: Prepared, declaration: Declaration, config: TrainingConfig, show: Stages) -> Fitted:
    targets = declaration.targets
    matrix = Matrix(prepared.X, Runtime(config.seed, config.threads))
    with show.stage("train", config.folds + 1) as advance:
        return fit_base(
            matrix,
            prepared.labels,
            prepared.fold,
            targets.horizons,
            gate_horizon(declaration),
            targets.log_mean_index,
            config,
            lambda: advance(1),
        )


def _content(
    dataset: Dataset,
    parts: Parts,
    prepared: Prepared,
    assembled: Assembled,
    declaration: Declaration,
    config: TrainingConfig,
    evaluation: dict[str, Any],
) -> Content:
    layout, calibration = dataset.layout, parts.calibration
    fields = {name for level in config.prior.levels for name in level}
    texts = {name: cohort(layout, calibration.columns, name) for name in fields}
    return Content(
        declaration=declaration,
        plan=prepared.plan,
        spec=assembled.ensemble.spec,
        prior=fit_prior(assembled.predictions, texts, config.prior.levels, config.prior.prior_rows),
        golden=golden_requests(dataset, parts.split.validation[0]),
        seed=config.seed,
        data_window=data_window(parts.split),
        metrics=headline(evaluation),
    )


def headline(evaluation: dict[str, Any]) -> dict[str, Any]:
    """The model's own metrics, for the manifest."""
    ours = evaluation["predictors"][0]
    return {
        "p_buyer": evaluation["classifier"][ours],
        "ltv": evaluation["amounts"][ours],
        "log_mean": evaluation["log_mean"][ours],
        "simulated_states": evaluation["simulated_states"],
        "split": evaluation["split"],
    }
