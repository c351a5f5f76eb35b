"""X enters, prices leave: the arithmetic between compiled trees and the answer, the same for one row and many.

    raw scores ─ form, strategy ─▶ p, ltv ─ meta trees ─▶ ltv, E[log1p y] ─ calibration ─ projection ─▶

Everything is elementwise on contiguous float64, so that a row's bits do not depend on the batch it rides in:
no matrix product, no negative stride, no prefix sum. Inside, arrays are horizon-major, (n_horizons, n_rows).
What the numbers are is data: `ensemble.json`, `app.inference.specification`. numpy's functions here are the
definition; a bundle's `ensemble.so` computes the same bits in one call (`app.inference.program`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.inference.arithmetic import exp, expm1, interpolate, log1p, power
from app.inference.compiled import CompiledModel
from app.inference.forms import LINK_CAP, Linked, link
from app.inference.ordering import project
from app.inference.outputs import SEGMENT, head
from app.inference.program import EnsembleTwin
from app.inference.specification import GATED, Calibration, EnsembleSpec, MultiplierSpec
from app.inference.stage import BaseStage

__all__ = [
    "Blend", "Calibration", "Ensemble", "EnsembleSpec", "MultiplierSpec", "Predictions",
    "blend", "calibrate", "meta_feature_names", "meta_features",
]  # fmt: skip

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Blend:
    """Predictions before calibration.

    Parameters
    ----------
    p_buyer : ndarray of shape (n_rows,), probability
    ltv : ndarray of shape (n_horizons, n_rows), US dollars, horizon-major
    log_mean : ndarray of shape (n_rows,), E[log1p y], log1p of US dollars, ≥ 0
    """

    p_buyer: Floats
    ltv: Floats
    log_mean: Floats


@dataclass(frozen=True, slots=True)
class Predictions:
    """Answers of a batch of rows.

    Parameters
    ----------
    p_buyer : ndarray of shape (n_rows,), probability
    ltv : ndarray of shape (n_rows, n_horizons), US dollars, non-decreasing along a row
    log_mean : ndarray of shape (n_rows,), US dollars
        expm1(E[log1p y]) of the declared horizon.
    multiplier : ndarray of shape (n_rows,)
        clip((ltv / reference)^alpha, lo, hi), of the horizon `spec.multiplier.horizon`.
    corrected : ndarray of shape (n_rows,), bool
        Whether the order projection changed the row.
    """

    p_buyer: Floats
    ltv: Floats
    log_mean: Floats
    multiplier: Floats
    corrected: NDArray[np.bool_]


def meta_feature_names(spec: EnsembleSpec) -> tuple[str, ...]:
    """Return the columns of `meta_features`."""
    days = [head(h) for h in spec.horizons]
    segments = (f"{SEGMENT}{k}" for k in range(spec.segments))
    return ("p", *(f"log1p_{d}" for d in days), *(f"p_times_{d}" for d in days), *segments, *spec.extras)


def meta_features(raw: Floats, spec: EnsembleSpec) -> Floats:
    """Return the meta-learner's X; in training `raw` are out-of-fold scores.

    Parameters
    ----------
    raw : ndarray of shape (n_rows, n_base_outputs), raw scores of the base models

    Returns
    -------
    ndarray of shape (n_rows, n_meta_features), float64 on the float32 grid
    """
    return _meta_matrix(raw, link(raw, spec), spec)


def blend(raw: Floats, raw_meta: Floats | None, spec: EnsembleSpec) -> Blend:
    """Turn raw scores into uncalibrated predictions.

    The meta heads of the horizons correct the base models' E[y] by a factor exp(raw): they are trained with
    `init_score = log(E[y])`.

    Parameters
    ----------
    raw : ndarray of shape (n_rows, n_base_outputs)
    raw_meta : ndarray of shape (n_rows, n_meta_outputs) or None
        None without a meta-learner.
    """
    return _blend(raw, raw_meta, link(raw, spec), spec)


def calibrate(mix: Blend, state: NDArray[np.integer], calibration: Calibration) -> Blend:
    """Calibrate probability, mean and log-mean: piecewise linear maps, and a factor a history state.

    Parameters
    ----------
    mix : Blend
    state : ndarray of shape (n_rows,), integer
        History state, row of `calibration.state`.
    """
    log_ltv = log1p(mix.ltv)
    factor = np.take(calibration.state.T, state, axis=1)  # (n_horizons, n_rows)
    for h, curve in enumerate(calibration.ltv):
        factor[h] *= interpolate(log_ltv[h], curve.x, curve.y)
    return Blend(
        p_buyer=interpolate(mix.p_buyer, calibration.p_buyer.x, calibration.p_buyer.y),
        ltv=np.multiply(mix.ltv, factor, out=factor),
        log_mean=interpolate(mix.log_mean, calibration.log_mean.x, calibration.log_mean.y),
    )


class Ensemble:
    """The compiled models with their specification.

    Parameters
    ----------
    spec : EnsembleSpec
    base : sequence of CompiledModel
        One a library of `spec.base`.
    meta : CompiledModel or None
        Present exactly when `spec.meta` is.
    twin : EnsembleTwin, optional
        Predicts in numpy's place.
    """

    def __init__(
        self,
        spec: EnsembleSpec,
        base: Sequence[CompiledModel],
        meta: CompiledModel | None,
        twin: EnsembleTwin | None = None,
    ) -> None:
        self.spec = spec
        self.base = BaseStage(spec, base)
        self.meta = meta
        self.twin = twin

    @property
    def models(self) -> tuple[CompiledModel, ...]:
        """The libraries in the order of `spec.libraries`."""
        return self.base.models if self.meta is None else (*self.base.models, self.meta)

    def uncalibrated(self, X: Floats) -> Blend:
        """Return predictions before calibration; X as `predict` takes it."""
        raw = self.base.predict_raw(X)
        linked = link(raw, self.spec)
        raw_meta = None
        if self.meta is not None:
            raw_meta = self.meta.predict_raw(_meta_matrix(raw, linked, self.spec))
        return _blend(raw, raw_meta, linked, self.spec)

    def predict(
        self, X: Floats, state: NDArray[np.integer], advertisers: Sequence[str | None] | None = None
    ) -> Predictions:
        """Predict.

        Parameters
        ----------
        X : ndarray of shape (n_rows, n_features), float64, C-contiguous
        state : ndarray of shape (n_rows,), integer
            History state of each row.
        advertisers : sequence of (str or None), length n_rows, optional
            Whose reference the multiplier takes; one without a reference of its own, and all where this is not given,
            take the global one.

        Returns
        -------
        Predictions
        """
        out = self.price(X, state, advertisers)
        return Predictions(out[:, 0], out[:, 1:-3], out[:, -3], out[:, -2], out[:, -1] != 0.0)

    def price(self, X: Floats, state: NDArray[np.integer], advertisers: Sequence[str | None] | None = None) -> Floats:
        """The same as one array of shape (n_rows, n_horizons + 4), the columns of `Predictions` side by side.

        For a request's few rows an array a column costs more than the trees.
        """
        reference = self.references(advertisers, len(state))
        if self.twin is None:
            return self._define(X, state, reference)
        if not X.flags.c_contiguous:
            raise ValueError("X: expected a C-contiguous array, received one that is not")
        return self.twin.run(X, np.ascontiguousarray(state, dtype=np.int64), reference)

    def references(self, advertisers: Sequence[str | None] | None, n_rows: int) -> Floats:
        """The multiplier's reference of each row, (n_rows,), US dollars."""
        own, default = self.spec.multiplier.by_advertiser, self.spec.multiplier.reference
        if advertisers is None:
            return np.full(n_rows, default)
        return np.array([own.get(a, default) if a is not None else default for a in advertisers], dtype=np.float64)

    def multiplier(self, ltv: Floats, reference: Floats) -> Floats:
        """Return clip((ltv / reference)^alpha, lo, hi).

        Parameters
        ----------
        ltv, reference : ndarray of shape (n_rows,), US dollars
            Of the horizon `spec.multiplier.horizon`.

        Returns
        -------
        ndarray of shape (n_rows,), float64
        """
        m = self.spec.multiplier
        return np.minimum(np.maximum(power(ltv / reference, m.alpha), m.lo), m.hi)

    def _define(self, X: Floats, state: NDArray[np.integer], reference: Floats) -> Floats:
        mix = calibrate(self.uncalibrated(X), state, self.spec.calibration)
        ltv, corrected = project(np.ascontiguousarray(mix.ltv.T), self.spec.weights)
        column = np.ascontiguousarray(ltv[:, self.spec.horizons.index(self.spec.multiplier.horizon)])
        log_mean, multiplier = expm1(mix.log_mean), self.multiplier(column, reference)
        return np.column_stack((mix.p_buyer, ltv, log_mean, multiplier, corrected))

    def close(self) -> None:
        """Release the libraries."""
        self.twin = None
        self.base.close()
        if self.meta is not None:
            self.meta.close()


