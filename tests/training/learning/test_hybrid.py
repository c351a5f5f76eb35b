"""The hybrid stack: its features, its three kinds of heads, and what other base learners add."""

from __future__ import annotations

import numpy as np
import pytest

from app.inference.ensemble import meta_features
from app.inference.specification import (
    GATED,
    LOG_MEAN,
    Calibration,
    EnsembleSpec,
    LibrarySpec,
    MultiplierSpec,
    Output,
)
from training.learning.boosting import Runtime, raw_matrix
from training.learning.hybrid import Hybrid, fit_hybrid, stacked_features
from training.learning.labels import Labels
from training.learning.options import MetaConfig

N = 9000
CONFIG = MetaConfig(rounds=40, leaves=5, learning_rate=0.1, min_leaf=100, huber_delta=0.5)


def specification() -> EnsembleSpec:
    outputs = (Output("gate", "logit"), Output("d1", "log"), Output("d7", "log"), Output(LOG_MEAN, GATED))
    library = LibrarySpec("base.so", 3, outputs)
    multiplier = MultiplierSpec("bundle", 7, 1.0, 0.1, 10.0, 1.0, {})
    return EnsembleSpec((1, 7), (library,), None, Calibration.identity(2), np.ones(2), multiplier)


def market() -> tuple[np.ndarray, np.ndarray, Labels, np.ndarray, np.ndarray]:
    """Base scores that miss half of what a second learner knows; labels, P(buy) and E[y7 | buy]."""
    rng = np.random.default_rng(51)
    known, missed = rng.normal(size=N), rng.normal(size=N)
    p = 1 / (1 + np.exp(1.0 - known))
    mean = np.exp(0.5 * known + 0.6 * missed)
    buyer = rng.random(N) < p
    y7 = np.where(buyer, mean * np.exp(0.5 * rng.normal(size=N) - 0.125), 0.0)
    raw = np.column_stack([known - 1.0, 0.5 * known - 0.7, 0.5 * known + 0.18, 0.4 + 0.2 * known])
    other = (missed + 0.1 * rng.normal(size=N))[:, None]
    return raw, other, Labels(buyer.astype(float), np.column_stack([0.5 * y7, y7])), p, mean


@pytest.fixture(scope="module")
def fitted() -> Hybrid:
    raw, other, labels, _, _ = market()
    return fit_hybrid(raw, other, labels, np.arange(N) % 3, specification(), 1, CONFIG, Runtime(1, 1))


def test_other_predictions_follow_the_served_meta_features() -> None:
    """The first columns are `meta_features`, the rest the float32 of the others."""
    raw, other, _, _, _ = market()
    X = stacked_features(raw, other, specification())
    served = meta_features(raw, specification())
    np.testing.assert_array_equal(X[:, : served.shape[1]], served)
    np.testing.assert_array_equal(X[:, served.shape[1] :], other.astype(np.float32))


def test_the_stack_learns_what_the_base_missed(fitted: Hybrid) -> None:
    """Out of fold the means follow the truth better than the base alone, and keep their sum."""
    raw, _, _, p, mean = market()
    truth = p * mean
    answers = fitted.predict(raw, fitted.out_of_fold)
    base = 1 / (1 + np.exp(-raw[:, 0])) * np.exp(raw[:, 2])
    assert np.corrcoef(answers.ltv[:, 1], truth)[0, 1] > np.corrcoef(base, truth)[0, 1] + 0.08
    for h, factor in enumerate((0.5, 1.0)):
        level = answers.ltv[:, h].sum() / (factor * truth.sum())
        assert level * _given_level(raw, h) == pytest.approx(1.0, abs=0.08)


def _given_level(raw: np.ndarray, h: int) -> float:
    """What the heads leave to calibration: they start on the base's own level."""
    _, _, labels, _, _ = market()
    return float(labels.revenue[:, h].sum() / (1 / (1 + np.exp(-raw[:, 0])) * np.exp(raw[:, 1 + h])).sum())


def test_three_heads_answer_three_questions(fitted: Hybrid) -> None:
    """The log head gives the mean of log1p y, Huber's lies between it and the bulk at 0; neither is negative."""
    raw, other, labels, _, _ = market()
    X = stacked_features(raw, other, specification())
    answers = fitted.predict(raw, raw_matrix(fitted.heads, X, 1))
    z = np.log1p(labels.revenue[:, 1])
    assert answers.log_mean.mean() == pytest.approx(z.mean(), rel=0.03)
    assert 0.0 < answers.huber.mean() < 0.9 * answers.log_mean.mean()
    assert min(answers.log_mean.min(), answers.huber.min()) >= 0.0
    error = ((answers.log_mean - z) ** 2).mean(), ((answers.huber - z) ** 2).mean()
    assert error[0] < error[1]


def test_the_arithmetic_by_hand() -> None:
    """sigmoid(gate)·e^base·e^head, max(log, 0), max(huber, 0)."""
    raw = np.array([[0.0, np.log(2.0), np.log(4.0), 1.0]])
    heads = np.array([[np.log(3.0), np.log(0.5), -0.2, 0.7]])
    answers = Hybrid([], np.empty((0, 4)), specification()).predict(raw, heads)
    np.testing.assert_allclose(answers.ltv, [[3.0, 1.0]])
    assert (answers.log_mean[0], answers.huber[0]) == (0.0, 0.7)


def test_out_of_fold_scores_do_not_know_their_own_rows() -> None:
    """Labels of a fold change no score of it."""
    raw, other, labels, _, _ = market()
    fold = np.arange(N) % 3
    moved = Labels(labels.buyer, np.where((fold == 2)[:, None], 5.0 * labels.revenue, labels.revenue))
    scores = [
        fit_hybrid(raw, other, given, fold, specification(), 1, CONFIG, Runtime(1, 1)).out_of_fold
        for given in (labels, moved)
    ]
    # The tail of all payers is smoothed together, by a quantile of theirs: the log heads read no such thing.
    np.testing.assert_array_equal(scores[0][fold == 2, 2:], scores[1][fold == 2, 2:])
    assert np.abs(scores[0][fold != 2, 2:] - scores[1][fold != 2, 2:]).max() > 0.05
