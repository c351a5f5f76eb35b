"""Bounds: what holds, what is missed, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtests.benchmarks.__main__ import SCENARIOS
from loadtests.benchmarks.thresholds import judge, load


def _bounds(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "thresholds.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_bound_of_the_project_reads_and_names_a_scenario() -> None:
    """The file that is shipped is valid, and every scenario is held to something."""
    thresholds = load()
    assert {threshold.scenario for threshold in thresholds} == set(SCENARIOS)


def test_aims_lie_within_their_bounds() -> None:
    """Where we want to be is better than what is held, or the aim says nothing."""
    aimed = [threshold for threshold in load() if threshold.aim is not None]
    assert aimed
    assert all(threshold.holds(threshold.aim) for threshold in aimed)


def test_a_bound_holds_for_every_corpus(tmp_path: Path) -> None:
    """One corpus past the bound is a miss, whatever the other says."""
    thresholds = load(_bounds(tmp_path, '[a.p50_us]\nsays = "x"\nat_most = 200\n'))
    verdicts = judge(thresholds, {"a.p50_us": {"natural": 199.0, "full": 201.0}}, ["a"])
    assert [(v.corpus, v.passed) for v in verdicts] == [("natural", True), ("full", False)]


def test_a_value_on_the_bound_holds(tmp_path: Path) -> None:
    """A bound belongs to what it allows, above or below."""
    text = '[a.high]\nsays = "x"\nat_most = 2\n[a.low]\nsays = "x"\nat_least = 2\n'
    metrics = {name: {"natural": 2.0, "full": 2.0} for name in ("a.high", "a.low")}
    assert all(v.passed for v in judge(load(_bounds(tmp_path, text)), metrics, ["a"]))


@pytest.mark.parametrize("bound", ["at_most", "at_least"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), None])
def test_what_was_not_measured_is_a_miss(tmp_path: Path, bound: str, value: float | None) -> None:
    """A metric of a scenario that ran passes by a finite value, never by its absence."""
    thresholds = load(_bounds(tmp_path, f'[a.rate]\nsays = "x"\n{bound} = 1\ncorpora = ["-"]\n'))
    metrics = {} if value is None else {"a.rate": {"-": value}}
    assert [v.passed for v in judge(thresholds, metrics, ["a"])] == [False]


def test_scenarios_that_did_not_run_are_not_judged(tmp_path: Path) -> None:
    """`--only` leaves the bounds of the others out."""
    thresholds = load(_bounds(tmp_path, '[a.x]\nsays = "x"\nat_most = 1\n[b.x]\nsays = "x"\nat_most = 1\n'))
    assert {v.threshold.metric for v in judge(thresholds, {}, ["b"])} == {"b.x"}


def test_what_a_system_cannot_measure_is_exempt(tmp_path: Path) -> None:
    """An exempt metric passes without a value."""
    thresholds = load(_bounds(tmp_path, '[a.x]\nsays = "x"\nat_most = 1\ncorpora = ["-"]\n'))
    assert [v.passed for v in judge(thresholds, {}, ["a"], exempt=["a.x"])] == [True]


@pytest.mark.parametrize(
    "entry",
    ['says = "x"', 'says = "x"\nat_most = 1\nat_least = 1', "at_most = 1", 'says = "x"\nat_most = 1\nmost = 2'],
)
def test_an_entry_without_one_clear_bound_is_refused(tmp_path: Path, entry: str) -> None:
    """No bound, two bounds, no text or an unknown key: the metric is named."""
    with pytest.raises(ValueError, match=r"a\.x: expected"):
        load(_bounds(tmp_path, f"[a.x]\n{entry}\n"))
