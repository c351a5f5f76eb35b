"""The chain: a horizon rises with the one before, learned out of fold and served in the same order."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest

from training.learning.boosting import Matrix, Runtime, raw_scores
from training.learning.chain import Chain, Linked, fit_chain, linked
from training.learning.labels import Labels
from training.learning.options import BoosterConfig, RegressorConfig

N = 3000
TREES = {"rounds": 40, "leaves": 5, "learning_rate": 0.12, "min_leaf": 30}


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, Labels, np.ndarray]:
    """X, labels and folds; a horizon is the one before and something of its own."""
    rng = np.random.default_rng(12)
    X = rng.normal(size=(N, 3))
    y1 = np.exp(0.7 * X[:, 0] + 0.4 * rng.normal(size=N))
    y7 = y1 * np.exp(0.5 + 0.4 * X[:, 1] + 0.2 * rng.normal(size=N))
    y14 = y7 * np.exp(0.2 * rng.exponential(size=N))
    return X, Labels(np.ones(N), np.column_stack([y1, y7, y14])), np.arange(N) % 3


@pytest.fixture(scope="module", params=["lognormal", "tweedie"])
def chain(request: pytest.FixtureRequest, rows: tuple[np.ndarray, Labels, np.ndarray]) -> Chain:
    X, labels, fold = rows
    config = RegressorConfig.model_validate({**TREES, "objective": request.param})
    return fit_chain(Matrix(X, Runtime(0, 1)), labels, np.ones(N, dtype=bool), fold, config)


def test_a_horizon_never_falls_as_the_one_before_rises(
    chain: Chain, rows: tuple[np.ndarray, Labels, np.ndarray]
) -> None:
    """Whatever the other features, raising the upstream score raises or keeps the downstream one."""
    X = rows[0][:200]
    for booster in chain.boosters[1:]:
        scores = [raw_scores(booster, linked(X, np.full(200, s)), 1) for s in np.linspace(-3, 3, 25)]
        assert (np.diff(scores, axis=0) >= 0).all()
        assert (scores[-1] > scores[0]).any()


def test_scores_go_through_the_links_in_order(chain: Chain, rows: tuple[np.ndarray, Labels, np.ndarray]) -> None:
    """By a loop over single rows: each booster gets the float32 of the score before as its last feature."""
    X = rows[0][:20]
    found = chain.scores(X)
    for i, x in enumerate(X):
        score = chain.boosters[0].predict(x[None], raw_score=True)[0]
        assert found[i, 0] == score
        for h in (1, 2):
            score = chain.boosters[h].predict(np.r_[x, float(np.float32(score))][None], raw_score=True)[0]
            assert found[i, h] == score
    np.testing.assert_array_equal(chain.predict(found), np.exp(found))


def test_upstream_features_are_out_of_fold(rows: tuple[np.ndarray, Labels, np.ndarray]) -> None:
    """Labels of one fold do not change that fold's own out-of-fold score of the first horizon, nor what of it the
    second horizon reads."""
    X, labels, fold = rows
    config = RegressorConfig(**TREES)
    other = labels.revenue.copy()
    other[fold == 1, 0] *= 50.0
    first, second = (
        fit_chain(Matrix(X, Runtime(0, 1)), Labels(labels.buyer, y), np.ones(N, dtype=bool), fold, config)
        for y in (labels.revenue, other)
    )
    np.testing.assert_array_equal(first.out_of_fold[fold == 1, 0], second.out_of_fold[fold == 1, 0])
    assert np.abs(first.out_of_fold[fold != 1, 0] - second.out_of_fold[fold != 1, 0]).max() > 0.5


def test_a_linked_matrix_is_made_as_rows_are_asked_for(rows: tuple[np.ndarray, Labels, np.ndarray]) -> None:
    """A row, a slice, a mask and positions are those of the whole, and a booster of it is the same."""
    X, labels, _ = rows
    score = np.sin(np.arange(N))
    whole, link = linked(X, score), Linked(X, score)
    assert (link.shape, len(link)) == (whole.shape, N)
    for index in (7, np.int64(7), slice(2, 9), np.arange(N) % 5 == 0, np.array([3, 1])):
        np.testing.assert_array_equal(link[index], whole[index])
    config = BoosterConfig.model_validate(TREES)
    first, second = (
        Matrix(given, Runtime(0, 1)).fit({"objective": "gamma"}, labels.revenue[:, 0], score > 0, config)
        for given in (whole, cast(np.ndarray, link))
    )
    assert first.model_to_string() == second.model_to_string()


def test_the_chain_predicts(chain: Chain, rows: tuple[np.ndarray, Labels, np.ndarray]) -> None:
    """Out-of-fold scores follow the true log means; each horizon learns from the buyers mature at it."""
    X, labels, fold = rows
    truth = np.column_stack([0.7 * X[:, 0], 0.7 * X[:, 0] + 0.4 * X[:, 1], 0.7 * X[:, 0] + 0.4 * X[:, 1]])
    for h in range(3):
        assert np.corrcoef(chain.out_of_fold[:, h], truth[:, h])[0, 1] > 0.9
    buyer = np.where(np.arange(N) < 2500, 1.0, 0.0)
    unread = labels.revenue.copy()
    unread[2500:] = 1e9  # of no buyer
    plain, cut = (
        fit_chain(Matrix(X, Runtime(0, 1)), Labels(buyer, y), np.ones(N, dtype=bool), fold, RegressorConfig(**TREES))
        for y in (labels.revenue, unread)
    )
    np.testing.assert_array_equal(plain.scores(X[:50]), cut.scores(X[:50]))


@pytest.mark.parametrize("objective", ["quantile", "order_penalised"])
def test_what_can_not_be_chained_is_refused(objective: str, rows: tuple[np.ndarray, Labels, np.ndarray]) -> None:
    """One line that names the objective."""
    X, labels, fold = rows
    config = RegressorConfig.model_validate({**TREES, "objective": objective})
    with pytest.raises(ValueError, match=f"received '{objective}'"):
        fit_chain(Matrix(X, Runtime(0, 1)), labels, np.ones(N, dtype=bool), fold, config)
