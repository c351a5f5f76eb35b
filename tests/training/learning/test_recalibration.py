"""Recalibration of a stage: the mean of the population comes back after resampling by revenue."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from app.inference.forms import link
from app.inference.specification import (
    Calibration,
    EnsembleSpec,
    LibrarySpec,
    MultiplierSpec,
    Output,
    Recalibration,
)
from training.learning.boosting import Matrix, Runtime, raw_scores
from training.learning.labels import Labels
from training.learning.options import CalibrationConfig, RegressorConfig, ResamplingConfig
from training.learning.recalibration import fit_recalibration, recalibrated
from training.learning.regressors import fit_conditional
from training.learning.resampling import oversampled, rarity, row_weights

CONFIG = CalibrationConfig(min_events=200)
GROUPS = np.array([1.0, 3.0, 9.0])


def population(n: int = 60_000) -> tuple[np.ndarray, np.ndarray]:
    """The group of each row, and revenue with its group's mean and a heavy tail."""
    rng = np.random.default_rng(71)
    group = rng.integers(0, 3, size=n)
    return group, GROUPS[group] * np.exp(rng.normal(size=n) - 0.5)


def test_resampled_rows_give_the_means_of_all_rows() -> None:
    """Seen as HistOS shows them, with w the times a row is seen: E_s[y/w]/E_s[1/w] of each group, by loops over it."""
    group, y = population()
    copies = oversampled(rarity(y, 20, 1.0), 1.02, seed=2)
    rows = np.repeat(np.arange(len(y)), copies)
    seen_mean = np.array([y[rows][group[rows] == g].mean() for g in range(3)])
    assert (seen_mean > 1.15 * GROUPS).all()
    fitted = fit_recalibration(y[rows], seen_mean[group[rows]], CONFIG, seen=copies[rows].astype(float))
    unaware = fit_recalibration(y[rows], seen_mean[group[rows]], CONFIG)
    weight = 1.0 / copies[rows]
    for g in range(3):
        own = group[rows] == g
        identity = (y[rows] * weight)[own].sum() / weight[own].sum()
        assert identity == pytest.approx(y[group == g].mean(), rel=1e-9)
        assert fitted.predict(seen_mean[[g]])[0] == pytest.approx(identity, rel=0.05)
        assert unaware.predict(seen_mean[[g]])[0] > 1.12 * identity


def test_rows_as_they_came_mend_a_booster_of_resampled_ones() -> None:
    """A regressor that HistOS has lifted sums to the truth in every third of its scores once it is recalibrated."""
    rng = np.random.default_rng(72)
    X = rng.normal(size=(12_000, 2))
    mean = np.exp(1.0 + 0.6 * X[:, 0])
    y = mean * np.exp(0.9 * rng.normal(size=len(X)) - 0.405)
    teach = np.arange(len(X)) < 6000
    trees = RegressorConfig(rounds=50, leaves=4, learning_rate=0.12, min_leaf=40, objective="gamma")
    weight = row_weights(y, teach, ResamplingConfig(method="histos"), seed=0)
    booster = fit_conditional(Matrix(X, Runtime(0, 1)), y, teach, trees, weight)
    lifted = np.exp(raw_scores(booster, X, 1))
    assert lifted[~teach].sum() > 1.1 * mean[~teach].sum()
    fitted = fit_recalibration(np.where(teach, np.nan, y), lifted, CONFIG)
    mended = fitted.predict(lifted)
    for third in np.array_split(np.flatnonzero(~teach)[np.argsort(lifted[~teach])], 3):
        assert mended[third].sum() / mean[third].sum() == pytest.approx(1.0, abs=0.08)


def test_the_order_of_the_rows_is_kept() -> None:
    """A higher prediction never becomes a lower one, however the ratios fall."""
    rng = np.random.default_rng(73)
    y_hat = np.exp(rng.normal(size=5000))
    fitted = fit_recalibration(rng.exponential(size=5000) / y_hat, y_hat, CONFIG)
    grid = np.exp(np.linspace(-4, 4, 1000))
    assert (np.diff(fitted.predict(grid)) >= 0).all()


def test_the_service_gets_curves_of_the_stages_that_were_resampled() -> None:
    """Gate and dollars of lifted scores come out at the level of the rows as they came; other stages get none."""
    rng = np.random.default_rng(73)
    n = 20_000
    p, size = rng.uniform(0.05, 0.4, n), np.exp(rng.normal(size=n))
    buyer = (rng.random(n) < p).astype(float)
    y = buyer * size * np.exp(0.5 * rng.normal(size=n) - 0.125)
    lifted = 3.0 * p / (1.0 + 2.0 * p)
    raw = np.column_stack([np.log(lifted / (1.0 - lifted)), np.log(2.0 * size), np.zeros(n)])
    outputs = (Output("gate", "logit"), Output("d7", "log"), Output("log_mean", "gated"))
    multiplier = MultiplierSpec("bundle", 7, 1.0, 0.1, 10.0, 1.0, {})
    spec = EnsembleSpec(
        (7,), (LibrarySpec("base.so", 3, outputs),), None, Calibration.identity(1), np.ones(1), multiplier
    )
    labels = Labels(buyer, y[:, None])
    both = recalibrated(raw, labels, spec, CONFIG, gate=True, horizons=True)
    found = link(raw, dataclasses.replace(spec, recalibration=both))
    assert found.p.sum() / p.sum() == pytest.approx(1.0, abs=0.04)
    assert found.conditional[0].sum() / size.sum() == pytest.approx(1.0, abs=0.06)
    gate = recalibrated(raw, labels, spec, CONFIG, gate=True, horizons=False)
    assert (gate.ltv, gate.p_buyer is not None) == ((), True)
    assert recalibrated(raw, labels, spec, CONFIG, gate=False, horizons=False) == Recalibration()
