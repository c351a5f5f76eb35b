"""Tests of training.evaluation.curves."""

from __future__ import annotations

import numpy as np
import pytest

from training.evaluation import curves, ranking
from training.evaluation.bootstrap import poisson_weights
from training.evaluation.metrics import lift_table, reliability_bins
from training.evaluation.rows import EvaluationRows, Scored


def test_reliability_holds_its_bins_and_intervals(rows: EvaluationRows, scored: list[Scored]) -> None:
    """Bins are those of `reliability_bins`; each share lies within its interval, whose width is the binomial one."""
    p = scored[0].p_buyer
    assert p is not None
    found = curves.reliability(rows.buyer, p, poisson_weights(rows.n, 400, seed=0))
    plain = reliability_bins(rows.buyer, p)
    assert [{k: b[k] for k in ("rows", "p", "rate")} for b in found] == plain
    for one in found[3:]:
        assert one["rate_low"] <= one["rate"] <= one["rate_high"]
        half = 1.96 * (one["rate"] * (1.0 - one["rate"]) / one["rows"]) ** 0.5
        assert (one["rate_high"] - one["rate_low"]) / 2.0 == pytest.approx(half, rel=0.25)


def test_lift_holds_the_oracle(rows: EvaluationRows, scored: list[Scored]) -> None:
    """The table is `lift_table`'s; the oracle's mean of the top decile is that of its rows."""
    assert rows.oracle is not None
    y, y_hat, expected = rows.y[:, 1], scored[0].ltv[:, 1], rows.oracle.ltv[:, 1]
    found = curves.lift(y, y_hat, expected, poisson_weights(rows.n, 50, seed=0))
    plain = lift_table(y, y_hat)
    assert [{k: b[k] for k in plain[0]} for b in found] == plain
    top = np.argsort(-y_hat)[:300]
    assert found[0]["expected"] == pytest.approx(expected[top].mean())
    assert found[0]["lift_low"] <= found[0]["lift"] <= found[0]["lift_high"]


def test_ties_leave_bins_out() -> None:
    """Two values make two bins, with their own intervals."""
    y, y_hat = np.array([0.0, 0.0, 1.0, 3.0] * 5), np.array([0.0, 0.0, 1.0, 1.0] * 5)
    found = curves.lift(y, y_hat, None, poisson_weights(20, 20, seed=0))
    assert [b["realised"] for b in found] == [2.0, 0.0]
    assert found[1]["realised_high"] == 0.0


def test_thinned_gains_keep_the_area(rows: EvaluationRows, scored: list[Scored]) -> None:
    """Twice the area under the drawn curve less one is the Gini, to three digits."""
    y, y_hat = rows.y[:, 1], scored[0].ltv[:, 1]
    curve = curves.gains(y, y_hat)
    assert len(curve["rows"]) <= curves.KNOTS + 2
    area = float(np.trapezoid(curve["share"], curve["rows"]))
    assert 2.0 * area - 1.0 == pytest.approx(ranking.gini(y, y_hat), abs=2e-3)
    assert curves.lorenz_curve(y)["share"][-1] == pytest.approx(1.0)
