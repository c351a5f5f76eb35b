"""Tests of training.evaluation.cohorts."""

from __future__ import annotations

import numpy as np
import pytest

from tests.training.evaluation.market import HORIZONS
from training.evaluation.bootstrap import poisson_weights
from training.evaluation.cohorts import OTHER, bias_by, bias_targets, top_levels
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
