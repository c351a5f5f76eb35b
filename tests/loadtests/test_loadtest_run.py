"""The whole run: what is put under load, what is written, and the exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loadtests import payloads
from loadtests.loadtest import __main__ as entry
from loadtests.loadtest import mix
from loadtests.loadtest.answers import Outcome
from loadtests.loadtest.plan import LEVELS, Pace
from loadtests.loadtest.target import Target
from loadtests.open_loop import levels
from loadtests.payloads import Corpora
from tests.support.market import Market
from tests.support.redis_process import free_port
from tests.support.service_process import ServiceProcess


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, trained: Market, tmp_path: Path) -> Path:
    """A run of a second or two on a few bodies, which leaves this process on its cores; where it writes."""
    bodies = trained.requests_parsed()[:300]
    monkeypatch.setattr(payloads, "corpora", lambda _: Corpora(bodies, bodies[:50]))
    monkeypatch.setattr(entry, "BODIES", tmp_path / "bodies")
    monkeypatch.setattr(entry, "QUICK", Pace(stretch=0.1, warm_s=0.1, capacity_s=0.1, level_s=0.4))
    monkeypatch.setattr(entry, "pin", lambda *_: None)
    return tmp_path / "out"


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://127.0.0.1:8000", Target("127.0.0.1", 8000)),
        ("http://pltv/", Target("pltv", 80)),
        ("http://[::1]:81", Target("::1", 81)),
    ],
)
def test_a_url_is_read(url: str, target: Target) -> None:
    """Name and port; its own URL reads back."""
    assert Target.of(url) == target == Target.of(target.url)


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "https://pltv", "http://", "http://a:b", "http://a/predict", ""])
def test_a_url_that_is_none_is_refused(url: str, capsys: pytest.CaptureFixture[str], small: Path) -> None:
    """In one line, with exit code 2."""
    assert entry.main(["--host", url, "--out", str(small)]) == 2
    assert capsys.readouterr().err == f"loadtest: host: expected http://NAME[:PORT], received {url!r}\n"


def test_nobody_there_is_one_line(capsys: pytest.CaptureFixture[str], small: Path) -> None:
    """The address is named, exit code 2, no traceback."""
    port = free_port()
    assert entry.main(["--host", f"http://127.0.0.1:{port}", "--out", str(small)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"loadtest: host: expected a service at http://127.0.0.1:{port}")
    assert error.count("\n") == 1


def test_no_bundle_is_one_line(capsys: pytest.CaptureFixture[str], small: Path, tmp_path: Path) -> None:
    """A directory without one is named, exit code 2."""
    assert entry.main(["--bundle", str(tmp_path / "nothing"), "--out", str(small)]) == 2
    error = capsys.readouterr().err
    assert str(tmp_path / "nothing") in error
    assert error.count("\n") == 1


def test_the_open_loop_of_a_real_service_accounts_for_every_request(
    trained: Market, service_process: ServiceProcess, tmp_path: Path
) -> None:
    """All that was due was sent and got an answer; with time enough for each all are good, and the lag is kept."""
    bodies = trained.requests_parsed()[:300]
    mix.write(Corpora(bodies, bodies[:50]), tmp_path)
    target = Target("127.0.0.1", service_process.port)
    with levels.generator(target, mix.path_of(tmp_path, "natural"), tmp_path / "log") as load:
        level = load.open(0.5, 200.0, 3.0)
        other = load.open(0.5, 200.0, 1.0)
    assert level.tally.total == level.tally.count(Outcome.GOOD) == len(level.lag_ms)
    assert abs(level.tally.total - 300) < 100
    assert level.lag_ms[:50] != other.lag_ms[:50]
    assert level.goodput == pytest.approx(level.tally.total / level.seconds)


def most_of_medians(goodputs: list[float]) -> float:
    """Of three closed loops in three rounds, then of each open one, three runs in a row: no single run decides."""
    loads = [goodputs[place:9:3] for place in range(3)] + [goodputs[i : i + 3] for i in range(9, len(goodputs), 3)]
    return max(sorted(runs)[1] for runs in loads)


def test_a_run_writes_what_it_found(service_process: ServiceProcess, small: Path) -> None:
    """Tables, pictures and JSON with the machine; where a bound is missed the exit code is 1, else 0."""
    code = entry.main(["--host", service_process.url, "--quick", "--shape", "open_loop", "--out", str(small)])
    written: dict[str, Any] = json.loads((small / "report.json").read_text())
    assert code == (0 if all(verdict["passed"] for verdict in written["thresholds"]) else 1)
    assert written["machine"]["cores"]
    assert written["machine"]["target"] == service_process.url
    for corpus in ("natural", "full"):
        found = written["open_loop"][corpus]
        assert [level["share"] for level in found["levels"]] == list(LEVELS)
        for level in (*found["search"], *found["levels"]):
            assert level["sent"] == sum(level[outcome] for outcome in Outcome) > 0
            assert level["failed"] == 0, level
        assert found["capacity_per_s"] == pytest.approx(most_of_medians([r["good_per_s"] for r in found["search"]]))
    text = (small / "report.md").read_text()
    assert "![latency and outcome by load](open_loop.png)" in text
    assert "| 150 % |" in text
    assert (small / "open_loop.png").stat().st_size > 10_000
    assert (small / "open_loop.svg").exists()
