"""Tests of training.evaluation.plots."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from tests.training.evaluation.market import HORIZONS, constant
from training.evaluation import plots
from training.evaluation.rows import EvaluationRows, Scored

PNG = b"\x89PNG\r\n\x1a\n"


def test_every_picture_is_drawn(rows: EvaluationRows, scored: list[Scored], tmp_path: Path) -> None:
    """All pictures are PNG files, made by the same bytes each time."""
    drawn = [plots.draw_all(tmp_path / run, rows, scored, HORIZONS, {"d7": {"a": 1.0}}) for run in ("1", "2")]
    for title, path in drawn[0].items():
        content = path.read_bytes()
        assert content.startswith(PNG)
        assert content == drawn[1][title].read_bytes(), title


def test_degenerate_predictions_are_drawn(rows: EvaluationRows, tmp_path: Path) -> None:
    """A constant, no revenue at all, and no probabilities still make pictures without a warning."""
    poor = dataclasses.replace(rows, y=np.zeros_like(rows.y), oracle=None)
    one = dataclasses.replace(constant(rows), p_buyer=None)
    for path in plots.draw_all(tmp_path, poor, [one], HORIZONS, {"empty": {"a": 0.0}}).values():
        assert path.read_bytes().startswith(PNG)


def test_one_horizon_is_drawn(rows: EvaluationRows, scored: list[Scored], tmp_path: Path) -> None:
    """Nothing knows three horizons."""
    single = dataclasses.replace(rows, y=rows.y[:, :1], oracle=None)
    one = dataclasses.replace(scored[0], ltv=scored[0].ltv[:, :1])
    plots.cumulative_gains(tmp_path / "gains.png", single, [one], [30])
    assert (tmp_path / "gains.png").exists()
