"""HistOS and HistUS: the published weights, samplers that agree with them, and priors that are given back."""

from __future__ import annotations

from math import exp

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from training.learning.options import ResamplingConfig
from training.learning.resampling import (
    log_odds_of_class_weights,
    log_odds_of_negatives_kept,
    negatives_kept,
    oversampled,
    oversampling_weight,
    rarity,
    row_weights,
    undersampled,
)

SHARES = np.array([0.0, 0.05, 0.1, 0.25, 0.5, 1.0])
WEIGHTS = [9.93, 7.70, 6.21, 3.88, 2.44, 1.57]
"""w(r) at c/C = SHARES, B = 1, A = 1.02, as published with the method."""


def test_weights_are_the_published_ones() -> None:
    """w(exp(-c/C)) agrees with the table to its last digit."""
    np.testing.assert_allclose(oversampling_weight(np.exp(-SHARES), 1.02), WEIGHTS, atol=0.005)


def test_the_sampler_keeps_a_row_as_often_as_its_weight_says() -> None:
    """The mean count over many draws is w(r) for HistOS and r for HistUS; every row is kept once at least by HistOS."""
    r = np.repeat(np.exp(-SHARES), 40_000)
    copies = oversampled(r, 1.02, seed=5)
    assert copies.min() == 1
    means = copies.reshape(len(SHARES), -1).mean(axis=1)
    np.testing.assert_allclose(means, oversampling_weight(np.exp(-SHARES), 1.02), rtol=0.02)
    kept = undersampled(r, seed=5).reshape(len(SHARES), -1)
    np.testing.assert_allclose(kept.mean(axis=1), np.exp(-SHARES), atol=0.01)


def test_the_sampler_stops() -> None:
    """A row that is always kept again (r = 1, A = 1) is kept 42 times: once, once more, and forty times."""
    np.testing.assert_array_equal(oversampled(np.ones(3), 1.0, seed=0), 42)
    np.testing.assert_allclose(oversampling_weight(np.ones(1), 1.0), 42.0)


@given(
    hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(0, 1e6)),
    st.integers(1, 30),
    st.sampled_from([0.5, 1.0, 3.0]),
)
def test_rarity_counts_equal_widths_of_log_revenue(y: np.ndarray, bins: int, strength: float) -> None:
    """Against a loop: bins of equal width over log1p(y), r = exp(-B·c/C)."""
    z = [float(np.log1p(v)) for v in y]
    width = (max(z) - min(z)) / bins
    places = [0 if width == 0 else min(int((v - min(z)) / width), bins - 1) for v in z]
    fullest = max(places.count(p) for p in places)
    expected = [exp(-strength * places.count(p) / fullest) for p in places]
    np.testing.assert_allclose(rarity(y, bins, strength), expected, rtol=1e-12)


def test_a_whale_counts_for_more() -> None:
    """Rare revenue gets the larger weight, rows outside keep 1, and a HistUS sample drops common rows."""
    y = np.r_[np.full(200, 2.0), 900.0, 0.0]
    rows = np.arange(202) < 201
    weights = row_weights(y, rows, ResamplingConfig(method="histos"), seed=1)
    assert weights[200] > 4 * weights[0] > 4
    assert weights[201] == 1.0
    kept = row_weights(y, rows, ResamplingConfig(method="histus", mode="samples"), seed=1)
    assert set(kept.tolist()) == {0.0, 1.0}
    assert kept[:200].mean() == pytest.approx(exp(-1.0), abs=0.12)
    np.testing.assert_allclose(row_weights(y, rows, ResamplingConfig(method="histus"), seed=1)[0], exp(-1.0))


@given(st.floats(1e-6, 1 - 1e-6), st.floats(0.001, 1.0), st.floats(0.1, 50.0), st.floats(0.1, 50.0))
def test_a_constant_on_the_logit_is_the_published_correction(p_s: float, beta: float, w0: float, w1: float) -> None:
    """Dal Pozzolo's formula for kept negatives, and the one for class weights, on probabilities."""
    logit = np.log(p_s / (1 - p_s))
    kept = 1 / (1 + np.exp(-(logit + log_odds_of_negatives_kept(beta))))
    assert kept == pytest.approx(beta * p_s / ((beta - 1) * p_s + 1), rel=1e-9)
    weighed = 1 / (1 + np.exp(-(logit + log_odds_of_class_weights(w0, w1))))
    assert weighed == pytest.approx(p_s * w0 / (p_s * w0 + (1 - p_s) * w1), rel=1e-9)


def test_the_correction_undoes_what_keeping_a_share_does() -> None:
    """Where every row has the same probability, the rate among the kept rows, corrected, is the true one."""
    buyer = (np.random.default_rng(2).random(200_000) < 0.04).astype(float)
    kept = negatives_kept(buyer, 0.1, seed=3)
    assert kept[buyer == 1].all()
    p_s = buyer[kept].mean()
    assert p_s > 0.25
    corrected = 1 / (1 + np.exp(-(np.log(p_s / (1 - p_s)) + log_odds_of_negatives_kept(0.1))))
    assert corrected == pytest.approx(buyer.mean(), rel=0.03)
