"""Rows that stand for several: fits and calibrations are what they are on the rows repeated that often."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from app.inference.ensemble import Blend
from training.learning import calibration, probability
from training.learning.boosting import Floats, Matrix, Runtime
from training.learning.classifier import fit_classifier
from training.learning.labels import Labels
from training.learning.options import BoosterConfig, CalibrationConfig, ClassifierConfig, RegressorConfig
from training.learning.regressors import fit_conditional
from training.learning.selection import compare
from training.learning.smearing import fit_smeared

N = 3000
RNG = np.random.default_rng(5)
X = np.clip(RNG.normal(size=(N, 3)).round(), -2.0, 2.0)  # so few values that bins do not depend on counts
TIMES = RNG.integers(0, 4, N)
P = 1.0 / (1.0 + np.exp(-X[:, 0]))
BUYER = (RNG.random(N) < P).astype(np.float64)
Y = BUYER * np.exp(X[:, 1] + RNG.normal(size=N))
WEIGHT = TIMES.astype(np.float64)
CONFIG = CalibrationConfig(max_knots=1)
"""One knot: the edges of several bins fall between other rows once these are repeated."""


def repeated(values: Floats) -> Floats:
    """Each row as often as it counts."""
    return np.repeat(values, TIMES, axis=0)


CURVES: dict[str, Callable[..., object]] = {
    "probability": lambda r, w: calibration.fit_probability(r(P), r(BUYER), CONFIG, w).y[1],
    "isotonic": lambda r, w: np.interp(0.4, *_knots(probability.fit_isotonic(r(P), r(BUYER), w))),
    "beta": lambda r, w: probability.fit_beta(r(P), r(BUYER), w).predict(np.array([0.1, 0.5])),
    "log_mean": lambda r, w: calibration.fit_log_mean(r(P), r(np.log1p(Y)), CONFIG, w).y[1],
    "ltv": lambda r, w: calibration.fit_ltv(r(P), r(Y), r(Y) > 0.0, CONFIG, w).y,
    "projection": lambda r, w: calibration.projection_weights(
        np.stack([r(P), 2.0 * r(P)]), np.stack([r(Y), 3.0 * r(Y)]), w
    ),
}


def _knots(curve: object) -> tuple[Floats, Floats]:
    return curve.x, curve.y  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", CURVES)
def test_a_calibration_is_that_of_repeated_rows(name: str) -> None:
    """Level and shape; and without weights it is another."""
    ours = np.asarray(CURVES[name](lambda v: v, WEIGHT))
    plain = np.asarray(CURVES[name](lambda v: v, None))
    assert ours == pytest.approx(np.asarray(CURVES[name](repeated, None)), rel=0.01)
    assert np.abs(ours / plain - 1.0).max() > 1e-4


def test_states_are_shrunk_by_their_weighted_noise() -> None:
    """A state's factor is its ratio of weighted sums, shrunk; a unit of the weights changes nothing."""
    state = (X[:, 2] > 0.0).astype(np.int64)
    ltv, target = P[None], (Y * np.where(state == 1, 1.5, 0.5))[None]
    found = calibration.fit_states(ltv, target, state, 2, WEIGHT)
    assert found == pytest.approx(calibration.fit_states(ltv, target, state, 2, 7.0 * WEIGHT))
    ratios = [float((WEIGHT * target[0])[state == s].sum() / (WEIGHT * P)[state == s].sum()) for s in (0, 1)]
    assert np.all((found[:, 0] > 1.0) == (np.array(ratios) > 1.0))
    assert np.all(np.abs(found[:, 0] - 1.0) < np.abs(np.array(ratios) - 1.0))


BOOSTER = BoosterConfig(rounds=10, leaves=4, learning_rate=0.3, min_leaf=1, l2=0.0)
GATE = ClassifierConfig(**BOOSTER.model_dump())


def fits(matrix: Matrix, buyer: Floats, y: Floats) -> dict[str, Floats]:
    """Scores of X by LightGBM's own objectives, by one of ours, and by one with a mean beside the fit."""
    rows, bought = np.ones(len(y), dtype=bool), buyer == 1.0
    money = {kind: RegressorConfig(**BOOSTER.model_dump(), objective=kind) for kind in ("gamma", "msle")}
    found = {"gate": fit_classifier(matrix, buyer, rows, GATE)}
    found |= {kind: fit_conditional(matrix, y, bought, config) for kind, config in money.items()}
    found["smeared"] = fit_smeared(matrix, y, bought, BOOSTER).booster
    return {name: np.asarray(booster.predict(X, raw_score=True)) for name, booster in found.items()}


def test_a_model_is_that_of_repeated_rows() -> None:
    """To the precision of LightGBM's own sums, and far from the one that knows no weights."""
    runtime = Runtime(1, 1)
    weighted = fits(Matrix(X, runtime, weight=WEIGHT), BUYER, Y)
    often = fits(Matrix(repeated(X), runtime), repeated(BUYER), repeated(Y))
    plain = fits(Matrix(X, runtime), BUYER, Y)
    for name, scores in weighted.items():
        near, far = (float(np.abs(scores - other[name]).max()) for other in (often, plain))
        assert near < 1e-4 < 0.01 < far, (name, near, far)


def test_the_unit_of_the_weights_means_nothing() -> None:
    """Least curvatures and penalties see weights with a mean of 1."""
    runtime = Runtime(1, 1)
    once, thousandfold = (fits(Matrix(X, runtime, weight=c * WEIGHT), BUYER, Y) for c in (1.0, 1024.0))
    assert all(np.array_equal(once[name], thousandfold[name]) for name in once)


def test_a_comparison_is_that_of_repeated_rows() -> None:
    """Losses of rows that count for several, and the sign of what they differ by."""
    one, other = (Blend(P, scale * P[None] + 0.1, np.log1p(scale * P)) for scale in (1.0, 1.5))
    found = compare(one, other, Y, np.log1p(Y), 0, WEIGHT)
    pair = [Blend(*(np.repeat(part, TIMES, axis=-1) for part in (b.p_buyer, b.ltv, b.log_mean))) for b in (one, other)]
    often = compare(pair[0], pair[1], repeated(Y), repeated(np.log1p(Y)), 0)
    assert found.deviance_without == pytest.approx(often.deviance_without)
    assert found.squared_log_error_with == pytest.approx(often.squared_log_error_with)
    assert abs(found.squared_log_error_z) < abs(often.squared_log_error_z)  # a row that counts thrice is seen once


def test_labels_carry_their_weights() -> None:
    """Rows that are taken or joined keep theirs; weighted ones do not join others."""
    labels = Labels(BUYER, Y[:, None], WEIGHT)
    some = labels.take(BUYER == 1.0)
    assert some.weight is not None
    assert np.array_equal(some.weight, WEIGHT[BUYER == 1.0])
    joined = labels.joined(some).weight
    assert joined is not None
    assert np.array_equal(joined, np.concatenate([WEIGHT, some.weight]))
    with pytest.raises(ValueError, match="expected weights of all 2 parts or of none, received 1"):
        labels.joined(Labels(BUYER, Y[:, None]))
