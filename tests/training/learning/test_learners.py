"""The stack over base learners of other kinds: its features, its heads, and what the others add."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from app.inference.ensemble import blend, meta_feature_names, meta_features
from app.inference.specification import (
    GATED,
    LOG_MEAN,
    Calibration,
    EnsembleSpec,
    LibrarySpec,
    LinearSpec,
    MultiplierSpec,
    Output,
)
from training.learning.boosting import Runtime
from training.learning.labels import Labels
from training.learning.learners import Fitted, FittedBase, FittedLinear, fit_stack
from training.learning.options import MetaConfig
from training.learning.stacking import best_log_head

N = 9000
CONFIG = MetaConfig(rounds=40, leaves=5, learning_rate=0.1, min_leaf=100, huber_delta=0.5)
FOLD = np.arange(N) % 3

Floats = NDArray[np.float64]


class Market:
    """Base scores that miss half of what a second learner knows; labels and E[y7]."""

    def __init__(self) -> None:
        rng = np.random.default_rng(51)
        known, missed = rng.normal(size=N), rng.normal(size=N)
        p = 1 / (1 + np.exp(1.0 - known))
        mean = np.exp(0.5 * known + 0.6 * missed)
        buyer = rng.random(N) < p
        y7 = np.where(buyer, mean * np.exp(0.5 * rng.normal(size=N) - 0.125), 0.0)
        self.raw = np.column_stack([known - 1.0, 0.5 * known - 0.7, 0.5 * known + 0.18, 0.4 + 0.2 * known])
        self.other = missed + 0.1 * rng.normal(size=N)
        self.labels = Labels(buyer.astype(float), np.column_stack([0.5 * y7, y7]))
        self.truth = p * mean

    def base(self) -> FittedBase:
        outputs = (Output("gate", "logit"), Output("d1", "log"), Output("d7", "log"), Output(LOG_MEAN, GATED))
        none = np.empty(0)
        other = FittedLinear(LinearSpec("other", 0.0, (), none, none, none, none), self.other)
        return FittedBase((Fitted(LibrarySpec("base.so", 3, outputs), [], self.raw),), "two_stage", "exp", (), (other,))


@pytest.fixture(scope="module")
def market() -> Market:
    return Market()


def specification(base: FittedBase) -> EnsembleSpec:
    multiplier = MultiplierSpec("bundle", 7, 1.0, 0.1, 10.0, 1.0, {})
    linear = tuple(one.linear for one in base.linear)
    return EnsembleSpec((1, 7), base.specs, None, Calibration.identity(2), np.ones(2), multiplier, linear=linear)


def stack(base: FittedBase, labels: Labels, config: MetaConfig = CONFIG) -> Fitted:
    return fit_stack(base, labels, FOLD, specification(base), 1, config, Runtime(1, 1))


@pytest.fixture(scope="module")
def fitted(market: Market) -> Fitted:
    return stack(market.base(), market.labels)


def test_other_predictions_follow_those_of_the_base(market: Market) -> None:
    """The last column is the other learner's score, in float32; without it the features before are the same."""
    base = market.base()
    spec, alone = specification(base), base.alone()
    X = meta_features(base.out_of_fold, spec)
    assert meta_feature_names(spec)[-2:] == (LOG_MEAN, "other")
    np.testing.assert_array_equal(X[:, -1], market.other.astype(np.float32))
    np.testing.assert_array_equal(X[:, :-1], meta_features(alone.out_of_fold, specification(alone)))


def test_the_stack_learns_what_the_base_missed(market: Market, fitted: Fitted) -> None:
    """Out of fold the mean follows the truth better than the base alone, which the other learner made possible."""
    base = market.base()
    spec = replace(specification(base), meta=fitted.library)
    stacked = blend(base.out_of_fold, fitted.out_of_fold, spec)
    alone = blend(base.out_of_fold, None, specification(base))
    without = blend(base.alone().out_of_fold, stack(base.alone(), market.labels).out_of_fold, _with(base.alone()))
    found = [float(np.corrcoef(mix.ltv[1], market.truth)[0, 1]) for mix in (alone, without, stacked)]
    assert found[2] > max(found[:2]) + 0.08


def _with(base: FittedBase) -> EnsembleSpec:
    outputs = (Output("d1", "log"), Output("d7", "log"), Output(LOG_MEAN, "identity"))
    return replace(specification(base), meta=LibrarySpec("meta.so", 6, outputs))


def test_the_log_head_answers_the_mean_and_hubers_what_lies_below(market: Market, fitted: Fitted) -> None:
    """Huber's location lies between the mean of log1p y and the bulk at 0; `auto` answers with the smaller error."""
    z = np.log1p(market.labels.revenue[:, 1])
    huber, auto = (
        stack(market.base(), market.labels, CONFIG.model_copy(update={"log_loss": loss})) for loss in ("huber", "auto")
    )
    squared, held = np.maximum(fitted.out_of_fold[:, 2], 0.0), np.maximum(huber.out_of_fold[:, 2], 0.0)
    assert squared.mean() == pytest.approx(z.mean(), rel=0.03)
    assert 0.0 < held.mean() < 0.9 * squared.mean()
    np.testing.assert_array_equal(auto.out_of_fold, fitted.out_of_fold)
    assert [b.model_to_string() for b in auto.boosters] == [b.model_to_string() for b in fitted.boosters]


def test_of_two_log_heads_the_one_with_the_smaller_error_answers() -> None:
    """By hand: scores below 0 count as 0, rows that are not mature do not count, others as they weigh."""
    z = np.array([0.0, 1.0, np.nan])
    assert best_log_head(np.array([[-5.0, 0.5], [1.0, 1.0], [9.0, 0.0]]), z) == 0
    assert best_log_head(np.array([[0.5, -5.0], [1.0, 1.0], [0.0, 9.0]]), z) == 1
    scores = np.array([[0.0, 0.4], [0.5, 1.0], [0.0, 0.0]])
    assert [best_log_head(scores, z, np.array([w, 1.0, 9.0])) for w in (1.0, 2.0)] == [1, 0]


def test_out_of_fold_scores_do_not_know_their_own_rows(market: Market, fitted: Fitted) -> None:
    """Labels of a fold change no log score of it, and do change those of the other folds."""
    own, revenue = FOLD == 2, market.labels.revenue
    moved = Labels(market.labels.buyer, np.where(own[:, None], 5.0 * revenue, revenue))
    scores = stack(market.base(), moved).out_of_fold
    # The tail of all payers is smoothed together, by a quantile of theirs: the log head reads no such thing.
    np.testing.assert_array_equal(fitted.out_of_fold[own, 2], scores[own, 2])
    assert np.abs(fitted.out_of_fold[~own, 2] - scores[~own, 2]).max() > 0.05
