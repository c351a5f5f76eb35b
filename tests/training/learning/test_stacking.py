"""Stacking, evidence and selection: the meta-learner over honest scores, and whether it ships."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from app.features.spec import HistoryState
from app.inference.ensemble import Blend, blend, calibrate
from app.inference.specification import Calibration, EnsembleSpec, MultiplierSpec
from training.config import TrainingConfig
from training.learning.boosting import Matrix, Runtime
from training.learning.evidence import Evidence, fit_calibration
from training.learning.labels import Labels
from training.learning.learners import FittedBase, fit_base, fit_stack
from training.learning.options import CalibrationConfig
from training.learning.selection import Comparison, compare

N = 12_000
SMALL = {"leaves": 6, "learning_rate": 0.15, "min_leaf": 30}
CONFIG = TrainingConfig.model_validate(
    {
        "folds": 3,
        "classifier": {"rounds": 30, **SMALL},
        "regressors": {"rounds": 30, "ratio_rounds": 10, **SMALL},
        "log_mean": {"rounds": 30, **SMALL},
        "meta": {"rounds": 15, **SMALL},
        "multiplier": {"by": "advertiser"},
    }
)


class Market:
    """Buyers and payers of known probability and mean, with folds and history states."""

    def __init__(self) -> None:
        rng = np.random.default_rng(7)
        self.X = rng.normal(size=(N, 4))
        self.p = 1.0 / (1.0 + np.exp(2.0 - self.X[:, 0]))
        self.mean7 = 0.9 * np.exp(1.0 + 0.5 * self.X[:, 1] + 0.32)
        buyer = rng.random(N) < self.p
        y7 = np.where(buyer & (rng.random(N) < 0.9), np.exp(1.0 + 0.5 * self.X[:, 1] + 0.8 * rng.normal(size=N)), 0.0)
        self.labels = Labels(buyer.astype(float), np.column_stack([0.5 * y7, y7, 1.1 * y7]))
        self.fold = np.arange(N) % 3
        self.state = (np.arange(N) % 2).astype(np.int64)


@pytest.fixture(scope="module")
def market() -> Market:
    return Market()


@pytest.fixture(scope="module")
def base(market: Market) -> FittedBase:
    return fit_base(Matrix(market.X, Runtime(1, 1)), market.labels, market.fold, (1, 7, 14), 1, 1, CONFIG)


def specification(base: FittedBase) -> EnsembleSpec:
    multiplier = MultiplierSpec("bundle", 7, 1.0, 0.1, 10.0, 1.0, {})
    return EnsembleSpec((1, 7, 14), (base.libraries[0].library,), None, Calibration.identity(3), np.ones(3), multiplier)


def evidence(base: FittedBase, market: Market) -> Evidence:
    spec, later = specification(base), np.arange(N) >= N // 2
    return Evidence.of(base.out_of_fold, None, market.state, market.labels, later, spec)


def test_base_outputs_are_named_and_scored_in_order(base: FittedBase) -> None:
    """Gate, one score a horizon, and the gated log mean; a column of out-of-fold scores each."""
    assert [o.name for o in base.libraries[0].library.outputs] == ["gate", "d1", "d7", "d14", "log_mean"]
    assert base.out_of_fold.shape == (N, len(base.libraries[0].boosters))
    assert np.isfinite(base.out_of_fold).all()


def test_calibration_finds_the_level_of_every_horizon(base: FittedBase, market: Market) -> None:
    """After calibration the predicted sums are those of the truth, for money, probability and both states."""
    found = evidence(base, market)
    calibration, weights = fit_calibration(found, {}, 1, CalibrationConfig())
    mix = calibrate(found.mix, market.state, calibration)
    true = market.p * market.mean7
    assert mix.p_buyer.sum() / market.p.sum() == pytest.approx(1.0, abs=0.05)
    for h, factor in enumerate((0.5, 1.0, 1.1)):
        assert mix.ltv[h].sum() / (factor * true.sum()) == pytest.approx(1.0, abs=0.08)
        for state in (0, 1):
            rows = market.state == state
            assert mix.ltv[h][rows].sum() / (factor * true[rows].sum()) == pytest.approx(1.0, abs=0.1)
    assert weights.shape == (3,)


def test_a_mean_of_all_rows_is_calibrated_to_the_same_level(market: Market) -> None:
    """`direct` knows E[y] alone: what it takes for a buyer's size is that over P(buy), so that its sums are the truth's
    and not lifted by a few rare buyers.
    """
    tweedie = {**CONFIG.regressors.model_dump(), "form": "separate", "objective": "tweedie"}
    config = TrainingConfig.model_validate({**CONFIG.model_dump(), "strategy": "direct", "regressors": tweedie})
    direct = fit_base(Matrix(market.X, Runtime(1, 1)), market.labels, market.fold, (1, 7, 14), 1, 1, config)
    raw, later = direct.out_of_fold, np.arange(N) >= N // 2
    spec = dataclasses.replace(specification(direct), strategy="free")
    found = Evidence.of(raw, None, market.state, market.labels, later, spec, "direct")
    np.testing.assert_allclose(found.conditional[1], np.exp(raw[:, 2]) * (1.0 + np.exp(-raw[:, 0])))
    calibration, _ = fit_calibration(found, {}, 1, CalibrationConfig())
    true = market.p * market.mean7
    for h, factor in enumerate((0.5, 1.0, 1.1)):
        total = calibrate(found.mix, market.state, calibration).ltv[h].sum()
        assert total / (factor * true.sum()) == pytest.approx(1.0, abs=0.08)


def test_what_smoothed_tails_lose_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one payer of 500 spends two hundred times as much, no normal tail tells of him; the sum that came does."""
    rng, n = np.random.default_rng(3), 40_000
    p, size = rng.uniform(0.2, 0.8, n), rng.lognormal(0.0, 0.3, n)
    pays, whale = rng.random(n) < p, np.arange(n) % 500 == 0
    spent = size * np.where(whale, 200.0, 1.0) * rng.lognormal(-0.045, 0.3, n)
    revenue = np.repeat((pays * spent)[:, None], 3, axis=1)
    mix = Blend(p, np.tile(p * size, (3, 1)), p)
    found = Evidence(
        mix,
        np.tile(size, (3, 1)),
        np.zeros(n, dtype=np.int64),
        Labels(pays.astype(float), revenue),
        rng.random(n) < 0.5,
    )

    def level() -> float:
        calibration, _ = fit_calibration(found, {}, 1, CalibrationConfig())
        return float(
            calibrate(mix, found.state, calibration).ltv[1].sum() / (p * size * np.where(whale, 200.0, 1.0)).sum()
        )

    given_back = level()
    monkeypatch.setattr("training.learning.evidence.OF_SMOOTHING", 1e-9)
    assert abs(given_back - 1.0) < 0.7 * abs(level() - 1.0)


