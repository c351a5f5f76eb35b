"""A published bundle and data with labels enter; a report for people leaves: HTML, Markdown, JSON and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.inference.predictor import Predictor
from training.assessing import Assessment, Settings, assess
from training.evaluation.report import write_report
from training.evaluation.rows import Provenance
from training.examining import Examined, examine
from training.progress import Stages


def report(
    bundle: Path,
    predictor: Predictor,
    data: Path,
    out: Path,
    settings: Settings,
    stages: Stages,
    beside: Sequence[Predictor] = (),
) -> list[Path]:
    """Assess a bundle (`training.assessing.assess`), explain its models, look for drift, and write it all to `out`.

    Parameters
    ----------
    bundle : Path
        Directory of `predictor`: the models' texts and the training rows' distribution lie there.
    predictor : Predictor
    data, out : Path
        Folder of hourly partitions, and folder of the report.
    settings : Settings
    stages : Stages
    beside : sequence of Predictor
        Other bundles to judge on the same rows: a deployable one beside its backtest, a challenger beside its champion.

    Returns
    -------
    list of Path
        The files written.
    """
    found = assess(predictor, data, settings, stages, beside)
    with stages.stage("explain, compare, draw"):
        what = Examined(
            bundle, found.X, predictor.plan, found.judged, settings.replicates, settings.seed, settings.threads
        )
        contributions, importance = examine(what, found.evaluation)
        context = _provenance(bundle, predictor, found, settings, beside)
        return write_report(
            out,
            found.evaluation,
            rows=found.rows,
            scored=found.scored,
            context=context,
            importance=importance,
            contributions=contributions,
        )


def _provenance(
    bundle: Path, predictor: Predictor, found: Assessment, settings: Settings, beside: Sequence[Predictor]
) -> Provenance:
    window, hours = predictor.manifest.data_window, found.judged.columns.now
    first, last = (datetime.fromtimestamp(t, UTC).strftime("%Y-%m-%d %H:%M") for t in (hours.min(), hours.max()))
    notes = [
        f"Revenues below zero, clipped at 0: {found.judged.refunds:,}.",
        f"The baselines learned from the {found.known_rows:,} rows before these.",
        f"Labels count as read on {settings.as_of}." if settings.as_of else "Every label counts as mature.",
    ]
    notes += [f"Beside it: **{other.manifest.name}**, {_kind(other.manifest.metrics)}." for other in beside]
    return Provenance(
        name=predictor.manifest.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        data_start=first,
        data_end=last,
        training_rows=window["train"]["rows"],
        calibration_rows=window["calibration"]["rows"],
        validation_rows=found.rows.n,
        seed=settings.seed,
        generated=found.rows.oracle is not None,
        label_unit=predictor.declaration.label_unit,
        split=str(predictor.manifest.metrics.get("split", "backtest")),
        versions=predictor.manifest.versions,
        notes=tuple(notes),
    )


def _kind(metrics: Any) -> str:
    if metrics.get("split") == "deployable":
        return "deployable: trained only on labels that were mature when its validation began"
    return "a backtest: trained on labels as they are known today"
