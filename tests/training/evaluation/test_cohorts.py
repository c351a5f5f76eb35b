"""Tests of training.evaluation.cohorts."""

from __future__ import annotations

import numpy as np
import pytest

from tests.training.evaluation.market import HORIZONS
from training.evaluation import metrics
from training.evaluation.bootstrap import poisson_weights
from training.evaluation.cohorts import OTHER, bias_by, bias_targets, errors_by, top_levels, worst_rows
from training.evaluation.rows import EvaluationRows, Scored


def test_rare_levels_are_one_group() -> None:
    """The most frequent labels keep their names, in that order; the others share one."""
    codes, names = top_levels(np.array(["b", "a", "a", "c", "a", "b", "d"]), 2)
    assert names == ["a", "b", OTHER]
    assert codes.tolist() == [1, 0, 0, 2, 0, 1, 2]
    assert top_levels(np.array(["x", "x"]), 2)[1] == ["x"]


def test_bias_is_that_of_each_group(rows: EvaluationRows, scored: list[Scored]) -> None:
    """Each group's figure is Σŷ/ΣE[y|x] over its own rows, inside its interval."""
    assert rows.oracle is not None
    labels = rows.cohorts["country"]
    weights = poisson_weights(rows.n, 40, seed=0)
    table = bias_by(labels, scored[1], bias_targets(rows), HORIZONS, weights, 5)
    assert sum(group["rows"] for group in table.values()) == rows.n
    for country, group in table.items():
        mine = labels == country
        slow = scored[1].ltv[mine, 2].sum() / rows.oracle.ltv[mine, 2].sum()
        assert group["d14"]["value"] == pytest.approx(slow)
        assert group["d14"]["low"] <= slow <= group["d14"]["high"]


def test_real_data_has_capped_targets(rows: EvaluationRows) -> None:
    """Without an oracle the target is revenue capped at the payers' 99.9th percentile; immature stays NaN."""
    y = rows.y.copy()
    y[0, 2] = np.nan
    targets = bias_targets(EvaluationRows(y, rows.buyer, rows.ids))
    payers = rows.y[rows.y[:, 1] > 0.0, 1]
    assert targets[:, 1].max() == pytest.approx(np.quantile(payers, 0.999))
    assert np.isnan(targets[0, 2])
    assert np.isfinite(targets[1:, 2]).all()


def test_a_group_without_revenue_has_no_bias() -> None:
    """A group whose target is zero has null figures."""
    rows = EvaluationRows(np.array([[0.0], [2.0]]), np.array([0.0, 1.0]), np.arange(2))
    one = Scored("pltv", None, np.ones((2, 1)), None)
    labels = np.array(["dry", "wet"])
    table = bias_by(labels, one, bias_targets(rows), [1], poisson_weights(2, 20, seed=0), 5)
    assert table["dry"]["d1"] == {"value": None, "low": None, "high": None}
    assert table["wet"]["d1"]["value"] == 0.5


def test_errors_are_those_of_each_group(rows: EvaluationRows, scored: list[Scored]) -> None:
    """MSLE, log-loss and means of a group are `metrics` on its rows; shares of revenue and of error sum to one."""
    one, labels = scored[0], rows.cohorts["country"]
    found = errors_by(labels, rows, one, 1, poisson_weights(rows.n, 30, seed=0), 5)
    assert one.p_buyer is not None
    assert one.log_mean is not None
    for country, group in found.items():
        mine = labels == country
        assert group["rows"] == mine.sum()
        assert group["buyers"] == rows.buyer[mine].sum()
        assert group["msle"]["value"] == pytest.approx(metrics.msle(rows.y[mine, 1], one.log_mean[mine]))
        assert group["log_loss"]["value"] == pytest.approx(metrics.log_loss(rows.buyer[mine], one.p_buyer[mine]))
        assert group["mean_y"]["value"] == pytest.approx(rows.y[mine, 1].mean())
        assert group["mean_y_hat"]["value"] == pytest.approx(one.ltv[mine, 1].mean())
        assert group["msle"]["low"] <= group["msle"]["value"] <= group["msle"]["high"]
    for share in ("revenue_share", "error_share"):
        assert sum(group[share]["value"] for group in found.values()) == pytest.approx(1.0)


def test_the_worst_rows_are_the_worst(rows: EvaluationRows, scored: list[Scored]) -> None:
    """The largest squared log errors in falling order, by the rows' identifiers; an immature row is not among them."""
    one = scored[0]
    assert one.log_mean is not None
    error = metrics.squared_log_errors(rows.y[:, 1], one.log_mean)
    y = rows.y.copy()
    y[int(np.argmax(error)), 1] = np.nan
    found = worst_rows(EvaluationRows(y, rows.buyer, rows.ids, rows.cohorts), one, 1, 5)
    assert [row["row"] for row in found] == [str(i) for i in np.argsort(-error)[1:6]]
    assert found[0]["squared_log_error"] == pytest.approx(np.sort(error)[-2])
    assert found[0]["history_state"] in ("present", "new")
