"""The notebooks, run from the first cell to the last as `marimo export` runs them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.market import ROOT, clean_environment
from training.data.synthetic import generate

NOTEBOOKS = ROOT / "notebooks"


def _executed(name: str, out: Path, *arguments: object) -> str:
    """The text of a notebook with the outputs of all cells; a cell that raises fails the run."""
    command = [sys.executable, "-m", "marimo", "--quiet", "export", "html", NOTEBOOKS / name, "--no-include-code"]
    done = subprocess.run(
        [*map(str, command), "--no-sandbox", "-o", str(out), "--", *map(str, arguments)],
        cwd=ROOT, env=clean_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return out.read_text(encoding="utf-8")


def test_the_exploration_runs_on_any_data_set(tmp_path: Path) -> None:
    """It counts the rows that it was given, and draws; no cell fails."""
    summary = generate(900, tmp_path / "tiny", seed=5, hours=3)
    found = _executed("exploration.py", tmp_path / "found.html", "--data", summary.out)
    assert "900 rows" in found
    assert "3 hours" in found
    assert len(re.findall(r"data:image/png;base64", found)) >= 2


def test_the_tour_ends_with_a_proven_bundle(tmp_path: Path) -> None:
    """It trains, and what it claims of the bundle holds: the same bits alone as among others, and ordered prices."""
    found = _executed("pipeline.py", tmp_path / "found.html", "--rows", 2500)
    assert "2,500 rows" in found
    assert "max_abs_diff" in found
    assert re.search(r"alone as among all:.{0,40}True", found)
    assert re.search(r"one horizon to the next:.{0,40}True", found)


def test_a_cell_that_raises_fails_the_run(tmp_path: Path) -> None:
    """Otherwise the tests above would prove nothing."""
    with pytest.raises(AssertionError, match="some cells failed to execute"):
        _executed("exploration.py", tmp_path / "found.html", "--data", tmp_path / "nowhere")
