"""Tests of training.evaluation.report and of the Markdown it writes."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.errors import DataError
from tests.training.evaluation.market import HORIZONS
from training.evaluation import metrics
from training.evaluation.report import evaluate, render_markdown, write_report
from training.evaluation.rows import EvaluationRows, Provenance, Scored

Evaluation = dict[str, Any]


def test_figures_are_those_of_metrics(evaluation: Evaluation, rows: EvaluationRows, scored: list[Scored]) -> None:
    """The table's values are the metrics' own, inside their intervals."""
    assert rows.oracle is not None
    for one in scored[:2]:
        d7 = evaluation["amounts"][one.name]["d7"]
        y, y_hat = rows.y[:, 1], one.ltv[:, 1]
        assert d7["normalised_gini"]["value"] == pytest.approx(metrics.normalised_gini(y, y_hat))
        assert d7["bias_realised"]["value"] == pytest.approx(metrics.realised_bias(y, y_hat))
        assert one.p_buyer is not None
        auc = evaluation["classifier"][one.name]["auc"]
        assert auc["value"] == pytest.approx(metrics.auc(rows.buyer, one.p_buyer))
        assert auc["low"] < auc["value"] < auc["high"]


def test_the_oracle_is_the_ceiling(evaluation: Evaluation) -> None:
    """The oracle is scored without being asked for: Gini 1 and bias 1 against itself, a constant Gini 0."""
    assert evaluation["predictors"] == ["pltv", "blurred", "constant", "oracle"]
    d7 = evaluation["amounts"]["oracle"]["d7"]
    assert d7["normalised_gini_oracle"]["value"] == pytest.approx(1.0)
    assert d7["bias_oracle"]["value"] == pytest.approx(1.0)
    assert evaluation["amounts"]["constant"]["d7"]["gini"]["value"] == pytest.approx(0.0, abs=1e-12)
    assert evaluation["amounts"]["constant"]["d7"]["spearman"]["value"] is None
    assert evaluation["amounts"]["constant"]["d7"]["decile_mape"]["value"] is None
    assert "oracle" not in evaluation["log_mean"]
    assert "oracle" not in evaluation["baselines"]


def test_verdicts_tell_the_near_from_the_far(evaluation: Evaluation) -> None:
    """A model near the truth beats the blurred one on order; it does not beat it on everything."""
    order = [v for v in evaluation["verdicts"] if v["metric"] == "normalised_gini_oracle"]
    assert {v["baseline"] for v in order} == {"blurred", "constant"}
    assert all(v["verdict"] == "better" for v in order)


def test_a_scaled_copy_differs_in_amounts_only(rows: EvaluationRows, scored: list[Scored]) -> None:
    """Against itself halved, order is indistinguishable and bias better."""
    half = dataclasses.replace(scored[0], name="half", ltv=scored[0].ltv * 0.5)
    found = evaluate(rows, [scored[0], half], HORIZONS, bootstrap_replicates=40, seed=0)
    word = {(v["metric"], v["where"]): v["verdict"] for v in found["verdicts"]}
    assert word["bias_oracle", "d7"] == "better"
    for same in ("normalised_gini", "normalised_gini_oracle", "spearman", "missed_whales"):
        assert word[same, "d7"] == "indistinguishable"


def test_simulated_states_have_their_bias(evaluation: Evaluation) -> None:
    """A state whose answers are half has half the bias of the other."""
    states = evaluation["simulated_states"]
    assert states["unavailable"]["d7"]["value"] == pytest.approx(states["present"]["d7"]["value"] / 2.0)
    assert set(evaluation["bias_by"]["history_state"]) == {"present", "new"}


def test_the_same_seed_gives_the_same_report(rows: EvaluationRows, scored: list[Scored]) -> None:
    """Two evaluations with one seed are equal, and plain JSON."""
    both = [evaluate(rows, scored, HORIZONS, bootstrap_replicates=20, seed=5) for _ in range(2)]
    assert json.dumps(both[0], allow_nan=False) == json.dumps(both[1], allow_nan=False)


def test_immature_labels_are_left_out(rows: EvaluationRows, scored: list[Scored]) -> None:
    """Rows whose label is NaN at a horizon do not count there, and count elsewhere."""
    y = rows.y.copy()
    y[:1000, 2] = np.nan
    found = evaluate(dataclasses.replace(rows, y=y), scored[:1], HORIZONS, bootstrap_replicates=20, seed=0)
    assert found["mature_rows"] == {"d1": 3000, "d7": 3000, "d14": 2000}
    value = found["amounts"]["pltv"]["d14"]["mae"]["value"]
    assert value == pytest.approx(metrics.mae(y[1000:, 2], scored[0].ltv[1000:, 2]))


def test_without_an_oracle(rows: EvaluationRows, scored: list[Scored], provenance: Provenance) -> None:
    """Real data have no ceiling: nothing is called oracle and bias is against capped revenue."""
    real = dataclasses.replace(rows, oracle=None)
    found = evaluate(real, scored, HORIZONS, bootstrap_replicates=20, seed=0)
    assert found["bias_against"] == "realised, capped"
    text = render_markdown(found, {}, dataclasses.replace(provenance, generated=False))
    assert "oracle" not in json.dumps(found)
    assert "oracle" not in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ltv": np.ones((3000, 2))}, r"pltv: expected ltv of shape \(3000, 3\), got \(3000, 2\)"),
        ({"ltv": np.full((3000, 3), np.nan)}, "pltv: ltv has values that are negative or not finite"),
        ({"log_mean": np.full(3000, -0.1)}, "pltv: log_mean has values that are negative or not finite"),
    ],
)
def test_impossible_answers_are_refused(
    rows: EvaluationRows, scored: list[Scored], change: dict[str, Any], message: str
) -> None:
    """A wrong shape or an impossible number is one clear line that names the predictor."""
    with pytest.raises(DataError, match=message):
        evaluate(rows, [dataclasses.replace(scored[0], **change)], HORIZONS, seed=0)


def test_impossible_questions_are_refused(rows: EvaluationRows, scored: list[Scored]) -> None:
    """An unknown log horizon, no predictor, and a horizon without labels are each one clear line."""
    with pytest.raises(DataError, match="log_horizon: expected one of"):
        evaluate(rows, scored, HORIZONS, seed=0, log_horizon=28)
    with pytest.raises(DataError, match="at least one predictor"):
        evaluate(dataclasses.replace(rows, oracle=None), [], HORIZONS, seed=0)
    y = rows.y.copy()
    y[:, 2] = np.nan
    with pytest.raises(DataError, match="no held-out row has a mature label for day 14"):
        evaluate(dataclasses.replace(rows, y=y), scored, HORIZONS, seed=0)


def test_the_text_says_where_it_is_not_better(evaluation: Evaluation, provenance: Provenance) -> None:
    """Every verdict that is not `better` stands in the report, the worse ones first."""
    text = render_markdown(evaluation, {"Reliability": "plots/reliability.png"}, provenance)
    behind = [v["sentence"] for v in evaluation["verdicts"] if v["verdict"] != "better"]
    assert behind
    assert all(f"- {sentence}\n" in text for sentence in behind)
    assert "![Reliability](plots/reliability.png)" in text
    for title in ("## Verdict", "## Buyers", "## Revenue, d7", "## log_mean, d7", "### By history_state"):
        assert f"\n{title}\n" in text


def test_tables_are_whole(evaluation: Evaluation, provenance: Provenance) -> None:
    """Every line of a table has as many cells as its header."""
    lines = render_markdown(evaluation, {}, provenance).splitlines()
    for first, second in itertools.pairwise(lines):
        if first.startswith("|") and second.startswith("|"):
            assert first.count("|") == second.count("|"), second


def test_the_report_is_written(
    evaluation: Evaluation,
    rows: EvaluationRows,
    scored: list[Scored],
    provenance: Provenance,
    tmp_path: Path,
) -> None:
    """JSON, Markdown and pictures stand in the directory, and each picture is shown in the text."""
    importance = {"classifier": {f"feature_{i}": float(i) for i in range(40)}}
    directory = tmp_path / "report"
    written = write_report(directory, evaluation, rows=rows, scored=scored, context=provenance, importance=importance)
    assert all(path.stat().st_size > 0 for path in written)
    assert json.loads((directory / "report.json").read_text(encoding="utf-8")) == evaluation
    text = (directory / "report.md").read_text(encoding="utf-8")
    pictures = sorted(path.name for path in (directory / "plots").iterdir())
    names = ("bias", "calibration", "gains", "importance_classifier", "lift", "lorenz", "reliability", "residuals")
    assert pictures == [f"{name}.png" for name in names]
    assert all(f"(plots/{name})" in text for name in pictures)
