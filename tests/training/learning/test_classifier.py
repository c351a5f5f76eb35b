"""The classifier: a resampled one still speaks of the prior of the data."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
import pytest

from training.learning.boosting import Mask, Matrix, Runtime, out_of_fold, raw_scores
from training.learning.classifier import fit_classifier, fit_gate
from training.learning.labels import Labels
from training.learning.options import ClassifierConfig
from training.learning.probability import fit_isotonic

TREES = {"rounds": 40, "leaves": 6, "learning_rate": 0.15, "min_leaf": 30}
N = 12_000


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray, Labels]:
    """X, P(buy) and labels; revenue rises with x1, which has no part in who buys."""
    rng = np.random.default_rng(6)
    X = rng.normal(size=(N, 3))
    p = 1 / (1 + np.exp(3.0 - X[:, 0]))
    buyer = (rng.random(N) < p).astype(float)
    y = np.where(buyer == 1, np.exp(1.0 + X[:, 1] + 0.5 * rng.normal(size=N)), 0.0)
    return X, p, Labels(buyer, y[:, None])


def sigmoid(raw: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-raw)))


@pytest.mark.parametrize("changed", [{}, {"negatives_kept": 0.3}, {"positive_weight": 8.0}])
def test_the_prior_is_given_back(rows: tuple[np.ndarray, np.ndarray, Labels], changed: dict[str, float]) -> None:
    """With fewer negatives or heavier buyers the probability sums to the truth, in both halves of x0."""
    X, p, labels = rows
    config = ClassifierConfig(**TREES, **changed)
    booster = fit_classifier(Matrix(X, Runtime(1, 1)), labels.buyer, np.ones(N, dtype=bool), config)
    predicted = sigmoid(raw_scores(booster, X, 1))
    for half in (X[:, 0] > 0, X[:, 0] <= 0):
        assert predicted[half].mean() / p[half].mean() == pytest.approx(1.0, abs=0.12)
    assert np.corrcoef(predicted, p)[0, 1] > 0.93


def test_immature_labels_are_neither_class(rows: tuple[np.ndarray, np.ndarray, Labels]) -> None:
    """NaN rows do not count, resampled or not."""
    X, _, labels = rows
    config = ClassifierConfig(**TREES, negatives_kept=0.5)
    seen = np.arange(N) < 4000
    blind = np.where(seen, labels.buyer, np.nan)
    fits = [
        fit_classifier(Matrix(X, Runtime(1, 1)), label, mask, config)
        for label, mask in ((blind, np.ones(N, dtype=bool)), (labels.buyer, seen))
    ]
    np.testing.assert_array_equal(raw_scores(fits[0], X, 1), raw_scores(fits[1], X, 1))


@pytest.mark.parametrize("method", ["histos", "histus"])
def test_resampling_by_revenue_comes_with_its_calibration(
    rows: tuple[np.ndarray, np.ndarray, Labels], method: str
) -> None:
    """The raw score is far off the truth in sum, the recalibrated one is not, and out-of-fold scores are honest."""
    X, p, labels = rows
    fold = np.arange(N) % 3
    config = ClassifierConfig.model_validate({**TREES, "resampling": {"method": method}})
    matrix = Matrix(X, Runtime(1, 1))

    def fit(seen: Mask) -> list[lgb.Booster]:
        return [fit_gate(matrix, labels, 0, seen, config)]

    scores = sigmoid(out_of_fold(fit, matrix, fold)[:, 0])
    curve = fit_isotonic(scores, labels.buyer)
    raw = sigmoid(raw_scores(fit(np.ones(N, dtype=bool))[0], X, 1))
    assert abs(raw.sum() / p.sum() - 1.0) > 0.25
    assert np.interp(raw, curve.x, curve.y).sum() / p.sum() == pytest.approx(1.0, abs=0.1)
    assert np.interp(scores, curve.x, curve.y).sum() / labels.buyer.sum() == pytest.approx(1.0, abs=0.01)
