"""Regressors: log-linear money, and horizons as ratios to the anchor."""

from __future__ import annotations

import numpy as np
import pytest

from training.learning.boosting import Matrix, Runtime, raw_scores
from training.learning.labels import Labels
from training.learning.options import RegressorConfig
from training.learning.regressors import fit_conditional, fit_ratio, fit_regressors
from training.publishing.merging import merge

CONFIG = RegressorConfig(rounds=60, leaves=4, learning_rate=0.1, min_leaf=20, ratio_rounds=30)


def market(n: int = 6000) -> tuple[np.ndarray, Labels, np.ndarray]:
    """Rows whose log revenue is linear in x0 and whose first-day share depends on x1: X, labels, true log means."""
    rng = np.random.default_rng(5)
    X = rng.normal(size=(n, 3))
    share = np.where(X[:, 1] > 0, 0.8, 0.3)
    paid = rng.random(n) < 0.9
    y7 = np.where(paid, np.exp(1.0 + 0.8 * X[:, 0] + 0.5 * rng.normal(size=n)), 0.0)
    y1 = y7 * np.where(rng.random(n) < share, 1.0, 0.0)
    y14 = y7 * (1.0 + rng.exponential(0.2, size=n))
    buyer = np.ones(n)
    truth = np.column_stack([0.8 * X[:, 0] + np.log(share), 0.8 * X[:, 0], 0.8 * X[:, 0] + np.log(1.2)])
    return X, Labels(buyer, np.column_stack([y1, y7, y14])), truth


OBJECTIVES = ["lognormal", "gamma", "tweedie", "quantile", "huber", "msle", "huber_log", "order_penalised"]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_finds_the_conditional_size(objective: str) -> None:
    """Scores follow the true log mean of each horizon up to a constant."""
    X, labels, truth = market()
    config = CONFIG.model_copy(update={"objective": objective})
    boosters = fit_regressors(Matrix(X, Runtime(0, 1)), labels, np.ones(len(X), dtype=bool), config, anchor=1)
    for h, booster in enumerate(boosters):
        assert np.corrcoef(raw_scores(booster, X, 1), truth[:, h])[0, 1] > 0.93


def test_a_horizon_differs_from_the_anchor_by_its_ratio() -> None:
    """E[y1 / y7 | x] is recovered with its level, without the level of the money."""
    X, labels, _ = market()
    config = CONFIG.model_copy(update={"ratio_rounds": 80})
    boosters = fit_regressors(Matrix(X, Runtime(0, 1)), labels, np.ones(len(X), dtype=bool), config, anchor=1)
    ratio = np.exp(raw_scores(boosters[0], X, 1) - raw_scores(boosters[1], X, 1))
    assert ratio[X[:, 1] > 0.2].mean() == pytest.approx(0.8, abs=0.05)
    assert ratio[X[:, 1] < -0.2].mean() == pytest.approx(0.3, abs=0.05)


def test_a_ratio_by_trees_of_its_own_is_a_mean() -> None:
    """E[y1 / y7 | x] of payers, with its level; rows that are not mature or may not be seen teach nothing."""
    X, labels, _ = market()
    y1, y7 = labels.revenue[:, 0].copy(), labels.revenue[:, 1]
    seen = (np.arange(len(X)) % 3 > 0) & (y7 > 0)
    y1[::3], y1[1::30] = 1e9, np.nan
    config = CONFIG.model_copy(update={"ratio_rounds": 80})
    ratio = np.exp(raw_scores(fit_ratio(Matrix(X, Runtime(0, 1)), y1, y7, seen, config), X, 1))
    assert ratio[X[:, 1] > 0.2].mean() == pytest.approx(0.8, abs=0.05)
    assert ratio[X[:, 1] < -0.2].mean() == pytest.approx(0.3, abs=0.05)


