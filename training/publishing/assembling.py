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
from app.inference.ensemble import Ensemble, Predictions, meta_features
from app.inference.specification import Calibration, EnsembleSpec, MultiplierSpec
from training.config import TrainingConfig
from training.learning.boosting import Floats, Runtime
from training.learning.evidence import Evidence, fit_calibration
from training.learning.labels import Labels
from training.learning.learners import Fitted, fit_stack
from training.learning.selection import Comparison, compare
from training.learning.tails import tail_smoothed
from training.publishing.publish import publish_library
from training.publishing.references import fit_multiplier
from training.samples import LOST, Prepared, Sample, cohort, gate_horizon


@dataclass(frozen=True)
class Assembled:
    """The ensemble with what proves and explains it.

    Parameters
    ----------
    ensemble : Ensemble
    fitted : tuple of Fitted
        The libraries' boosters: base, then meta where it ships.
    proofs : dict
        Certificate of each library by file name.
    comparison : Comparison or None
        With the meta-learner against without, on the calibration rows.
    predictions : Predictions
        Of the calibration rows.
    """

    ensemble: Ensemble
    fitted: tuple[Fitted, ...]
    proofs: dict[str, Any]
    comparison: Comparison | None
    predictions: Predictions


def assemble_ensemble(
    directory: Path,
    base: Fitted,
    rows: Prepared,
    calibration: Sample,
    declaration: Declaration,
    config: TrainingConfig,
) -> Assembled:
    """Compile into `directory`, decide on the meta-learner, calibrate, and set the multiplier's references."""
    runtime = Runtime(config.seed, config.threads)
    compiled, proof = publish_library(directory, base.library, base.boosters, rows.X, config.seed)
    plain = Ensemble(_bare(base, declaration, config), compiled, None)
    X = rows.plan.transform(calibration.columns)
    fitted: tuple[Fitted, ...] = (base,)
    proofs, comparison, chosen = {base.library.library: proof}, None, plain
    if config.meta is not None:
        log_horizon = declaration.targets.log_mean_index
        meta = fit_stack(base, rows.labels, rows.fold, plain.spec, log_horizon, config.meta, runtime)
        F = meta_features(base.out_of_fold, plain.spec)
        compiled_meta, meta_proof = publish_library(directory, meta.library, meta.boosters, F, config.seed)
        stacked = Ensemble(replace(plain.spec, meta=meta.library), compiled, compiled_meta)
        if config.log_mean is not None:
            comparison = _compare(plain, stacked, X, calibration.labels, declaration)
        if comparison is None or comparison.earned or config.meta.ship == "always":
            fitted, chosen = (base, meta), stacked
            proofs[meta.library.library] = meta_proof
        else:
            compiled_meta.close()
            _withdraw(directory, meta)
    ensemble = _calibrated(chosen, fitted, rows, calibration, X, declaration, config)
    predictions = ensemble.predict(X, calibration.columns.row_state)
    ensemble = _with_multiplier(ensemble, predictions, calibration, declaration, config)
    return Assembled(ensemble, fitted, proofs, comparison, predictions)


def _bare(base: Fitted, declaration: Declaration, config: TrainingConfig) -> EnsembleSpec:
    """The specification before anything is calibrated."""
    horizons = declaration.targets.horizons
    m = config.multiplier
    multiplier = MultiplierSpec(m.by, m.horizon, m.alpha, m.lo, m.hi, 1.0, {})
    return EnsembleSpec(
        horizons, base.library, None, Calibration.identity(len(horizons)), np.ones(len(horizons)), multiplier
    )


def _compare(plain: Ensemble, stacked: Ensemble, X: Floats, labels: Labels, declaration: Declaration) -> Comparison:
    anchor, log_horizon = gate_horizon(declaration), declaration.targets.log_mean_index
    without, with_meta = plain.uncalibrated(X), stacked.uncalibrated(X)
    revenue = tail_smoothed(labels.revenue[:, anchor], without.ltv[anchor])
    return compare(without, with_meta, revenue, np.log1p(labels.revenue[:, log_horizon]), anchor)


def _calibrated(
    ensemble: Ensemble,
    fitted: tuple[Fitted, ...],
    rows: Prepared,
    calibration: Sample,
    X: Floats,
    declaration: Declaration,
    config: TrainingConfig,
) -> Ensemble:
    """Calibrate on the calibration slice and on the training rows whose history was not masked."""
    as_came = ~np.isin(rows.state, LOST)
    raw = np.concatenate([fitted[0].out_of_fold[as_came], ensemble.base.predict_raw(X)])
    raw_meta = None
    if ensemble.meta is not None:
        now = ensemble.meta.predict_raw(meta_features(raw[int(as_came.sum()) :], ensemble.spec))
        raw_meta = np.concatenate([fitted[1].out_of_fold[as_came], now])
    state = np.concatenate([rows.state[as_came], calibration.columns.row_state])
    later = np.arange(len(raw)) >= int(as_came.sum())
    labels = rows.labels.take(as_came).joined(calibration.labels)
    evidence = Evidence.of(raw, raw_meta, state, labels, later, ensemble.spec)
    layout, plan = Layout(declaration), rows.plan
    lost = {s: ensemble.uncalibrated(plan.transform(calibration.in_state(layout, s))) for s in LOST}
    fit, weights = fit_calibration(evidence, lost, declaration.targets.log_mean_index, config.calibration)
    return Ensemble(replace(ensemble.spec, calibration=fit, weights=weights), ensemble.base, ensemble.meta)


def _with_multiplier(
    ensemble: Ensemble, predictions: Predictions, calibration: Sample, declaration: Declaration, config: TrainingConfig
) -> Ensemble:
    advertisers = cohort(Layout(declaration), calibration.columns, config.multiplier.by)
    column = declaration.targets.horizons.index(config.multiplier.horizon)
    multiplier = fit_multiplier(predictions.ltv[:, column], advertisers, config.multiplier)
    return Ensemble(replace(ensemble.spec, multiplier=multiplier), ensemble.base, ensemble.meta)


def _withdraw(directory: Path, meta: Fitted) -> None:
    """Leave nothing in the bundle of a meta-learner that does not ship."""
    (directory / meta.library.library).unlink()
    for path in (directory / "models").glob(f"{Path(meta.library.library).stem}.*.txt"):
        path.unlink()
