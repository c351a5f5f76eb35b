"""Tests of training.benchmarks.growth: what the peak grows by, and what a mistake says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from training.benchmarks.growth import main, slopes, table


def run(rows: int, *peaks: float) -> list[dict[str, Any]]:
    """Stages of one data set."""
    names = ("start", "read", "features")
    return [
        {"name": name, "rows": 0 if name == "start" else rows, "cpu_s": 2.0, "clock_s": 3.0, "peak_mb": peak}
        for name, peak in zip(names, peaks, strict=True)
    ]


FOUND = {"a/small": run(1_000_000, 200.0, 300.0, 400.0), "a/large": run(3_000_000, 200.0, 500.0, 1000.0)}


def test_the_slope_is_bytes_a_row() -> None:
    """200 MB more for two million rows more are 100 bytes each; of one data set there is none."""
    assert slopes(FOUND) == pytest.approx({"read": 100.0, "features": 300.0})
    assert slopes({"a/small": FOUND["a/small"]}) == {}


def test_the_table_names_every_stage() -> None:
    """Its microseconds a row, but where it went through none, and the slopes below."""
    lines = table(FOUND).splitlines()
    assert lines[2].split() == ["small", "read", "1,000,000", "2.0", "2.0", "3.0", "300"]
    assert lines[1].split() == ["small", "start", "0", "2.0", "3.0", "200"]
    assert lines[-1] == "features: peak grows by 300 bytes a training row"


def test_a_mistake_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A configuration that is not there."""
    assert main(["--here", "--config", str(tmp_path / "no.yaml"), "--data", str(tmp_path)]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith(f"error: {tmp_path / 'no.yaml'}: can not be read")


def test_a_place_for_figures_is_looked_at_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before any data set is measured, of which there is none here."""
    (tmp_path / "file").write_text("")
    args = ["--config", str(tmp_path / "no.yaml"), "--data", str(tmp_path), "--out"]
    for place, expected in ((tmp_path, "expected a file"), (tmp_path / "file" / "out.json", "expected a folder")):
        assert main([*args, str(place)]) == 2
        assert expected in capsys.readouterr().err