def test_separate_horizons_learn_each_from_its_own_mature_buyers() -> None:
    """Without a ratio between them: a horizon's booster is the one that its revenue alone gives."""
    X, labels, _ = market(2000)
    late = np.arange(2000) >= 1500
    labels.revenue[late, 2] = np.nan
    config, matrix = CONFIG.model_copy(update={"form": "separate", "objective": "gamma"}), Matrix(X, Runtime(0, 1))
    everyone = np.ones(2000, dtype=bool)
    found = fit_regressors(matrix, labels, everyone, config, anchor=1)
    for h, known in enumerate((everyone, everyone, ~late)):
        alone = fit_conditional(matrix, labels.revenue[:, h], known, config)
        np.testing.assert_array_equal(raw_scores(found[h], X, 1), raw_scores(alone, X, 1))


def test_horizons_begin_with_the_trees_of_the_anchor() -> None:
    """So that a library holds them once; with payers too few for a ratio's tree the horizon is its level alone."""
    X, labels, _ = market(2000)
    rows = np.ones(2000, dtype=bool)
    first, anchor, _ = fit_regressors(Matrix(X, Runtime(0, 1)), labels, rows, CONFIG, anchor=1)
    assert merge([anchor, first]).shared == anchor.num_trees()
    few = CONFIG.model_copy(update={"min_leaf": 1500})
    alone, stump, _ = fit_regressors(Matrix(X, Runtime(0, 1)), labels, rows, few, anchor=1)
    assert np.ptp(raw_scores(alone, X, 1) - raw_scores(stump, X, 1)) < 1e-9


def test_immature_and_unseen_rows_teach_nothing() -> None:
    """Rows that are not seen, or whose anchor is not mature, do not change the models."""
    X, labels, _ = market(2000)
    seen = np.arange(2000) < 1500
    late = Labels(labels.buyer, np.where(seen[:, None], labels.revenue, np.nan))
    other = Labels(labels.buyer, np.where(seen[:, None], labels.revenue, 1e6))
    fits = [
        fit_regressors(Matrix(X, Runtime(0, 1)), given, rows, CONFIG, anchor=1)
        for given, rows in ((late, np.ones(2000, dtype=bool)), (other, seen))
    ]
    for first, second in zip(*fits, strict=True):
        np.testing.assert_array_equal(raw_scores(first, X, 1), raw_scores(second, X, 1))


def test_without_ratio_trees_horizons_differ_by_a_constant() -> None:
    """`ratio_rounds: 0` keeps the mean ratio and no shape."""
    X, labels, _ = market(2000)
    config = CONFIG.model_copy(update={"ratio_rounds": 0})
    boosters = fit_regressors(Matrix(X, Runtime(0, 1)), labels, np.ones(2000, dtype=bool), config, anchor=1)
    difference = raw_scores(boosters[2], X, 1) - raw_scores(boosters[1], X, 1)
    assert np.ptp(difference) < 1e-9


@pytest.mark.parametrize("resampling", [None, {"method": "histos"}, {"method": "histus", "mode": "samples"}])
def test_resampled_regressors_keep_the_shape(resampling: dict[str, str] | None) -> None:
    """Scores still follow the log mean: what resampling moves is the level, which calibration gives back."""
    X, labels, truth = market()
    config = RegressorConfig.model_validate({**CONFIG.model_dump(), "resampling": resampling})
    boosters = fit_regressors(Matrix(X, Runtime(0, 1)), labels, np.ones(len(X), dtype=bool), config, anchor=1)
    assert np.corrcoef(raw_scores(boosters[1], X, 1), truth[:, 1])[0, 1] > 0.95


def test_resampling_changes_what_is_learned() -> None:
    """HistOS lifts the score of payers whose revenue is rare."""
    X, labels, _ = market()
    everyone, matrix = np.ones(len(X), dtype=bool), Matrix(X, Runtime(0, 1))
    lifted = RegressorConfig.model_validate({**CONFIG.model_dump(), "resampling": {"method": "histos"}})
    plain, more = (raw_scores(fit_regressors(matrix, labels, everyone, c, anchor=1)[1], X, 1) for c in (CONFIG, lifted))
    rare = X[:, 0] > 2.0
    assert (more[rare] - plain[rare]).mean() > 0.05
