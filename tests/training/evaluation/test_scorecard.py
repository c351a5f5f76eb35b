"""Tests of training.evaluation.scorecard."""

from __future__ import annotations

import numpy as np
import pytest

from tests.training.evaluation.market import market, repeat
from training.evaluation import metrics, ranking
from training.evaluation.scorecard import AmountCard, ClassifierCard, LogCard


def test_amounts_are_those_of_metrics() -> None:
    """Under integer weights a card gives `metrics` on repeated rows; caps and whales stay fixed."""
    _, rows = market(600, 1)
    assert rows.oracle is not None
    y, expected = rows.y[:, 1], rows.oracle.ltv[:, 1]
    y_hat = np.round(expected, 1)
    counts = np.random.default_rng(0).poisson(1.0, 600)
    card = AmountCard(y, y_hat, expected)(counts.astype(np.float64))
    long_y, long_hat, long_expected = repeat(counts.tolist(), y, y_hat, expected)
    names = [n for n in card if "bias" not in n and "oracle" not in n and n != "missed_whales"]
    assert len(names) == 14
    for name in names:
        assert card[name] == pytest.approx(getattr(metrics, name)(long_y, long_hat)), name
    weights = counts.astype(np.float64)
    assert card["normalised_gini_oracle"] == pytest.approx(metrics.normalised_gini(long_expected, long_hat))
    assert card["decile_mape_oracle"] == pytest.approx(metrics.decile_mape(long_expected, long_hat))
    assert card["bias_oracle"] == pytest.approx(metrics.bias(long_expected, long_hat))
    assert card["bias_realised"] == pytest.approx(metrics.realised_bias(y, y_hat, weights))
    assert card["missed_whales"] == pytest.approx(ranking.missed_whales(y, y_hat, sample_weight=weights))


def test_classifier_is_that_of_metrics() -> None:
    """Under integer weights a card gives what `metrics` gives on repeated rows, ties among the scores."""
    _, rows = market(600, 2)
    assert rows.oracle is not None
    buyer, p = rows.buyer, np.round(rows.oracle.p_buyer, 2)
    counts = np.random.default_rng(1).poisson(1.0, 600)
    card = ClassifierCard(buyer, p, rows.oracle.p_buyer)(counts.astype(np.float64))
    long_buyer, long_p, long_expected = repeat(counts.tolist(), buyer, p, rows.oracle.p_buyer)
    for name in ("auc", "pr_auc", "log_loss", "ece", "brier"):
        assert card[name] == pytest.approx(getattr(metrics, name)(long_buyer, long_p)), name
    best = metrics.f1_best(long_buyer, long_p)
    found = (card["f1"], card["threshold"], card["precision"], card["recall"])
    assert found == pytest.approx((best.f1, best.threshold, best.precision, best.recall))
    assert card["ece_oracle"] == pytest.approx(metrics.ece(long_expected, long_p))


def test_the_log_card_is_msle() -> None:
    """`msle` and `rmsle` of a log card are those of `metrics`."""
    _, rows = market(100, 3)
    y, log_mean = rows.y[:, 1], np.full(100, 0.3)
    card = LogCard(y, log_mean)(np.ones(100))
    assert card["msle"] == pytest.approx(metrics.msle(y, log_mean))
    assert card["rmsle"] == pytest.approx(metrics.rmsle(y, log_mean))


def test_nobody_pays() -> None:
    """Rows without any revenue, or without any weight, give NaN figures and no warning."""
    card = AmountCard(np.zeros(4), np.ones(4), np.ones(4))
    assert np.isnan(card(np.ones(4))["normalised_gini"])
    assert np.isnan(card(np.zeros(4))["msle"])
    assert np.isnan(ClassifierCard(np.zeros(4), np.full(4, 0.5))(np.zeros(4))["auc"])
