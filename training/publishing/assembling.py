"""Trained base models and the calibration slice enter; the compiled, calibrated ensemble leaves.

From here on nothing is predicted but by the compiled libraries: what is calibrated is what is served.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from app.features.layout import Layout
from app.features.spec import Declaration
from app.inference.bundle import MODELS
from app.inference.compiled import CompiledModel
from app.inference.ensemble import Ensemble, Predictions, meta_features
from app.inference.specification import Calibration, EnsembleSpec, MultiplierSpec
from app.inference.stage import extended
from training.config import TrainingConfig
from training.learning.boosting import Floats, Runtime
from training.learning.evidence import Evidence, fit_calibration
from training.learning.labels import Labels
from training.learning.learners import Fitted, FittedBase, fit_stack
from training.learning.recalibration import recalibrated
from training.learning.selection import Comparison, compare
from training.learning.strategies import SERVED
from training.learning.tails import tail_smoothed
from training.publishing.publish import CERTIFIED_ROWS, publish_library, publish_trees
from training.publishing.references import fit_multiplier
from training.samples import LOST, Prepared, Sample, cohort, gate_horizon


@dataclass(frozen=True)
class Assembled:
    """The ensemble with what proves and explains it.

    Parameters
    ----------
    ensemble : Ensemble
    base : FittedBase
    meta : Fitted or None
        Where it ships.
    proofs : dict
        Certificate of each library by file name.
    comparison : Comparison or None
        With the meta-learner against without, on the calibration rows.
    predictions : Predictions
        Of the calibration rows.
    """

    ensemble: Ensemble
    base: FittedBase
    meta: Fitted | None
    proofs: dict[str, Any]
    comparison: Comparison | None
    predictions: Predictions


def assemble_ensemble(
    directory: Path,
    base: FittedBase,
    rows: Prepared,
    calibration: Sample,
    declaration: Declaration,
    config: TrainingConfig,
) -> Assembled:
    """Compile into `directory`, decide on the meta-learner, calibrate, and set the multiplier's references.

    Base learners of other kinds ship with the meta-learner, which alone reads them, or not at all.
    """
    alone = base.alone()
    compiled, proofs = _publish_base(directory, alone, rows.X, config.seed)
    plain = Ensemble(_bare(alone, rows.labels, declaration, config), compiled, None)
    X = rows.plan.transform(calibration.columns)
    comparison, chosen, shipped, learned = None, plain, None, alone
    if config.meta is not None:
        log_horizon, runtime = declaration.targets.log_mean_index, Runtime(config.seed, config.threads)
        spec = _with_others(plain.spec, base)
        meta = fit_stack(base, rows.labels, rows.fold, spec, log_horizon, config.meta, runtime)
        others, other_proofs = _publish_others(directory, base, rows.X, config.seed)
        F = meta_features(base.out_of_fold, spec)
        compiled_meta, meta_proof = publish_library(directory, meta.library, meta.boosters, F, config.seed)
        stacked = Ensemble(replace(spec, meta=meta.library), [*compiled, *others], compiled_meta)
        if config.log_mean is not None:
            comparison = _compare(plain, stacked, X, calibration.labels, declaration)
        if comparison is None or comparison.earned or config.meta.ship == "always":
            shipped, chosen, learned = meta, stacked, base
            proofs |= other_proofs | {meta.library.library: meta_proof}
        else:
            for model in (*others, compiled_meta):
                model.close()
                _withdraw(directory, model.path)
    ensemble = _calibrated(chosen, learned, shipped, rows, calibration, X, declaration, config)
    predictions = ensemble.predict(X, calibration.columns.row_state)
    ensemble = _with_multiplier(ensemble, predictions, calibration, declaration, config)
    return Assembled(ensemble, learned, shipped, proofs, comparison, predictions)


def _publish_base(
    directory: Path, base: FittedBase, X: Floats, seed: int
) -> tuple[list[CompiledModel], dict[str, Any]]:
    """Compile every library and certify it on what it reads: X, and out-of-fold scores of libraries before it."""
    compiled, proofs, raw = [], {}, base.out_of_fold[:CERTIFIED_ROWS]
    X = X[:CERTIFIED_ROWS]
    names = [output.name for fitted in base.libraries for output in fitted.library.outputs]
    for fitted in base.libraries:
        columns = [names.index(name) for name in fitted.library.inputs]
        own = extended(X, raw[:, columns]) if columns else X
        model, proofs[fitted.library.library] = publish_library(directory, fitted.library, fitted.boosters, own, seed)
        compiled.append(model)
    return compiled, proofs


def _publish_others(
    directory: Path, base: FittedBase, X: Floats, seed: int
) -> tuple[list[CompiledModel], dict[str, Any]]:
    """The same for forest and XGBoost."""
    found = {one.library.library: publish_trees(directory, one.library, one.base, X, seed) for one in base.trees}
    return [model for model, _ in found.values()], {name: proof for name, (_, proof) in found.items()}


def _with_others(spec: EnsembleSpec, base: FittedBase) -> EnsembleSpec:
    return replace(spec, base=base.specs, linear=tuple(one.linear for one in base.linear))


def _bare(base: FittedBase, labels: Labels, declaration: Declaration, config: TrainingConfig) -> EnsembleSpec:
    """The specification before anything is calibrated, but for stages that learned from resampled rows."""
    horizons = declaration.targets.horizons
    m = config.multiplier
    spec = EnsembleSpec(
        horizons,
        base.specs,
        None,
        Calibration.identity(len(horizons)),
        np.ones(len(horizons)),
        MultiplierSpec(m.by, m.horizon, m.alpha, m.lo, m.hi, 1.0, {}),
        SERVED[base.strategy],
        base.form,
    )
    gate, money = config.classifier.resampling is not None, config.regressors.resampling is not None
    undone = recalibrated(base.out_of_fold, labels, spec, config.calibration, gate=gate, horizons=money)
    return replace(spec, recalibration=undone)


def _compare(plain: Ensemble, stacked: Ensemble, X: Floats, labels: Labels, declaration: Declaration) -> Comparison:
    anchor, log_horizon = gate_horizon(declaration), declaration.targets.log_mean_index
    without, with_meta = plain.uncalibrated(X), stacked.uncalibrated(X)
    revenue = tail_smoothed(labels.revenue[:, anchor], without.ltv[anchor])
    return compare(without, with_meta, revenue, np.log1p(labels.revenue[:, log_horizon]), anchor, labels.weight)


def _calibrated(
    ensemble: Ensemble,
    base: FittedBase,
    meta: Fitted | None,
    rows: Prepared,
    calibration: Sample,
    X: Floats,
    declaration: Declaration,
    config: TrainingConfig,
) -> Ensemble:
    """Calibrate on the calibration slice and on the training rows whose history was not masked."""
    as_came = ~np.isin(rows.state, LOST)
    raw = np.concatenate([base.out_of_fold[as_came], ensemble.base.predict_raw(X)])
    raw_meta = None
    if ensemble.meta is not None and meta is not None:
        now = ensemble.meta.predict_raw(meta_features(raw[int(as_came.sum()) :], ensemble.spec))
        raw_meta = np.concatenate([meta.out_of_fold[as_came], now])
    state = np.concatenate([rows.state[as_came], calibration.columns.row_state])
    later = np.arange(len(raw)) >= int(as_came.sum())
    labels = rows.labels.take(as_came).joined(calibration.labels)
    evidence = Evidence.of(raw, raw_meta, state, labels, later, ensemble.spec, base.strategy)
    layout, plan = Layout(declaration), rows.plan
    lost = {s: ensemble.uncalibrated(plan.transform(calibration.in_state(layout, s))) for s in LOST}
    fit, weights = fit_calibration(evidence, lost, declaration.targets.log_mean_index, config.calibration)
    return Ensemble(replace(ensemble.spec, calibration=fit, weights=weights), ensemble.base.models, ensemble.meta)


def _with_multiplier(
    ensemble: Ensemble, predictions: Predictions, calibration: Sample, declaration: Declaration, config: TrainingConfig
) -> Ensemble:
    advertisers = cohort(Layout(declaration), calibration.columns, config.multiplier.by)
    column = declaration.targets.horizons.index(config.multiplier.horizon)
    multiplier = fit_multiplier(predictions.ltv[:, column], advertisers, config.multiplier, calibration.labels.weight)
    return Ensemble(replace(ensemble.spec, multiplier=multiplier), ensemble.base.models, ensemble.meta)


def _withdraw(directory: Path, library: Path) -> None:
    """Leave nothing in the bundle of a library that does not ship."""
    library.unlink()
    for path in (directory / MODELS).glob(f"{library.stem}.*"):
        path.unlink()
