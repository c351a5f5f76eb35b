"""Tests of training.evaluation.pictures."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from tests.training.evaluation.market import HORIZONS, constant
from training.evaluation import pictures
from training.evaluation.contributions import Contributions
from training.evaluation.pictures import performance
from training.evaluation.pictures.canvas import bars
from training.evaluation.report import evaluate
from training.evaluation.rows import EvaluationRows, Scored

PNG = b"\x89PNG\r\n\x1a\n"
DRIFT = {"feature": "age", "psi": {"value": 0.3, "low": 0.2, "high": 0.4}, "verdict": "shifted"}


def contributions() -> Contributions:
    """Two features, one of them missing in half of the rows, one constant."""
    X = np.column_stack([np.where(np.arange(50) % 2 == 0, np.nan, np.arange(50.0)), np.ones(50)])
    return Contributions("gate", ("a", "b"), X, np.column_stack([np.sin(np.arange(50.0)), np.ones(50)]), -3.0)


def test_every_picture_is_drawn(
    evaluation: dict[str, Any], rows: EvaluationRows, scored: list[Scored], tmp_path: Path
) -> None:
    """All pictures are PNG files, made by the same bytes each time; drift and SHAP are there where they are known."""
    known = {**evaluation, "drift": {"about": "", "columns": [DRIFT]}}
    drawn = [
        pictures.draw_all(tmp_path / run, known, rows, scored, {"d7": {"a": 1.0}}, [contributions()])
        for run in ("1", "2")
    ]
    assert {"Drift", "SHAP, gate", "Bias by cohort", "Residuals", "Lift", "Lorenz curves"} <= set(drawn[0])
    for title, path in drawn[0].items():
        content = path.read_bytes()
        assert content.startswith(PNG)
        assert content == drawn[1][title].read_bytes(), title


def test_degenerate_predictions_are_drawn(rows: EvaluationRows, tmp_path: Path) -> None:
    """A constant, no revenue at all, no probabilities and no cohort still make pictures without a warning."""
    poor = dataclasses.replace(rows, y=np.zeros_like(rows.y), oracle=None, cohorts={})
    one = dataclasses.replace(constant(rows), p_buyer=None)
    found = evaluate(poor, [one], HORIZONS, bootstrap_replicates=10, seed=0)
    drawn = pictures.draw_all(tmp_path, found, poor, [one], {"empty": {"a": 0.0}})
    assert "Bias by cohort" not in drawn
    for path in drawn.values():
        assert path.read_bytes().startswith(PNG)


def test_one_horizon_is_drawn(rows: EvaluationRows, scored: list[Scored], tmp_path: Path) -> None:
    """Nothing knows three horizons."""
    single = dataclasses.replace(rows, y=rows.y[:, :1], oracle=None)
    one = dataclasses.replace(scored[0], ltv=scored[0].ltv[:, :1])
    found = evaluate(single, [one], [30], bootstrap_replicates=10, seed=0, log_horizon=30)
    performance.cumulative_gains(tmp_path / "gains.png", found)
    assert (tmp_path / "gains.png").read_bytes().startswith(PNG)


def test_bars_are_lengths_not_ends() -> None:
    """An interval becomes two lengths; an undefined end, or one on the wrong side of the value, has none."""
    assert bars([2.0, 2.0, 2.0], [1.5, None, 2.5], [4.0, 3.0, 3.0]).tolist() == [[0.5, 0.0, 0.0], [2.0, 1.0, 1.0]]