def test_lost_histories_are_worth_the_same_in_sum(base: FittedBase, market: Market) -> None:
    """The factors of a simulated state undo what losing the histories took from the sum."""
    found = evidence(base, market)
    blind = base.out_of_fold[found.later].copy()
    blind[:, 0] -= 0.7
    mix = blend(blind, None, specification(base))
    calibration, _ = fit_calibration(found, {HistoryState.UNAVAILABLE: mix}, 1, CalibrationConfig())
    came = calibrate(found.mix, market.state, calibration).ltv[:, found.later].sum(axis=1)
    lost = calibrate(mix, np.full(len(blind), int(HistoryState.UNAVAILABLE)), calibration).ltv.sum(axis=1)
    np.testing.assert_allclose(lost, came, rtol=1e-9)


def test_a_drift_of_the_market_is_followed(base: FittedBase, market: Market) -> None:
    """When later rows buy half as often, the level of p and of money goes down with them."""
    found = evidence(base, market)
    rng = np.random.default_rng(1)
    quiet = found.later & (rng.random(N) < 0.5)
    labels = Labels(np.where(quiet, 0.0, market.labels.buyer), np.where(quiet[:, None], 0.0, market.labels.revenue))
    drifted = Evidence(found.mix, found.conditional, found.state, labels, found.later)
    calibration, _ = fit_calibration(drifted, {}, 1, CalibrationConfig())
    mix = calibrate(found.mix, market.state, calibration)
    later = found.later
    assert mix.p_buyer[later].sum() / (0.5 * market.p[later].sum()) == pytest.approx(1.0, abs=0.1)
    assert mix.ltv[1][later].sum() / (0.5 * (market.p * market.mean7)[later].sum()) == pytest.approx(1.0, abs=0.12)


def test_the_meta_learner_has_a_head_a_horizon_and_the_log_mean(base: FittedBase, market: Market) -> None:
    """Its library merges with `app.inference`'s meta-features, and its scores are out of fold."""
    spec = specification(base)
    assert CONFIG.meta is not None
    meta = fit_stack(base, market.labels, market.fold, spec, 1, CONFIG.meta, Runtime(1, 1))
    assert [o.name for o in meta.library.outputs] == ["d1", "d7", "d14", "log_mean"]
    assert meta.out_of_fold.shape == (N, 4)
    assert np.abs(meta.out_of_fold[:, :3]).mean() < 0.5  # corrections of a good base are small


def test_a_huber_log_head_is_held_back_from_the_largest_errors(base: FittedBase, market: Market) -> None:
    """`log_loss: huber` changes the log head alone, towards the many who pay nothing."""
    assert CONFIG.meta is not None
    spec, huber = specification(base), CONFIG.meta.model_copy(update={"log_loss": "huber", "huber_delta": 0.3})
    squared, held = (
        fit_stack(base, market.labels, market.fold, spec, 1, config, Runtime(1, 1)).out_of_fold
        for config in (CONFIG.meta, huber)
    )
    np.testing.assert_array_equal(squared[:, :3], held[:, :3])
    assert held[:, 3].mean() < 0.8 * squared[:, 3].mean()


def judged(without: np.ndarray, with_meta: np.ndarray, y: np.ndarray) -> Comparison:
    first, second = (Blend(x, np.tile(x, (3, 1)), np.log1p(x)) for x in (without, with_meta))
    return compare(first, second, y, np.log1p(y), 1)


def test_a_clearly_better_ensemble_earns_its_place_and_a_noisy_one_does_not() -> None:
    """Shipping needs a gain beyond two standard errors and no loss beyond them."""
    rng = np.random.default_rng(2)
    mean = np.exp(rng.normal(size=5000))
    y = rng.exponential(mean)
    flat = np.full(5000, mean.mean())
    better = judged(flat, mean, y)
    assert better.earned
    assert better.deviance_z < -2
    assert not judged(mean, flat, y).earned
    assert not judged(mean, mean, y).earned
