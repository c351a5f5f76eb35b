"""A plain Python loop is the oracle of the ensemble's arithmetic."""

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from app.inference.compiled import CompiledModel
from app.inference.ensemble import Ensemble, blend, calibrate, meta_feature_names, meta_features
from app.inference.specification import Calibration, EnsembleSpec, LibrarySpec, Output
from tests.inference.conftest import HEADS, N_FEATURES, make_rows


@pytest.fixture(scope="module")
def ensemble(spec: EnsembleSpec, base_library: Path, meta_library: Path) -> Ensemble:
    """The whole ensemble over the small libraries."""
    return Ensemble(spec, [CompiledModel(base_library, N_FEATURES, 4)], CompiledModel(meta_library, 7, 4))


def _interpolate(value: float, xs: NDArray[np.float64], ys: NDArray[np.float64]) -> float:
    points: list[tuple[float, float]] = list(zip(xs.tolist(), ys.tolist(), strict=True))
    if value <= points[0][0]:
        return points[0][1]
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if value <= x1:
            return y0 + (y1 - y0) * (value - x0) / (x1 - x0)
    return points[-1][1]


def _by_hand(ensemble: Ensemble, row: NDArray[np.float64], state: int) -> tuple[float, list[float], float]:
    """p_buyer, ltv before the projection, and log_mean of one row, with `math` alone."""
    spec, calibration = ensemble.spec, ensemble.spec.calibration
    raw = ensemble.base.predict_raw(row[None])[0].tolist()
    p = 1 / (1 + math.exp(-raw[0]))
    conditional = [math.exp(score) for score in raw[1:]]
    meta = [p, *(math.log1p(c) for c in conditional), *(p * c for c in conditional)]
    assert ensemble.meta is not None
    raw_meta = ensemble.meta.predict_raw(np.array([meta], dtype=np.float32).astype(np.float64))[0].tolist()
    ltv = []
    for h in range(len(spec.horizons)):
        mean = p * conditional[h] * math.exp(raw_meta[h])
        curve = calibration.ltv[h]
        ltv.append(mean * _interpolate(math.log1p(mean), curve.x, curve.y) * float(calibration.state[state, h]))
    log_mean = _interpolate(max(0.0, raw_meta[3]), calibration.log_mean.x, calibration.log_mean.y)
    return _interpolate(p, calibration.p_buyer.x, calibration.p_buyer.y), ltv, math.expm1(log_mean)


def test_is_the_arithmetic_written_down(ensemble: Ensemble) -> None:
    """Probability, calibrated means and log-mean are those of a loop; the order holds on every row."""
    X = make_rows(20, 60)
    state = np.arange(60) % 4
    got = ensemble.predict(X, state)
    for i, row in enumerate(X):
        p, ltv, log_mean = _by_hand(ensemble, row, int(state[i]))
        assert got.p_buyer[i] == pytest.approx(p, rel=1e-12)
        assert got.log_mean[i] == pytest.approx(log_mean, rel=1e-12)
        assert bool(got.corrected[i]) == (sorted(ltv) != ltv)
        if not got.corrected[i]:
            assert got.ltv[i].tolist() == pytest.approx(ltv, rel=1e-12)
    assert (np.diff(got.ltv, axis=1) >= 0).all()
    assert 0 < got.corrected.sum() < 60


def test_a_row_alone_equals_the_row_in_any_batch(ensemble: Ensemble) -> None:
    """Every answer has the same bits alone, in a slice, and in the whole batch."""
    X = make_rows(21, 133)
    state = np.arange(133) % 4
    whole = ensemble.predict(X, state)
    for start, stop in [*((i, i + 1) for i in range(40)), (0, 7), (5, 38), (100, 133)]:
        part = ensemble.predict(X[start:stop], state[start:stop])
        for field in ("p_buyer", "ltv", "log_mean", "corrected"):
            assert getattr(part, field).tobytes() == getattr(whole, field)[start:stop].tobytes()


def test_training_computes_what_the_service_computes(ensemble: Ensemble) -> None:
    """The public steps give the service's uncalibrated predictions, and leave the raw scores alone."""
    for n_rows in (1, 30):
        X = make_rows(22, n_rows)
        raw = ensemble.base.predict_raw(X)
        before = raw.tobytes()
        assert ensemble.meta is not None
        raw_meta = ensemble.meta.predict_raw(meta_features(raw, ensemble.spec))
        offline, online = blend(raw, raw_meta, ensemble.spec), ensemble.uncalibrated(X)
        assert raw.tobytes() == before
        assert offline.p_buyer.tobytes() == online.p_buyer.tobytes()
        assert offline.ltv.tobytes() == online.ltv.tobytes()
        assert offline.log_mean.tobytes() == online.log_mean.tobytes()