def _meta_matrix(raw: Floats, linked: Linked, spec: EnsembleSpec) -> Floats:
    product = linked.expected if spec.strategy == "two_stage" else linked.p * linked.conditional
    extras = raw[:, [spec.columns[name] for name in spec.extras]].T
    rows = (linked.p[None], log1p(linked.conditional), product, linked.shares, extras)
    matrix = np.empty((len(raw), sum(map(len, rows))), dtype=np.float32)
    np.concatenate(rows, out=matrix.T, casting="same_kind")
    return matrix.astype(np.float64)


def _blend(raw: Floats, raw_meta: Floats | None, linked: Linked, spec: EnsembleSpec) -> Blend:
    log_mean = _log_mean(raw, raw_meta, linked.p, spec)
    if raw_meta is None:
        return Blend(linked.p, linked.expected, log_mean)
    correction = exp(np.minimum(raw_meta.T[: len(spec.horizons)], LINK_CAP))
    return Blend(linked.p, np.multiply(linked.expected, correction, out=correction), log_mean)


def _log_mean(raw: Floats, raw_meta: Floats | None, p: Floats, spec: EnsembleSpec) -> Floats:
    """E[log1p y], not below 0; a `gated` score is E[log1p y | buy] and still lacks p."""
    source, column = spec.log_mean_source
    score = (raw if source == "base" or raw_meta is None else raw_meta)[:, column]
    if source == "base" and spec.outputs[column].link == GATED:
        score = p * score
    return np.where(score > 0.0, score, 0.0)
