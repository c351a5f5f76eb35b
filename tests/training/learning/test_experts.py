"""Experts: segments, soft routing, and a sum over experts that is a mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from app.errors import DataError
from app.inference.compiled import CompiledModel
from training.learning.boosting import Matrix, Runtime, raw_matrix
from training.learning.experts import Experts, alignment_loss, fit_experts, segment_edges, segment_of
from training.learning.options import BoosterConfig
from training.publishing.compilation import compile_library

TREES = BoosterConfig(rounds=40, leaves=4, learning_rate=0.1, min_leaf=20)
N, SEGMENTS = 6000, 3


def payers() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X, revenue and E[y | x] of a mixture: small spenders at 2 dollars, large ones at 60, by x0 which is likely."""
    rng = np.random.default_rng(31)
    X = rng.normal(size=(N, 3))
    share = 1 / (1 + np.exp(1.5 - 1.5 * X[:, 0]))
    large = rng.random(N) < share
    level = np.where(large, 60.0 * np.exp(0.3 * X[:, 1]), 2.0)
    y = level * np.exp(0.5 * rng.normal(size=N) - 0.125)
    return X, y, share * 60.0 * np.exp(0.3 * X[:, 1]) + (1 - share) * 2.0


@pytest.fixture(scope="module")
def fitted() -> Experts:
    X, y, _ = payers()
    fold = np.arange(N) % 3
    return fit_experts(Matrix(X, Runtime(0, 1)), y, np.ones(N, dtype=bool), fold, SEGMENTS, TREES, TREES)


def test_segments_are_equal_but_for_the_whales() -> None:
    """Equal numbers below the 99th percentile, one payer in a hundred above it; an edge belongs below."""
    y = np.exp(np.random.default_rng(1).normal(size=10_000))
    for segments in (2, 3, 5):
        edges = segment_edges(y, segments)
        counts = np.bincount(segment_of(y, edges))
        assert counts[-1] == pytest.approx(100, abs=1)
        assert np.ptp(counts[:-1]) <= 2
        assert segment_of(edges, edges).tolist() == list(range(segments - 1))


def test_an_empty_segment_is_refused() -> None:
    """Payers who all spend the same can not be cut apart."""
    with pytest.raises(DataError, match="expected payers in each of 3 segments, received"):
        segment_edges(np.full(50, 5.0), 3)


def test_the_loss_is_minus_a_log_density() -> None:
    """Up to a constant, that of a log-normal around the expert, with the mean and spread of its own residuals."""
    rng = np.random.default_rng(2)
    y, scores = np.exp(rng.normal(size=200)), rng.normal(size=(200, 2))
    membership = np.eye(2)[rng.integers(0, 2, size=200)]
    for k, column in enumerate(alignment_loss(y, scores, membership).T):
        residual = np.log(y) - scores[:, k]
        own = residual[membership[:, k] == 1]
        expected = -norm(own.mean(), own.std()).logpdf(residual) - 0.5 * np.log(2 * np.pi)
        np.testing.assert_allclose(column, expected, rtol=1e-9)


def test_shares_are_a_distribution_and_the_prediction_their_sum(fitted: Experts) -> None:
    """π sums to 1, follows who spends much, and Σ π·ŷ is taken over all experts, by a loop."""
    X, _, _ = payers()
    raw = raw_matrix(fitted.boosters, X, 1)
    assert raw.shape == (N, 2 * SEGMENTS)
    shares = fitted.shares(raw)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    assert np.corrcoef(shares[:, 0], X[:, 0])[0, 1] < -0.8
    for i in range(5):
        e = np.exp(raw[i, :SEGMENTS])
        assert fitted.predict(raw)[i] == pytest.approx(float((e / e.sum() * np.exp(raw[i, SEGMENTS:])).sum()))


def test_the_soft_sum_is_a_mean_and_the_argmax_is_not(fitted: Experts) -> None:
    """Σ_k π_k·ŷ_k sums to the truth, in both halves of x0; the likeliest expert alone does not."""
    X, _, mean = payers()
    raw = raw_matrix(fitted.boosters, X, 1)
    soft = fitted.predict(raw)
    for half in (X[:, 0] > 0, X[:, 0] <= 0):
        assert soft[half].sum() / mean[half].sum() == pytest.approx(1.0, abs=0.08)
    assert np.corrcoef(soft, mean)[0, 1] > 0.95
    best = np.exp(raw[np.arange(N), SEGMENTS + fitted.shares(raw).argmax(axis=1)])
    low = X[:, 0] <= 0
    assert abs(best[low].sum() / mean[low].sum() - 1.0) > 0.2


def test_selector_and_experts_compile_into_one_library(fitted: Experts, tmp_path: Path) -> None:
    """As 2·K outputs of one library they give their raw scores to the last bit."""
    X = payers()[0][:500].astype(np.float32).astype(np.float64)
    compile_library(fitted.boosters, tmp_path / "experts.so")
    compiled = CompiledModel(tmp_path / "experts.so", X.shape[1], 2 * SEGMENTS)
    np.testing.assert_array_equal(compiled.predict_raw(X), raw_matrix(fitted.boosters, X, 1))
    compiled.close()


def test_rows_that_do_not_pay_or_may_not_be_seen_teach_nothing() -> None:
    """Only the rows of the mask are read."""
    X, y, _ = payers()
    seen = np.arange(N) < 3000
    fold = np.arange(N) % 3
    models = [
        fit_experts(Matrix(X, Runtime(0, 1)), given, seen, fold, SEGMENTS, TREES, TREES).boosters
        for given in (y, np.where(seen, y, np.nan))
    ]
    np.testing.assert_array_equal(raw_matrix(models[0], X, 1), raw_matrix(models[1], X, 1))


def test_a_fold_that_holds_all_payers_of_a_segment_is_refused() -> None:
    """An expert needs rows beside the fold that it is to judge."""
    X, y, _ = payers()
    fold = np.where(y > np.quantile(y, 0.98), 0, 1 + np.arange(N) % 2)
    with pytest.raises(DataError, match="expected payers of each segment beside fold 0"):
        fit_experts(Matrix(X, Runtime(0, 1)), y, np.ones(N, dtype=bool), fold, SEGMENTS, TREES, TREES)
