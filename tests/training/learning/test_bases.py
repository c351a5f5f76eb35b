"""Base learners: scikit-learn, XGBoost and treelite as oracles, missing values, honest folds."""

from __future__ import annotations

import numpy as np
import pytest
import xgboost as xgb
from pydantic import ValidationError
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import ElasticNet

from training.learning.bases import Bases, bases_out_of_fold, fit_bases, fit_linear
from training.learning.boosting import Runtime
from training.learning.options import BasesConfig, LinearConfig

N = 1500
CONFIG = BasesConfig.model_validate(
    {
        "linear": {"alpha": 0.02},
        "forest": {"trees": 20},
        "xgboost": {"rounds": 30, "leaves": 5, "learning_rate": 0.15, "min_leaf": 20},
    }
)
RUNTIME = Runtime(3, 1)


def market() -> tuple[np.ndarray, np.ndarray]:
    """X on the float32 grid, a fifth of it missing, its third column everywhere; a target by x0 and x1."""
    rng = np.random.default_rng(41)
    X = rng.normal(size=(N, 5)).astype(np.float32).astype(np.float64)
    target = 2.0 + X[:, 0] - 0.5 * X[:, 1] + 0.2 * rng.normal(size=N)
    X[rng.random(X.shape) < 0.2] = np.nan
    X[:, 2], X[:, 4] = np.nan, 7.0
    return X, target


@pytest.fixture(scope="module")
def bases() -> Bases:
    X, target = market()
    return fit_bases(X, target, np.ones(N, dtype=bool), CONFIG, RUNTIME)


def test_the_linear_model_is_scikit_learns_on_prepared_features() -> None:
    """Folding the scale into the coefficients changes nothing; missing and extreme values follow the training rows."""
    X, target = market()
    config = LinearConfig(alpha=0.02)
    linear = fit_linear(X, target, config)
    prepared = []
    for j in (0, 1, 3):
        known = X[~np.isnan(X[:, j]), j]
        x = np.clip(X[:, j], *np.quantile(known, [0.005, 0.995]))
        x = np.where(np.isnan(x), np.median(known), x)
        prepared.append((x - x.mean()) / x.std())
    oracle = ElasticNet(alpha=config.alpha, l1_ratio=config.l1_ratio).fit(np.column_stack(prepared), target)
    np.testing.assert_allclose(linear.score(X), oracle.predict(np.column_stack(prepared)), atol=1e-6)
    assert set(linear.columns) <= {0, 1, 3}


def test_a_linear_score_is_a_sum_over_its_features() -> None:
    """By a loop over single rows, with missing and far-off values; alone and in a batch the same bits."""
    X, target = market()
    linear = fit_linear(X, target, LinearConfig(alpha=0.02))
    rows = np.vstack([X[:20], np.full(5, np.nan), np.full(5, 1e30), np.full(5, -1e30)])
    together = linear.score(rows)
    for row, score in zip(rows, together, strict=True):
        expected = linear.intercept
        for k, j in enumerate(linear.columns):
            x = linear.fill[k] if np.isnan(row[j]) else min(max(row[j], linear.lo[k]), linear.hi[k])
            expected += linear.weight[k] * x
        assert score == pytest.approx(expected, rel=1e-12)
        assert linear.score(row[None])[0] == score


def test_a_strong_penalty_leaves_few_features() -> None:
    """The elastic net drops features, and with them the need to compute them."""
    X, target = market()
    assert fit_linear(X, target, LinearConfig(alpha=0.3, l1_ratio=1.0)).columns == (0, 1)
    assert len(fit_linear(X, target, LinearConfig(alpha=50.0)).columns) == 0


def test_every_base_finds_the_target(bases: Bases) -> None:
    """Each follows the target out of sample, a fifth of the features missing."""
    X, target = market()
    scores = bases_out_of_fold(X, target, np.ones(N, dtype=bool), np.arange(N) % 3, CONFIG, RUNTIME)
    for column in scores.T:
        assert np.corrcoef(column, target)[0, 1] > 0.75