def test_meta_features_are_named_and_on_the_float32_grid(spec: EnsembleSpec) -> None:
    """One name a column; every value survives a round trip through float32."""
    extra = dataclasses.replace(spec.base[0], outputs=(*spec.base[0].outputs, Output("other", "identity")))
    wide = dataclasses.replace(spec, base=(extra,))
    raw = np.random.default_rng(5).normal(size=(9, 5))
    matrix = meta_features(raw, wide)
    assert meta_feature_names(wide) == (
        "p", "log1p_d1", "log1p_d7", "log1p_d14", "p_times_d1", "p_times_d7", "p_times_d14", "other",
    )  # fmt: skip
    assert matrix.shape == (9, 8)
    assert matrix.flags.c_contiguous
    assert np.array_equal(matrix, matrix.astype(np.float32).astype(np.float64))
    assert np.array_equal(matrix[:, 7], raw[:, 4].astype(np.float32))


def test_without_a_meta_learner_the_base_answers(spec: EnsembleSpec) -> None:
    """ltv is p · E[y | buy], and the log-mean is a base output, never below zero."""
    base = LibrarySpec("base.so", N_FEATURES, (Output("gate", "logit"), *HEADS, Output("log_mean", "identity")))
    plain = dataclasses.replace(spec, base=(base,), meta=None)
    raw = np.array([[0.0, 0.0, math.log(2), math.log(4), -3.0], [0.0, 0.0, 0.0, 0.0, 0.5]])
    mix = blend(raw, None, plain)
    assert mix.ltv.T.tolist() == [pytest.approx([0.5, 1.0, 2.0]), [0.5, 0.5, 0.5]]
    assert mix.log_mean.tolist() == [0.0, 0.5]


def test_a_gated_score_is_weighed_by_the_probability(spec: EnsembleSpec) -> None:
    """E[log1p y] is p · E[log1p y | buy] where the output is conditional on buying."""
    base = LibrarySpec("base.so", N_FEATURES, (Output("gate", "logit"), *HEADS, Output("log_mean", "gated")))
    gated = dataclasses.replace(spec, base=(base,), meta=None)
    raw = np.array([[0.0, 0.0, 0.0, 0.0, 3.0], [math.log(3), 0.0, 0.0, 0.0, 2.0], [0.0, 0.0, 0.0, 0.0, -1.0]])
    assert blend(raw, None, gated).log_mean.tolist() == pytest.approx([1.5, 1.5, 0.0])


def test_extreme_scores_stay_finite(spec: EnsembleSpec) -> None:
    """Scores that no double can exponentiate neither overflow nor warn."""
    raw = np.array([[-1e6, 1e6, 1e6, 1e6], [1e6, -1e6, 1e6, -1e6]])
    mix = calibrate(blend(raw, np.full((2, 4), 1e6), spec), np.array([0, 3]), spec.calibration)
    assert np.isfinite(mix.ltv).all()
    assert np.isfinite(meta_features(raw, spec)).all()


def test_the_identity_calibration_changes_nothing(ensemble: Ensemble) -> None:
    """What training starts from is the uncalibrated prediction itself."""
    mix = ensemble.uncalibrated(make_rows(23, 20))
    same = calibrate(mix, np.zeros(20, dtype=np.int64), Calibration.identity(3))
    np.testing.assert_allclose(same.p_buyer, mix.p_buyer, rtol=1e-15)
    assert np.array_equal(same.ltv, mix.ltv)
    np.testing.assert_allclose(same.log_mean, mix.log_mean, rtol=1e-14)


def test_multiplier(ensemble: Ensemble) -> None:
    """(ltv / reference)^alpha within its limits; an advertiser without a reference takes the global one."""
    ltv = np.array([2.0, 2.0, 1.23, 0.0, 1e9])
    reference = ensemble.references(["com.rare", "com.dear", None, "com.unknown", None], 5)
    got = ensemble.multiplier(ltv, reference)
    assert got.tolist() == pytest.approx([2.0, 0.25, 1.0, 0.25, 4.0])
