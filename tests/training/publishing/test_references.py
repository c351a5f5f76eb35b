"""References of bids and priors of cohorts: means, shrunk where rare."""

from __future__ import annotations

import numpy as np
import pytest

from app.inference.ensemble import Predictions
from training.config import MultiplierConfig
from training.publishing.references import fit_multiplier, fit_prior


def texts(*values: str | None) -> np.ndarray:
    return np.array(values, dtype=object)


def test_a_reference_is_the_advertisers_mean_shrunk_to_all() -> None:
    """(Σ ltv + k·mean) / (n + k); rows without an advertiser count in the mean of all only."""
    ltv = np.array([1.0, 3.0, 8.0, 4.0])
    spec = fit_multiplier(ltv, texts("a", "a", "b", None), MultiplierConfig(by="x", prior_rows=2.0))
    assert spec.reference == pytest.approx(4.0)
    assert spec.by_advertiser == pytest.approx({"a": (4.0 + 8.0) / 4.0, "b": (8.0 + 8.0) / 3.0})


def test_cohorts_are_shrunk_to_the_next_wider_one() -> None:
    """A cohort's mean leans on its wider cohort's, which leans on all rows; missing fields fall through."""
    value = np.array([1.0, 1.0, 4.0, 6.0])
    predictions = Predictions(value, np.column_stack([value, value + 1]), value, value, np.zeros(4, dtype=bool))
    columns = {"country": texts("US", "us ", "es", None), "os": texts("ios", "android", "ios", "ios")}
    prior = fit_prior(predictions, columns, [("country", "os"), ("country",)], 2.0)
    us = (2.0 + 2.0 * 3.0) / 4.0
    assert prior.lookup("us", "web")[0] == pytest.approx(us)
    assert prior.lookup("us", "ios")[0] == pytest.approx((1.0 + 2.0 * us) / 3.0)
    assert prior.lookup(None, "ios") == pytest.approx((3.0, 3.0, 4.0, 3.0))
    assert all(low <= high for table in prior.tables for _, low, high, _ in table.values())


def test_a_cohort_of_no_weight_answers_as_the_wider_one() -> None:
    """Rows that count for nothing say nothing: not that nobody there ever pays."""
    value, weight = np.array([1.0, 1.0, 4.0, 6.0]), np.array([1.0, 1.0, 0.0, 2.0])
    predictions = Predictions(value, np.column_stack([value, value + 1]), value, value, np.zeros(4, dtype=bool))
    columns = {"country": texts("us", "us", "es", "es"), "os": texts("ios", "android", "ios", "android")}
    prior = fit_prior(predictions, columns, [("country", "os"), ("country",)], 2.0, weight)
    assert prior.lookup("es", "ios") == prior.lookup("es", "web")
    assert prior.lookup("es", "ios")[0] == pytest.approx((2.0 * 6.0 + 2.0 * 3.5) / 4.0)
    without = fit_multiplier(value, texts("a", "a", "b", "a"), MultiplierConfig(by="x", prior_rows=2.0), weight)
    assert without.by_advertiser["b"] == pytest.approx(without.reference)