def test_every_base_is_what_its_library_predicts(bases: Bases) -> None:
    """scikit-learn's forest on one thread and XGBoost's margin, NaN included, in every bit."""
    X, _ = market()
    scores = bases.predict(X)
    assert [base.name for base in bases.compiled] == ["forest", "xgboost"]
    for base, column in zip(bases.compiled, scores.T, strict=False):
        np.testing.assert_array_equal(base.grown_scores(X), column)
    assert bases.linear is not None
    np.testing.assert_array_equal(bases.linear.score(X), scores[:, 2])


def test_one_that_is_not_wanted_is_not_fitted() -> None:
    """null leaves a learner out, and its column; without any the section has no sense."""
    X, target = market()
    config = CONFIG.model_copy(update={"forest": None, "linear": None})
    everyone = np.ones(N, dtype=bool)
    only = fit_bases(X, target, everyone, config, RUNTIME)
    assert [base.name for base in only.compiled] == ["xgboost"]
    assert only.linear is None
    assert bases_out_of_fold(X, target, everyone, np.arange(N) % 3, config, RUNTIME).shape == (N, 1)
    with pytest.raises(ValidationError, match="linear, forest or xgboost must be there"):
        BasesConfig(linear=None, forest=None, xgboost=None)


def test_more_rows_than_wanted_are_thinned_evenly() -> None:
    """Fitted on the rows that remain, the first and the last among them."""
    X, target = market()
    few = CONFIG.model_copy(update={"rows": 300})
    kept = np.zeros(N, dtype=bool)
    kept[np.linspace(0, N - 1, 300).astype(int)] = True
    everyone = np.ones(N, dtype=bool)
    thinned, chosen = fit_bases(X, target, everyone, few, RUNTIME), fit_bases(X, target, kept, CONFIG, RUNTIME)
    np.testing.assert_array_equal(thinned.predict(X), chosen.predict(X))


def test_settings_reach_the_learners(bases: Bases) -> None:
    """As many trees with as many leaves as configured, no leaf of fewer rows."""
    forest, booster = (base.grown for base in bases.compiled)
    assert isinstance(forest, RandomForestRegressor)
    assert isinstance(booster, xgb.Booster)
    trees = [one.tree_ for one in forest.estimators_]
    assert len(trees) == 20
    assert CONFIG.forest is not None
    assert max(tree.n_leaves for tree in trees) <= CONFIG.forest.leaves
    assert min(int(t.n_node_samples[t.children_left == -1].min()) for t in trees) >= CONFIG.forest.min_leaf
    dump = booster.get_dump()
    assert len(dump) == 30
    assert max(text.count("leaf=") for text in dump) == 5


def test_rows_out_of_sight_and_own_folds_teach_nothing() -> None:
    """Targets of rows outside the mask change no score; those of a fold do not change that fold's own scores."""
    X, target = market()
    seen, fold = np.arange(N) < 1000, np.arange(N) % 3
    blind = np.where(seen, target, np.nan)
    first, second = (fit_bases(X, y, seen, CONFIG, RUNTIME).predict(X) for y in (target, blind))
    np.testing.assert_array_equal(first, second)
    moved = np.where(fold == 1, target + 100.0, target)
    everyone = np.ones(N, dtype=bool)
    plain, other = (bases_out_of_fold(X, y, everyone, fold, CONFIG, RUNTIME) for y in (target, moved))
    np.testing.assert_array_equal(plain[fold == 1], other[fold == 1])
    assert (np.abs(plain[fold != 1] - other[fold != 1]).mean(axis=0) > 10.0).all()


def test_a_row_counts_for_what_it_weighs() -> None:
    """Where features say nothing, each learner answers the weighted mean of the target."""
    X = np.full((N, 2), 3.0)
    target, weight = (np.arange(N) % 2).astype(float), np.where(np.arange(N) % 2, 3.0, 1.0)
    weighed = fit_bases(X, target, np.ones(N, dtype=bool), CONFIG, RUNTIME, weight)
    np.testing.assert_allclose(weighed.predict(X[:1])[0], 0.75, atol=0.03)


def test_scores_are_repeatable(bases: Bases) -> None:
    """The same data and seed give the same scores, on one thread and on two."""
    X, target = market()
    again = fit_bases(X, target, np.ones(N, dtype=bool), CONFIG, Runtime(RUNTIME.seed, 2))
    np.testing.assert_array_equal(bases.predict(X), again.predict(X))
