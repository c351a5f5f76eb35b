"""Tests of training.evaluation.classification."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.evaluation.market import market
from training.evaluation import classification
from training.evaluation.ranking import Floats, TieGroups

rows_of_classes = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([0.0, 0.1, 0.2, 0.5, 0.9]), st.integers(0, 3)),
    min_size=1,
    max_size=30,
)


def _columns(drawn: list[tuple[int, float, int]]) -> tuple[Floats, Floats, Floats]:
    a, b, c = zip(*drawn, strict=True)
    return np.array(a, dtype=np.float64), np.array(b), np.array(c, dtype=np.float64)


@settings(max_examples=60, deadline=None)
@given(rows_of_classes)
def test_kernels_are_scikit_learns(drawn: list[tuple[int, float, int]]) -> None:
    """AUC and average precision from tied groups equal scikit-learn's under any weights."""
    buyer, p, weights = _columns(drawn)
    groups = TieGroups(p)
    positives, counts = groups.sums(weights * buyer), groups.sums(weights)
    if 0.0 < positives.sum() < counts.sum():
        expected = classification.auc(buyer, p, weights)
        assert classification.auc_at(positives, counts) == pytest.approx(expected)
        assert classification.pr_auc_at(positives, counts) == pytest.approx(
            sklearn.metrics.average_precision_score(buyer, p, sample_weight=weights)
        )
    else:
        assert np.isnan(classification.auc_at(positives, counts))


@settings(max_examples=60, deadline=None)
@given(rows_of_classes)
def test_best_f1_tries_every_threshold(drawn: list[tuple[int, float, int]]) -> None:
    """F1, precision and recall at the best threshold are scikit-learn's, and no threshold has more."""
    buyer, p, _ = _columns(drawn)
    if not buyer.any():
        assert np.isnan(classification.f1_best(buyer, p).recall)
        return
    best = classification.f1_best(buyer, p)
    every = [sklearn.metrics.f1_score(buyer, p >= threshold, zero_division=0.0) for threshold in set(p)]
    assert best.f1 == pytest.approx(max(every))
    assert best.precision == pytest.approx(classification.precision(buyer, p, best.threshold))
    assert best.recall == pytest.approx(classification.recall(buyer, p, best.threshold))
    assert best.precision == pytest.approx(sklearn.metrics.precision_score(buyer, p >= best.threshold))
    assert best.recall == pytest.approx(sklearn.metrics.recall_score(buyer, p >= best.threshold))


def test_log_loss_and_brier_are_scikit_learns() -> None:
    """Log-loss and Brier score equal scikit-learn's, weighted as well."""
    _, rows = market(400, 5)
    assert rows.oracle is not None
    buyer, p = rows.buyer, rows.oracle.p_buyer
    weights = np.random.default_rng(0).random(400)
    assert classification.log_loss(buyer, p, weights) == pytest.approx(
        sklearn.metrics.log_loss(buyer, p, sample_weight=weights)
    )
    assert classification.brier(buyer, p, weights) == pytest.approx(
        sklearn.metrics.brier_score_loss(buyer, p, sample_weight=weights)
    )


def test_log_loss_of_a_certain_mistake_is_finite() -> None:
    """A buyer given probability 0 costs about 36 nats, not infinity."""
    assert classification.log_loss(np.array([1.0]), np.array([0.0])) == pytest.approx(36.04, abs=0.01)


def test_ece_is_the_loop() -> None:
    """ECE is the rows' share times the gap, summed over bins of equal mass."""
    _, rows = market(1500, 6)
    assert rows.oracle is not None
    buyer, p = rows.buyer, rows.oracle.p_buyer**1.5
    order = np.argsort(-p)
    slow = sum(abs(p[part].mean() - buyer[part].mean()) * 100 / 1500 for part in np.split(order, 15))
    assert classification.ece(buyer, p) == pytest.approx(slow)


def test_calibrated_probabilities_have_no_error() -> None:
    """Against its own expectation a probability has ECE 0; the base rate for all has ECE 0 as well."""
    _, rows = market(1000, 7)
    assert rows.oracle is not None
    assert classification.ece(rows.oracle.p_buyer, rows.oracle.p_buyer) == 0.0
    assert classification.ece(rows.buyer, np.full(1000, rows.buyer.mean())) == pytest.approx(0.0, abs=1e-12)


def test_reliability_bins_hold_every_row() -> None:
    """Bins rise in probability, hold each row once, and their means rebuild the totals."""
    _, rows = market(1003, 8)
    assert rows.oracle is not None
    bins = classification.reliability_bins(rows.buyer, rows.oracle.p_buyer, 10)
    assert sum(b["rows"] for b in bins) == 1003
    assert [b["p"] for b in bins] == sorted(b["p"] for b in bins)
    assert sum(b["rows"] * b["rate"] for b in bins) == pytest.approx(rows.buyer.sum())


def test_one_class_has_no_auc() -> None:
    """Without buyers AUC, PR-AUC and recall are NaN, not an error."""
    nobody, p = np.zeros(3), np.array([0.1, 0.2, 0.3])
    assert np.isnan(classification.auc(nobody, p))
    assert np.isnan(classification.pr_auc(nobody, p))
    assert np.isnan(classification.recall(nobody, p, 0.2))
    assert np.isnan(classification.precision(nobody, p, 0.9))
