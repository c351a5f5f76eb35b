"""Tests of training.evaluation.ranking."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from tests.training.evaluation.market import market, repeat
from training.evaluation import ranking
from training.evaluation.ranking import Floats

amounts = st.sampled_from([0.0, 0.0, 0.0, 0.5, 1.0, 2.0, 7.5, 300.0])
columns = st.lists(st.tuples(amounts, amounts, st.integers(0, 3)), min_size=2, max_size=30)


def slow_gini(y: Floats, y_hat: Floats) -> float:
    """Mean cumulative share over sorted rows, y averaged within ties, by a loop; less the 1/n of the sum."""
    averaged = [float(np.mean([b for a, b in zip(y_hat, y, strict=True) if a == one])) for one in y_hat]
    order = sorted(range(len(y)), key=lambda i: -y_hat[i])
    running, shares = 0.0, []
    for i in order:
        running += averaged[i]
        shares.append(running / float(np.sum(y)))
    return 2.0 * float(np.mean(shares)) - 1.0 - 1.0 / len(y)


@settings(max_examples=60, deadline=None)
@given(columns)
def test_gini_is_the_loop(drawn: list[tuple[float, float, int]]) -> None:
    """Gini equals the cumulative-share definition written as a loop, ties averaged."""
    y, y_hat = np.array([a for a, _, _ in drawn]), np.array([b for _, b, _ in drawn])
    if y.sum() == 0.0:
        assert np.isnan(ranking.gini(y, y_hat))
    else:
        assert ranking.gini(y, y_hat) == pytest.approx(slow_gini(y, y_hat), abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(columns, st.randoms(use_true_random=False))
def test_order_of_rows_is_no_matter(drawn: list[tuple[float, float, int]], shuffle: random.Random) -> None:
    """Shuffled rows give the same ranking metrics, however many ties there are."""
    mixed = list(drawn)
    shuffle.shuffle(mixed)
    for metric in (ranking.gini, ranking.spearman, ranking.mutual_gini, ranking.recall_at_k):
        before, after = (
            metric(np.array([a for a, _, _ in rows]), np.array([b for _, b, _ in rows])) for rows in (drawn, mixed)
        )
        assert after == pytest.approx(before, abs=1e-12, nan_ok=True)


@settings(max_examples=60, deadline=None)
@given(columns)
def test_an_integer_weight_is_that_many_rows(drawn: list[tuple[float, float, int]]) -> None:
    """Weighted metrics equal the plain ones on repeated rows."""
    y, y_hat = np.array([a for a, _, _ in drawn]), np.array([b for _, b, _ in drawn])
    counts = [c for _, _, c in drawn]
    weights = np.array(counts, dtype=np.float64)
    if sum(counts) == 0:
        return
    long_y, long_y_hat = repeat(counts, y, y_hat)
    for metric in (ranking.gini, ranking.normalised_gini, ranking.mutual_gini, ranking.spearman):
        assert metric(y, y_hat, weights) == pytest.approx(metric(long_y, long_y_hat), abs=1e-9, nan_ok=True), (
            metric.__name__
        )


def test_a_constant_has_no_order() -> None:
    """A constant prediction has Gini exactly 0 and no rank correlation."""
    _, rows = market(500, 1)
    y = rows.y[:, 1]
    assert ranking.gini(y, np.full(500, 3.0)) == pytest.approx(0.0, abs=1e-12)
    assert np.isnan(ranking.spearman(y, np.full(500, 3.0)))


def test_the_truth_is_the_ceiling() -> None:
    """Against itself an expectation has normalised Gini 1; reversed, −1; scaled, unchanged."""
    _, rows = market(500, 2)
    assert rows.oracle is not None
    expected = rows.oracle.ltv[:, 1]
    assert ranking.normalised_gini(expected, expected) == pytest.approx(1.0)
    assert ranking.normalised_gini(expected, -expected) == pytest.approx(-1.0)
    assert ranking.normalised_gini(rows.y[:, 1], 5.0 * expected) == ranking.normalised_gini(rows.y[:, 1], expected)


def test_mutual_gini_is_the_area() -> None:
    """Mutual Gini is ∫|L_y − L_ŷ|, found here by the trapezoid rule on a fine grid."""
    _, rows = market(300, 3)
    assert rows.oracle is not None
    y, y_hat = rows.y[:, 1], rows.oracle.ltv[:, 1]
    grid = np.linspace(0.0, 1.0, 200_001)
    knots = np.arange(301) / 300.0
    curves = [np.interp(grid, knots, np.append(0.0, np.cumsum(np.sort(v)[::-1])) / v.sum()) for v in (y, y_hat)]
    area = float(np.trapezoid(np.abs(curves[0] - curves[1]), grid))
    assert ranking.mutual_gini(y, y_hat) == pytest.approx(area, abs=1e-7)
    assert ranking.mutual_gini(y, 3.0 * y) == pytest.approx(0.0, abs=1e-12)


def test_area_between_curves_that_cross() -> None:
    """Where two lines cross within a piece, both triangles count: ∫|x − ½| = ¼."""
    x = np.array([0.0, 1.0])
    assert ranking.area_between(x, x, x, np.array([0.5, 0.5])) == pytest.approx(0.25)


def test_spearman_is_scipys() -> None:
    """Spearman over all rows and over payers equals scipy's, ties and all."""
    _, rows = market(800, 4)
    y, y_hat = rows.y[:, 1], np.round(rows.y[:, 0] + np.arange(800) % 7, 0)
    assert ranking.spearman(y, y_hat) == pytest.approx(spearmanr(y, y_hat).statistic)
    payers = y > 0.0
    assert ranking.spearman_payers(y, y_hat) == pytest.approx(spearmanr(y[payers], y_hat[payers]).statistic)


def test_recall_at_k_counts_whales() -> None:
    """k is the number of whales; a group of ties is taken in proportion."""
    y = np.array([100.0, 90.0, 1.0, 1.0, 0.0, 0.0])
    share = 0.5
    assert ranking.whale_rows(y, share).tolist() == [0, 1]
    assert ranking.recall_at_k(y, np.array([9.0, 1.0, 8.0, 0.0, 0.0, 0.0]), share) == 0.5
    assert ranking.recall_at_k(y, np.array([9.0, 5.0, 5.0, 0.0, 0.0, 0.0]), share) == 0.75
    assert ranking.missed_whales(y, y, share) == 0.0
    assert np.isnan(ranking.recall_at_k(np.zeros(3), np.ones(3)))


def test_weights_must_fit() -> None:
    """No rows, or weights of another length, are refused with the shapes named."""
    with pytest.raises(ValueError, match="at least one row"):
        ranking.gini(np.array([]), np.array([]))
    with pytest.raises(ValueError, match=r"expected sample_weight of shape \(2,\), got \(3,\)"):
        ranking.gini(np.ones(2), np.ones(2), np.ones(3))
