"""The peers' job: rows without holes, boosters of the bundle's shape, and answers that are LightGBM's own."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pytest

from app.inference.predictor import Predictor
from loadtests.benchmarks.scenarios.models import columns
from loadtests.peers.ours import expected
from loadtests.peers.rows import CASES, N_ROWS, Floats, job, learn, leaves, most_used, ready
from loadtests.peers.servers.boosters import Boosters, Compiled
from tests.support.market import Market


def _booster(X: Floats, y: Floats, rounds: int, num_leaves: int) -> lgb.Booster:
    parameters = {"num_leaves": num_leaves, "min_data_in_leaf": 5, "verbosity": -1, "num_threads": 1, "seed": 3}
    return lgb.train(parameters, lgb.Dataset(X, y), num_boost_round=rounds)


@pytest.fixture(scope="module", name="X")
def _matrix() -> Floats:
    """300 rows of six features."""
    return np.random.default_rng(5).normal(size=(300, 6))


def test_a_missing_value_is_its_columns_median() -> None:
    """Numbers stay but for their digits after the sixth; a column that nobody has is 0."""
    nan = math.nan
    found = ready(np.array([[1.0, nan, nan], [nan, 2.0000004, nan], [4.0, 123456.7, nan], [10.0, 8.0, nan]]))
    assert found.tolist() == [[1.0, 8.0, 0.0], [4.0, 2.0, 0.0], [4.0, 123457.0, 0.0], [10.0, 8.0, 0.0]]


def test_the_most_used_columns_keep_their_order(X: Floats) -> None:
    """Those that the boosters split on, counted over all of them."""
    boosters = [_booster(X, X[:, 4] ** 2, 5, 6), _booster(X, X[:, 1] + (X[:, 3] > 0.0), 5, 6)]
    assert most_used(boosters, 3).tolist() == [1, 3, 4]


def test_a_learned_booster_has_the_shape_of_the_other(X: Floats) -> None:
    """As many trees, and the leaves of the largest."""
    like = _booster(X, X[:, 0] * X[:, 2], rounds=7, num_leaves=9)
    learned = learn(X, X[:, 0] + X[:, 5], like)
    assert (learned.num_trees(), leaves(learned)) == (like.num_trees(), leaves(like)) == (7, 9)


@pytest.mark.parametrize("case", CASES)
def test_the_job_is_made_once_and_its_servers_agree_with_lightgbm(trained: Market, tmp_path: Path, case: str) -> None:
    """Both kinds of peers' models give the job's scores, row by row and all at once; a second run reads the same."""
    bodies = trained.requests_parsed()[:400]
    made = job(trained.bundle, bodies, tmp_path, case)
    assert made.X.shape[0] == min(N_ROWS, len(bodies))
    assert np.isfinite(made.X).all()
    names = (made.directory / "names.txt").read_text().split()
    assert names[0] == "gate"
    boosters, some = Boosters(made.directory), made.X[:20].tolist()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*[Tt]reelite.*version.*", UserWarning)
        compiled = Compiled(made.directory)
    np.testing.assert_allclose([boosters.row(row) for row in some], made.scores[:20], rtol=0, atol=0)
    np.testing.assert_allclose([compiled.row(row) for row in some], made.scores[:20], rtol=1e-12)
    np.testing.assert_array_equal(boosters.rows(made.X), made.scores)
    again = job(trained.bundle, bodies, tmp_path, case)
    assert again.directory == made.directory
    np.testing.assert_array_equal(again.X, made.X)


def test_what_ours_must_answer_is_what_the_bundle_says(trained: Market) -> None:
    """The same numbers by LightGBM's walk through the trees as by the compiled libraries."""
    bodies = trained.requests_parsed()[:50]
    predictor = Predictor.load(trained.bundle)
    found = predictor.predict(columns(predictor, bodies))
    predictor.close()
    told = np.column_stack([found.p_buyer, found.ltv, found.log_mean])
    np.testing.assert_allclose(expected(trained.bundle, bodies), told, rtol=1e-12)
