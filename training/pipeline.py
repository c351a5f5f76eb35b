"""Training, from hourly parquet to a bundle in its place: the order of the stages."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.features.matrix import FeaturePlan
from app.features.spec import Declaration
from app.inference.manifest import Manifest
from training.config import TrainingConfig
from training.data.dataset import Dataset
from training.data.sampling import spread
from training.data.splits import check_no_leak, temporal_split
from training.learning.boosting import Matrix, Runtime
from training.learning.feature_selection import Selection, select_features
from training.learning.learners import FittedBase, fit_base
from training.progress import Silent, Stages
from training.publishing.assembling import Assembled, assemble_ensemble
from training.publishing.golden_rows import golden_requests
from training.publishing.publish import Content, publish, staging
from training.publishing.references import fit_prior
from training.samples import Parts, Prepared, cohort, data_window, gate_horizon
from training.scale.finished import LEARNERS, Finished, code, once
from training.scale.loading import Loader, identity, narrowed, need_buyers
from training.scale.workers import workers
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
    processed: Path | None = None,
    scheduler: str | None = None,
) -> Trained:
    """Train, judge and publish.

    Rows are read and features built partition by partition; features go to disk, and the learners read them there.
    What an interrupted run has finished is taken up by the next one over the same rows, code and settings.

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
    processed : Path, optional
        Folder of features and finished stages, to be found by later runs; a temporary one unless given.
    scheduler : str, optional
        Address of a Dask scheduler whose workers see `data` and `processed` as this machine does; this machine's
        threads work unless given.

    Raises
    ------
    InputError, DataError, BundleError
        One line; `out` is then as it was.
    """
    show = stages or Silent()
    # Workers elsewhere may stand in another folder.
    dataset = Dataset(data if scheduler is None else data.resolve(), declaration, config.weighting)
    finished = None if processed is None else Finished(processed.resolve(), *identity(dataset, config))
    with staging(out) as directory:  # first: that nothing can be written there is told before hours are spent
        parts, prepared = prepare(dataset, config, show, finished, scheduler)
        prepared, assembled = build(directory, parts, prepared, declaration, config, show, finished)
        with show.stage("judge on held-out rows"):
            judged = Judged(directory, out.name, data, data_window(parts.split))
            evaluation = judge(judged, parts, prepared, assembled, declaration, config)
        with show.stage("publish"):
            content = _content(dataset, parts, prepared, assembled, declaration, config, evaluation)
            manifest = publish(directory, out, content, assembled.ensemble, assembled.proofs, key)
        assembled.ensemble.close()
    return Trained(manifest, out, evaluation)


def prepare(
    dataset: Dataset,
    config: TrainingConfig,
    show: Stages,
    finished: Finished | None = None,
    scheduler: str | None = None,
) -> tuple[Parts, Prepared]:
    """Read and split the rows, and compute the training rows' features.

    Parameters
    ----------
    dataset : Dataset
    config : TrainingConfig
    show : Stages
    finished : Finished, optional
        Where features go and what is done is found; unless given, features go with what is returned.
    scheduler : str, optional
        As of `train`.

    Raises
    ------
    DataError
        One line: what is missing to learn from, a leak.
    """
    split = temporal_split(spread(dataset.partitions, config.sampling.max_partitions), config.split.options())
    # Names alone tell a leak, and schemas a label that is not there, before hours are spent.
    check_no_leak(split, FeaturePlan.unfitted(dataset.declaration).names, dataset.declaration)
    dataset.check_labels()
    read = config.maturity.as_of
    taught = datetime.fromtimestamp(split.validation[0].now, UTC) if config.maturity.embargo else read
    with workers(scheduler, config.threads) as working:
        loader = Loader(dataset, config, working, finished or Finished.temporary())
        with show.stage("read rows", sum(p.rows for part in split.parts.values() for p in part)) as advance:
            rows = loader.training(split.train, taught, advance)
            calibration = loader.held_out("calibration", split.calibration, taught, advance)
            validation = loader.held_out("validation", split.validation, read, advance)
        need_buyers(dataset, calibration.labels, "calibration")
        with show.stage("features", sum(p.partition.rows for p in rows.pieces)) as advance:
            prepared = loader.features(rows, taught, advance)
    return Parts(split, len(rows.labels), replace(rows.kept, refunds=rows.refunds), calibration, validation), prepared


def build(
    directory: Path,
    parts: Parts,
    prepared: Prepared,
    declaration: Declaration,
    config: TrainingConfig,
    show: Stages,
    finished: Finished | None = None,
) -> tuple[Prepared, Assembled]:
    """Select features, learn, compile into `directory`, and calibrate.

    Returns
    -------
    prepared : Prepared
        The training rows with the features that were kept.
    assembled : Assembled
        Its libraries are open: close its ensemble.
    """
    prepared, selection = _selected(prepared, declaration, config, finished, show)
    if selection is not None:
        text = json.dumps(selection.to_json(), indent=2, ensure_ascii=False)
        (directory / SELECTION).write_text(text, encoding="utf-8")
    base = _learn(prepared, declaration, config, finished, show)
    with show.stage("compile, certify and calibrate"):
        return prepared, assemble_ensemble(directory, base, prepared, parts.calibration, declaration, config)


def _selected(
    prepared: Prepared, declaration: Declaration, config: TrainingConfig, finished: Finished | None, show: Stages
) -> tuple[Prepared, Selection | None]:
    """The rows with the features that are worth computing, where that is to be found out."""
    if config.selection is None:
        return prepared, None
    names, anchor = prepared.plan.names, gate_horizon(declaration)
    with show.stage("select features"):
        selection = once(
            finished,
            "selection",
            lambda: select_features(prepared.X, names, prepared.labels, prepared.fold, anchor, config),
            code(LEARNERS),
            config.model_dump(mode="json"),
        )
    kept = [names.index(name) for name in selection.kept]
    return replace(prepared, plan=prepared.plan.restricted(selection.kept), X=narrowed(prepared.X, kept)), selection


def _learn(
    prepared: Prepared, declaration: Declaration, config: TrainingConfig, finished: Finished | None, show: Stages
) -> FittedBase:
    targets = declaration.targets

    def fit() -> FittedBase:
        return fit_base(
            Matrix(prepared.X, Runtime(config.seed, config.threads), weight=prepared.labels.weight),
            prepared.labels,
            prepared.fold,
            targets.horizons,
            gate_horizon(declaration),
            targets.log_mean_index,
            config,
            lambda: advance(1),
        )

    fits = (config.folds + 1) * (1 if config.bases is None else 2)
    with show.stage("train", fits) as advance:
        settings = config.model_dump(mode="json", exclude={"report", "prior", "multiplier", "tracking"})
        return once(finished, "models", fit, code(LEARNERS), prepared.plan.fingerprint, settings)


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
        prior=fit_prior(
            assembled.predictions, texts, config.prior.levels, config.prior.prior_rows, calibration.labels.weight
        ),
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
