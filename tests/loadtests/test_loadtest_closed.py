"""Locust's side: metrics, bounds and exit codes, and a short run of the real one."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from loadtests.benchmarks.thresholds import judge, load
from loadtests.loadtest import closed, mix
from loadtests.loadtest.answers import Outcome
from loadtests.loadtest.closed import BOUNDS, TASKS, Kept
from loadtests.loadtest.target import Target
from loadtests.payloads import Corpora
from tests.support.market import Market
from tests.support.service_process import ServiceProcess, samples

SEEN = json.dumps({"history": {"state": "present", "source": "near"}}).encode()


def _kept(good: int = 100, shed: int = 0, failed: int = 0) -> Kept:
    """What users of every kind saw, the same for each."""
    kept = Kept()
    kept.begin(0.0)
    for kind in mix.KINDS:
        for n in range(good):
            kept.add(kind, Outcome.GOOD, float(n), "", closed.seen(kind, Outcome.GOOD, SEEN))
        for _ in range(shed):
            kept.add(kind, Outcome.SHED, 1.0, "", False)
        for _ in range(failed):
            kept.add(kind, Outcome.FAILED, 1.0, "status 500", False)
    kept.seconds = 4.0
    return kept


def _passed(kept: Kept, curve: str = "steady") -> bool:
    return all(verdict.passed for verdict in judge(load(BOUNDS), closed.metrics(curve, kept), [curve]))


def test_every_share_is_of_all_calls() -> None:
    """Refusals are no throughput; the percentile is of the good /predict, without batches."""
    found = closed.metrics("steady", _kept(good=90, shed=9, failed=1))
    assert found["steady.shed_share"] == {"-": pytest.approx(0.09)}
    assert found["steady.failed_share"] == {"-": pytest.approx(0.01)}
    assert found["steady.good_per_s"] == {"-": pytest.approx(90.0)}
    assert found["steady.p99_ms"] == {"-": 89.0}
    assert found["steady.found_share"] == {"-": 1.0}


def test_bounds_decide() -> None:
    """Fast and whole passes; one failure, too many refusals, or nothing at all do not."""
    assert _passed(_kept(good=20))
    assert not _passed(_kept(good=20, failed=1))
    assert not _passed(_kept(good=20, shed=5))
    assert not _passed(_kept(good=100))  # up to 99 ms
    assert not _passed(_kept(good=0))
    assert _passed(_kept(good=20, shed=5), "ramp")


def test_a_spike_is_judged_by_what_comes_after_it() -> None:
    """Refusals before the last third are what a spike is about; those after it are not."""
    kept = _kept(good=20, shed=40)
    assert not _passed(kept, "spike")
    early = Kept()
    early.begin(1e6)
    early.add("natural", Outcome.SHED, 1.0, "", False)
    assert early.last.total == 0


def test_only_a_stored_history_that_was_used_counts_as_found() -> None:
    """Not an unknown one, not an inline one, not another kind of call."""
    unknown = json.dumps({"history": {"state": "unavailable", "source": "none"}}).encode()
    assert closed.seen("known", Outcome.GOOD, SEEN)
    assert not closed.seen("known", Outcome.GOOD, unknown)
    assert not closed.seen("natural", Outcome.GOOD, SEEN)
    assert not closed.seen("known", Outcome.SHED, b"")


def test_every_kind_is_asked() -> None:
    """Each file of bodies has its task, in hundredths."""
    assert set(TASKS) == set(mix.KINDS)
    assert sum(TASKS.values()) == 100


def test_the_mix_is_read_as_it_was_written(trained: Market, tmp_path: Path) -> None:
    """Ids in order, batches of twenty, known users without a history and each stored under its identity."""
    bodies = trained.requests_parsed()[:200]
    mix.write(Corpora(bodies, bodies[:30]), tmp_path)
    calls = {kind: mix.read_calls(mix.path_of(tmp_path, kind)) for kind in mix.KINDS}
    assert [call.ids for call in calls["natural"]] == [(body["id"],) for body in bodies]
    assert [len(call.ids) for call in calls["batch"]] == [20] * 10
    assert sum((call.ids for call in calls["batch"]), ()) == tuple(body["id"] for body in bodies)
    known = [json.loads(call.body) for call in calls["known"]]
    users = [json.loads(line) for line in mix.path_of(tmp_path, "users").read_bytes().splitlines()]
    assert [body["device"]["ifa"] for body in known] == [user["ifa"] for user in users]
    assert not any("user" in body for body in known)
    assert {call.path for call in calls["batch"]} == {"/predict/batch"}


def test_an_empty_file_of_bodies_is_refused(tmp_path: Path) -> None:
    """By its name."""
    (tmp_path / "natural.jsonl").write_text("")
    with pytest.raises(ValueError, match=r"natural\.jsonl: expected a body a line"):
        mix.read_calls(tmp_path / "natural.jsonl")


def test_locust_without_a_verdict_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A locust that could not run is neither a pass nor a miss, and its log is told."""
    monkeypatch.setattr(closed, "sys", SimpleNamespace(executable="/bin/false"))
    with pytest.raises(RuntimeError, match="locust ended with 1"):
        closed.run("steady", Target("127.0.0.1", 1), 100.0, 0.1, tmp_path, tmp_path)


def test_locust_runs(trained: Market, service_process: ServiceProcess, tmp_path: Path) -> None:
    """Every kind is asked and answered well, histories are stored, found and erased, the reports are written, and the
    exit code is what the bounds say."""
    if importlib.util.find_spec("locust") is None:
        pytest.skip("locust is not installed: scripts/setup.sh load")
    bodies = trained.requests_parsed()[:400]
    mix.write(Corpora(bodies, bodies[:50]), tmp_path)
    target = Target("127.0.0.1", service_process.port)
    found = closed.run("steady", target, 200.0, 5.0 / 30.0, tmp_path, tmp_path)
    told = {kind: found["kinds"][kind] for kind in ("natural", "full", "known")}
    assert all(tally["sent"] == tally["good"] > 0 for tally in told.values()), found
    assert found["metrics"]["steady.failed_share"] == {"-": 0.0}
    assert found["metrics"]["steady.found_share"] == {"-": 1.0}
    verdicts = judge(load(BOUNDS), found["metrics"], ["steady"])
    assert found["exit_code"] == (0 if all(verdict.passed for verdict in verdicts) else 1)
    rows = (tmp_path / "steady_stats.csv").read_text()
    assert "/predict (natural)" in rows
    assert "/predict (known)" in rows
    assert "<html" in (tmp_path / "steady.html").read_text()[:500]
    deleted = samples(service_process.metrics(), "pltv_requests_total")
    assert deleted['{route="/features/delete",status="200"}'] >= 1.0
