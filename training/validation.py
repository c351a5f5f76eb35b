"""Held-out rows enter; what the compiled ensemble and its baselines answer, and the report of it, leave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from app.errors import DataError
from app.features.layout import Layout
from app.features.matrix import FeaturePlan
from app.features.spec import Declaration, HistoryState
from app.inference.ensemble import Ensemble
from training.config import TrainingConfig
from training.data.weights import effective_rows
from training.evaluation.baselines import Baseline, fit_baselines
from training.evaluation.model_card import model_card
from training.evaluation.report import evaluate, write_report
from training.evaluation.rows import EvaluationRows, Oracle, Provenance, Scored
from training.examining import Examined, examine, training_reference
from training.learning.boosting import MAX_BIN, Floats, Ints
from training.publishing.assembling import Assembled
from training.publishing.publish import versions
from training.samples import LOST, Parts, Prepared, Sample, cohort

MODEL = "pltv"
MISSING = "(missing)"


@dataclass(frozen=True)
class Judged:
    """Where the report goes, and what it is of: the bundle's name, the data's folder, the hours of each part."""

    directory: Path
    name: str
    data: Path
    window: Mapping[str, Any]


def judge(
    what: Judged,
    parts: Parts,
    prepared: Prepared,
    assembled: Assembled,
    declaration: Declaration,
    config: TrainingConfig,
) -> dict[str, Any]:
    """Score the compiled ensemble beside baselines fitted on the same X; write report, plots and model card.

    Returns
    -------
    dict
        The evaluation, as in `report.json`.
    """
    sample, targets, plan = parts.validation, declaration.targets, prepared.plan
    rows = evaluation_rows(sample, declaration, config.report.cohorts, what.data)
    X = plan.transform(sample.columns)
    scored = [score(assembled.ensemble, X, sample.columns.row_state)]
    scored += [score_baseline(one, X) for one in _baselines(prepared, declaration, config)]
    evaluation = evaluate(
        rows,
        scored,
        targets.horizons,
        bootstrap_replicates=config.report.replicates,
        seed=config.seed,
        log_horizon=targets.log_mean,
        simulated=score_lost(assembled.ensemble, plan, sample),
    )
    evaluation["split"] = _split_kind(config)
    if prepared.labels.weight is not None:
        evaluation["effective_training_rows"] = effective_rows(prepared.labels.weight)
    if assembled.comparison is not None:
        evaluation["stacking"] = assembled.comparison.to_json()
    training_reference(parts.train, plan).save(what.directory)
    examined = Examined(what.directory, X, plan, sample, config.report.replicates, config.seed, config.threads)
    contributions, importance = examine(examined, evaluation)
    context = _provenance(what, parts, assembled, declaration, config, generated=rows.oracle is not None)
    context = replace(context, notes=(*context.notes, *_about_weights(parts, prepared, config)))
    write_report(
        what.directory,
        evaluation,
        rows=rows,
        scored=scored,
        context=context,
        importance=importance,
        contributions=contributions,
        draw=config.report.pictures,
    )
    (what.directory / "MODEL_CARD.md").write_text(model_card(evaluation, context), encoding="utf-8")
    return evaluation


def _baselines(prepared: Prepared, declaration: Declaration, config: TrainingConfig) -> list[Baseline]:
    if config.report.baseline_rounds == 0:
        return []
    targets, labels = declaration.targets, prepared.labels
    return fit_baselines(
        prepared.X,
        {h: labels.revenue[:, i] for i, h in enumerate(targets.horizons)},
        labels.buyer,
        horizons=targets.horizons,
        seed=config.seed,
        num_threads=config.threads,
        params={"num_boost_round": config.report.baseline_rounds, "max_bin": MAX_BIN},
        log_horizon=targets.log_mean,
        sample_weight=labels.weight,
    )


def _provenance(
    what: Judged,
    parts: Parts,
    assembled: Assembled,
    declaration: Declaration,
    config: TrainingConfig,
    *,
    generated: bool,
) -> Provenance:
    refunds = sum(part.refunds for part in (parts.train, parts.calibration, parts.validation))
    notes = [
        f"Strategy `{config.strategy}`, horizons by `{config.regressors.form}` of `{config.regressors.objective}`.",
        f"Revenues below zero, clipped at 0: {refunds:,}.",
    ]
    if (comparison := assembled.comparison) is not None:
        verb = "ships" if assembled.meta is not None else "does not ship"
        notes.append(
            f"The meta-learner {verb}: on the calibration rows its squared log error is "
            f"{comparison.squared_log_error_with:.5f} against {comparison.squared_log_error_without:.5f} without "
            f"(z = {comparison.squared_log_error_z:+.1f}), its deviance differs by z = {comparison.deviance_z:+.1f}."
        )
    if assembled.base.others:
        notes.append(f"The meta-learner reads base learners of other kinds: {', '.join(assembled.base.others)}.")
    return Provenance(
        name=what.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        data_start=what.window["train"]["first"],
        data_end=what.window["validation"]["last"],
        training_rows=parts.train_rows,
        calibration_rows=len(parts.calibration),
        validation_rows=len(parts.validation),
        seed=config.seed,
        generated=generated,
        label_unit=declaration.label_unit,
        split=_split_kind(config),
        versions=versions(),
        notes=tuple(notes),
    )


def _about_weights(parts: Parts, prepared: Prepared, config: TrainingConfig) -> list[str]:
    """How many rows of equal weight the weighted rows are worth; nothing where all count the same."""
    weights = config.sample_weight
    if weights is None:
        return []
    labels = {
        "training": prepared.labels,
        "calibration": parts.calibration.labels,
        "validation": parts.validation.labels,
    }
    worth = (
        f"{part} {effective_rows(o.weight):,.0f} of {len(o):,}" for part, o in labels.items() if o.weight is not None
    )
    clip = "" if weights.clip is None else f", clipped at {weights.clip:g}"
    return [f"Rows count by their `{weights.column}`{clip}; effective rows, (Σw)²/Σw²: {', '.join(worth)}."]


def _split_kind(config: TrainingConfig) -> str:
    maturity = config.maturity
    return "backtest" if maturity.as_of is None and not maturity.embargo else "deployable"


def evaluation_rows(sample: Sample, declaration: Declaration, cohorts: Sequence[str], data: Path) -> EvaluationRows:
    """What the predictors are judged by.

    Parameters
    ----------
    sample : Sample of n rows
    declaration : Declaration
    cohorts : sequence of str
        Text columns to look at bias in; the history state is added.
    data : Path
        Folder of the rows; its oracle is used where there is one.
    """
    layout = Layout(declaration)
    groups = {name: _labels(cohort(layout, sample.columns, name)) for name in cohorts}
    states = np.array([HistoryState(s).label for s in range(len(HistoryState))])
    groups["history_state"] = states[sample.columns.row_state]
    oracle = read_oracle(data, sample.row_id, declaration.targets.horizons)
    buyer = np.nan_to_num(sample.labels.buyer)
    return EvaluationRows(
        y=sample.labels.revenue,
        buyer=buyer,
        ids=sample.row_id,
        cohorts=groups,
        oracle=oracle,
        sample_weight=sample.labels.weight,
    )


def read_oracle(data: Path, row_id: NDArray[np.object_], horizons: Sequence[int]) -> Oracle | None:
    """The truth of generated rows, from `<data>.oracle.parquet`; None where there is no such file or it lacks a row.

    Raises
    ------
    DataError
        When the file can not be read.
    """
    path = data.with_name(data.name + ".oracle.parquet")
    if not path.exists():
        return None
    names = ["p_buyer", *(f"e_d{h}" for h in horizons)]
    try:
        table = pq.read_table(path, columns=["row_id", *names])
    except Exception as error:
        raise DataError(f"{path}: can not be read ({str(error).splitlines()[0]})") from error
    position = {identity: i for i, identity in enumerate(table["row_id"].to_pylist())}
    found = np.array([position.get(identity, -1) for identity in row_id.tolist()], dtype=np.int64)
    if len(found) == 0 or found.min() < 0:
        return None
    values = np.column_stack([table[name].to_numpy() for name in names])[found]
    return Oracle(np.ascontiguousarray(values[:, 0]), np.ascontiguousarray(values[:, 1:]))


def score(ensemble: Ensemble, X: Floats, state: Ints) -> Scored:
    """The ensemble's answers."""
    predictions = ensemble.predict(X, state)
    return Scored(MODEL, predictions.p_buyer, predictions.ltv, predictions.log_mean)


def score_lost(ensemble: Ensemble, plan: FeaturePlan, sample: Sample) -> dict[str, Scored]:
    """The answers for the same rows with every history lost, by the label of the state."""
    blind = {s.label: sample.in_state(plan.layout, s) for s in LOST}
    return {label: score(ensemble, plan.transform(c), c.row_state) for label, c in blind.items()}


def score_baseline(baseline: Baseline, X: Floats) -> Scored:
    """A baseline's answers."""
    answer = baseline.predict(X)
    return Scored(baseline.name, answer.p_buyer, answer.ltv, answer.log_mean)


def _labels(texts: NDArray[np.object_]) -> NDArray[np.str_]:
    return np.array([MISSING if text is None else str(text) for text in texts.tolist()], dtype=np.str_)
