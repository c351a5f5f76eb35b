"""Results told: the table, the bound, the exit code, and the locks that the peers are installed by."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from loadtests.benchmarks import thresholds
from loadtests.benchmarks.generator import Load
from loadtests.benchmarks.measurements import Measurements
from loadtests.benchmarks.processes import ROOT
from loadtests.peers import __main__ as bench_peers
from loadtests.peers import environments
from loadtests.peers.answers import Tally
from loadtests.peers.catalogue import NOOP, PEERS, Place
from loadtests.peers.results import Result, against, judge
from loadtests.peers.rows import CASES
from loadtests.peers.table import table

LOCKS = ROOT / "requirements" / "peers"
PIN = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.!+_-]+$")


def _result(name: str, *rates: float, failure: str | None = None) -> Result:
    loads = [Load(rate, refused=0, broken=0, p50_ms=1.5, p95_ms=2.0, p99_ms=4.5) for rate in rates]
    cpu_us = [730.0 for _ in rates]
    return Result(name, f"{name} title", "way", loads, cpu_us, 61.5, 3, Tally(220), failure=failure)


def _all(ours: float, bentoml: float, mlserver: float) -> list[Result]:
    return [
        _result("echo", 30_000.0, 30_000.0),
        _result("noop", 5_000.0, 5_000.0),
        _result("bentoml", bentoml, bentoml),
        _result("mlserver", mlserver, mlserver),
        _result("ours_natural", ours, ours),
        _result("ours_full", ours / 2, ours / 2),
    ]


def _text(results: list[Result]) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(table(results, "own"))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def _verdicts(results: list[Result]) -> list[bool]:
    return [v.passed for v in judge(thresholds.load(bench_peers.BOUNDS), results, "own", Measurements())]


def test_the_bounds_are_five_times_for_both_cases() -> None:
    """The shipped file is valid and holds every case of the rows, for both corpora."""
    bounds = thresholds.load(bench_peers.BOUNDS)
    assert [(bound.scenario, bound.bound, bound.upper) for bound in bounds] == [(case, 5.0, False) for case in CASES]
    assert {bound.corpora for bound in bounds} == {("natural", "full")}


def test_ours_is_held_against_the_better_of_the_two() -> None:
    """5 × MLServer natural holds, 2.5 × full does not; that BentoML is far slower helps nobody."""
    assert _verdicts(_all(ours=5_000.0, bentoml=100.0, mlserver=1_000.0)) == [True, False]
    assert _verdicts(_all(ours=10_000.0, bentoml=1_000.0, mlserver=400.0)) == [True, True]
    assert _verdicts(_all(ours=9_000.0, bentoml=1_000.0, mlserver=400.0)) == [True, False]


def test_one_that_failed_leaves_the_bound_to_the_other_and_both_leave_it_missed() -> None:
    """A bound that nothing could be measured for is no success."""
    results = _all(ours=10_000.0, bentoml=100.0, mlserver=1_000.0)
    results[3] = _result("mlserver", failure="did not start")
    assert _verdicts(results) == [True, True]
    results[2] = _result("bentoml", failure="did not start")
    assert _verdicts(results) == [False, False]


def test_ours_that_failed_misses_the_bound() -> None:
    """Without a number of ours there is no ratio."""
    results = _all(ours=10_000.0, bentoml=100.0, mlserver=1_000.0)
    results[4] = _result("ours_natural", failure="no good answer")
    assert _verdicts(results) == [False, True]


def test_without_those_that_it_speaks_of_no_bound_is_judged_and_it_is_said() -> None:
    """`--only litserve` tells numbers; it neither passes nor fails a bound."""
    measurements = Measurements()
    results = [result for result in _all(1.0, 1.0, 1.0) if result.name != "mlserver"]
    assert judge(thresholds.load(bench_peers.BOUNDS), results, "own", measurements) == []
    assert measurements.notes == ["no bound is judged without bentoml and mlserver"]


def test_ratios_are_of_the_same_round() -> None:
    """What the machine did to one round it did to both: a slow round moves no ratio."""
    assert against(_result("a", 100.0, 50.0, 10.0), _result("b", 50.0, 25.0, 5.0)) == 2.0
    assert against(_result("a", 100.0), None) is None
    assert against(_result("a", 100.0), _result("b", failure="gone")) is None


def test_the_table_has_a_row_for_each_with_its_ratios() -> None:
    """Requests/s, tail, ratios to both references, ours over it, processor, memory, processes, checked answers."""
    (row,) = [line for line in _text(_all(5_000.0, 250.0, 1_000.0)).splitlines() if "mlserver title" in line]
    for cell in ("mlserver title, way", "1,000", "1.5", "4.5", "0.2", "0.0333", "5 … 2.5", "730", "61.5", "3", "220"):
        assert re.search(rf"[│ ]{re.escape(cell)} ", row), (cell, row)


def test_the_table_names_who_failed_and_why() -> None:
    """The reason stands in the row, with signs that the terminal would take for its own."""
    text = _text([*_all(1.0, 1.0, 1.0), _result("litserve", failure="did not start: [E01] no module zmq")])
    assert "litserve title, way: did not start: [E01] no module zmq" in text


def _refuse(_: str) -> Path:
    raise RuntimeError("could not be installed: no matching distribution")


@pytest.mark.parametrize(
    ("python_of", "ours", "code"),
    [(lambda _: Path("python"), 10_000.0, 0), (lambda _: Path("python"), 4_000.0, 1), (_refuse, 10_000.0, 1)],
)
def test_the_exit_code_tells_a_missed_bound_and_a_peer_that_failed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, python_of: Callable[[str], Path], ours: float, code: int
) -> None:
    """0 only where all were measured and the bound holds; the JSON holds every candidate, those that failed too."""
    monkeypatch.setattr(environments, "python_of", python_of)
    monkeypatch.setattr(environments, "versions", lambda *_: {"python": "3"})
    monkeypatch.setattr(bench_peers, "checked_bundle", lambda bundle, _: bundle)
    monkeypatch.setattr(bench_peers, "can_pin", lambda: False)

    def measure(*_: Any) -> list[Result]:
        installed = python_of is not _refuse
        return _all(ours, 100.0, 800.0) if installed else [_result("ours_natural", ours), _result("ours_full", ours)]

    monkeypatch.setattr(bench_peers, "_measure", measure)
    out = tmp_path / "peers.json"
    assert bench_peers.main(["--out", str(out)]) == code
    written = json.loads(out.read_text())
    assert {"machine", "versions", "thresholds", "candidates"} <= set(written)
    failures = [name for name, candidate in written["candidates"].items() if candidate["failure"]]
    assert failures == ([] if python_of is not _refuse else [peer.name for peer in (NOOP, *PEERS)])


def test_every_peer_has_a_lock_of_names_and_versions_only() -> None:
    """What is told the version of is pinned; no line names where a package comes from."""
    assert {path.stem for path in LOCKS.glob("*.txt")} == {peer.environment for peer in PEERS}
    for peer in PEERS:
        comment, *pins = (LOCKS / f"{peer.environment}.txt").read_text(encoding="utf-8").splitlines()
        assert comment.startswith("# ")
        assert [pin for pin in pins if not PIN.match(pin)] == []
        pinned = {pin.partition("==")[0].lower() for pin in pins}
        assert set(peer.packages) <= pinned, peer.name


def test_every_setting_can_be_launched(tmp_path: Path) -> None:
    """Each peer's command names its own Python and port and listens on this machine alone."""
    for peer in (NOOP, *PEERS):
        for setting in peer.settings:
            launch = peer.launch(setting, Place(tmp_path / "python", 4711, tmp_path, tmp_path))
            assert launch.command[0] == str(tmp_path / "python")
            settings = tmp_path / "settings.json"
            told = [*launch.command, *launch.environment.values(), settings.read_text() if settings.exists() else ""]
            assert any("4711" in part for part in told), peer.name
