"""Boosters: repeatable fits, honest folds, trees that go on from others."""

from __future__ import annotations

import numpy as np
import pytest

from training.learning.boosting import Matrix, Runtime, out_of_fold, raw_scores, shifted
from training.learning.options import BoosterConfig

SMALL = BoosterConfig(rounds=12, leaves=5, learning_rate=0.2, min_leaf=10, feature_fraction=0.7, bagging_fraction=0.8)
L2 = {"objective": "regression"}


@pytest.fixture
def rows() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(800, 4))
    return X, X[:, 0] + 0.1 * rng.normal(size=800)


def test_a_subset_learns_its_own_labels(rows: tuple[np.ndarray, np.ndarray]) -> None:
    """A model over some rows fits their labels, not those the matrix was binned with."""
    X, y = rows
    seen = np.arange(800) < 600
    booster = Matrix(X, Runtime(1, 1)).fit(L2, y, seen, SMALL)
    assert np.corrcoef(raw_scores(booster, X[~seen], 1), y[~seen])[0, 1] > 0.8


def test_the_same_seed_gives_the_same_model(rows: tuple[np.ndarray, np.ndarray]) -> None:
    """Two fits of the same data and seed are the same bytes."""
    X, y = rows
    everyone = np.ones(800, dtype=bool)
    first, second = (Matrix(X, Runtime(3, 2)).fit(L2, y, everyone, SMALL).model_to_string() for _ in range(2))
    assert first == second


def test_labels_outside_the_rows_are_not_read(rows: tuple[np.ndarray, np.ndarray]) -> None:
    """NaN labels of rows that may not be seen change nothing."""
    X, y = rows
    seen = np.arange(800) % 2 == 0
    blind = np.where(seen, y, np.nan)
    models = [Matrix(X, Runtime(1, 1)).fit(L2, label, seen, SMALL).model_to_string() for label in (y, blind)]
    assert models[0] == models[1]


def test_out_of_fold_scores_never_come_from_a_model_that_saw_the_row(rows: tuple[np.ndarray, np.ndarray]) -> None:
    """Each fold's scores are those of a model fitted on exactly the other folds."""
    X, y = rows
    matrix, fold = Matrix(X, Runtime(1, 1)), np.arange(800) % 3
    scores = out_of_fold(lambda seen: [matrix.fit(L2, y, seen, SMALL)], matrix, fold)
    for k in range(3):
        alone = matrix.fit(L2, y, fold != k, SMALL)
        np.testing.assert_array_equal(scores[fold == k, 0], raw_scores(alone, X[fold == k], 1))


def test_a_shift_moves_every_score_by_the_same(rows: tuple[np.ndarray, np.ndarray]) -> None:
    """`shifted` adds its number to all scores and leaves the original as it was."""
    X, y = rows
    booster = Matrix(X, Runtime(1, 1)).fit(L2, y, np.ones(800, dtype=bool), SMALL)
    before = raw_scores(booster, X, 1)
    np.testing.assert_allclose(raw_scores(shifted(booster, 0.75), X, 1), before + 0.75, atol=1e-12)
    np.testing.assert_array_equal(raw_scores(booster, X, 1), before)


def test_a_shift_of_a_later_tree_leaves_those_before_it(rows: tuple[np.ndarray, np.ndarray]) -> None:
    """All scores rise, those of the first trees alone do not."""
    X, y = rows
    booster = Matrix(X, Runtime(1, 1)).fit(L2, y, np.ones(800, dtype=bool), SMALL)
    moved = shifted(booster, 0.75, first=5)
    np.testing.assert_allclose(raw_scores(moved, X, 1), raw_scores(booster, X, 1) + 0.75, atol=1e-12)
    first, same = (np.asarray(b.predict(X, raw_score=True, num_iteration=5)) for b in (booster, moved))
    np.testing.assert_array_equal(first, same)


def test_an_extended_booster_holds_the_trees_it_went_on_from(rows: tuple[np.ndarray, np.ndarray]) -> None:
    """The first trees of the result are the old booster's."""
    X, y = rows
    everyone = np.ones(800, dtype=bool)
    matrix = Matrix(X, Runtime(1, 1))
    base = matrix.fit(L2, y, everyone, SMALL)
    longer = matrix.extend(base, L2, 2 * y, np.ones(800), everyone, SMALL)
    assert longer.num_trees() == base.num_trees() + SMALL.rounds
    first = np.asarray(longer.predict(X, raw_score=True, num_iteration=base.num_trees()))
    np.testing.assert_allclose(first, raw_scores(base, X, 1), atol=1e-12)


def test_a_rising_column_never_lowers_a_score(rows: tuple[np.ndarray, np.ndarray]) -> None:
    """Every model over a matrix with a rising column keeps or raises its score as that column rises."""
    X, y = rows
    matrix = Matrix(X, Runtime(1, 1), rising=(2,))
    booster = matrix.fit(L2, y + np.sin(3 * X[:, 2]), np.ones(800, dtype=bool), SMALL)
    steps = []
    for value in np.linspace(-2, 2, 30):
        moved = X[:50].copy()
        moved[:, 2] = value
        steps.append(raw_scores(booster, moved, 1))
    assert (np.diff(steps, axis=0) >= 0).all()
    assert np.ptp(steps, axis=0).max() > 0


def test_classes_are_shifted_one_by_one(rows: tuple[np.ndarray, np.ndarray]) -> None:
    """A number a class moves that class's scores and no other's."""
    X, _ = rows
    label = np.digitize(X[:, 0], [-0.5, 0.5]).astype(float)
    multiclass = {"objective": "multiclass", "num_class": 3}
    booster = Matrix(X, Runtime(1, 1)).fit(multiclass, label, np.ones(800, dtype=bool), SMALL)
    by = np.array([0.5, 0.0, -2.0])
    np.testing.assert_allclose(raw_scores(shifted(booster, by), X, 1), raw_scores(booster, X, 1) + by, atol=1e-12)
