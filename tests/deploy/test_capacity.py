"""Tests of scripts/capacity.py and of the page that it writes."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from capacity import benched, changed, main, page, read_inputs
from load_model import KINDS, Capacity, Input, gbit_s
from routing import Near, Sessions, hit_rate, simulate
from sizes import measure, near_entry_bytes

from app.serving.near import MARKER_SHARE, NearTier
from app.settings import Settings
from tests.deploy.files import ROOT
from tests.serving.observed import history

DOCS = ROOT / "docs"
INPUTS = read_inputs(DOCS / "capacity.json")


def capacity(**values: float) -> Capacity:
    """The page's own inputs, but for what is given."""
    return Capacity(changed(INPUTS, values, ""))


def test_the_page_is_what_the_script_writes(tmp_path: Path) -> None:
    """From the inputs in the repository; so nobody edited it, and nobody forgot to write it."""
    shutil.copy(DOCS / "capacity.json", tmp_path)
    main(["--docs", str(tmp_path)])
    assert (tmp_path / "capacity.md").read_text(encoding="utf-8") == (DOCS / "capacity.md").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "capacity.json").read_text()) == json.loads((DOCS / "capacity.json").read_text())


def test_chosen_settings_are_the_services_defaults() -> None:
    """What the page says of the default cache is of the default cache."""
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    assert INPUTS["near_bytes"].value == defaults["near_bytes"]
    assert INPUTS["near_ttl_s"].value == defaults["near_ttl_s"]


def test_arithmetic() -> None:
    """By hand."""
    c = capacity(cost_us=250, utilisation=0.5, redis_user_bytes=1500, redis_fill=0.75, core_hour_usd=0.036)
    assert c.worker_rate() == 2000
    assert [c.workers(rate) for rate in (1, 2000, 2001, 100_000)] == [1, 1, 2, 50]
    assert c.redis_gb(1e6) == pytest.approx(2.0)
    assert c.core_dollars() == pytest.approx(1e9 * 250e-6 / 0.5 / 3600 * 0.036)
    assert capacity(memory_gb_hour_usd=0.02, redis_user_bytes=1000, redis_fill=1).redis_dollars(
        1e6, 1e9 / 3600
    ) == pytest.approx(0.02)
    assert capacity(network_gb_usd=0.01).network_dollars(1000) == pytest.approx(10)
    assert gbit_s(1e6, 125) == pytest.approx(1)


def test_assumptions_are_named_until_they_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """An input without a measurement stands as assumed in its sections and in the table; a measured one does not."""
    monkeypatch.setattr(Capacity, "near_hits", lambda *_: 0.5)
    assumed = {**INPUTS, "cost_us": Input(100.0)}
    text = page(assumed)
    assert "**Assumed, not measured: `cost_us`" in text
    measured = {name: Input(given.value, "a stopwatch") for name, given in assumed.items()}
    assert "ssumed" not in page(measured).replace("**Assumed**", "Assumed")
    row = next(line for line in page(measured).splitlines() if line.startswith("| `cost_us`"))
    assert row.endswith("| 100 µs | a stopwatch |")


def test_a_run_of_the_benchmarks_becomes_inputs(tmp_path: Path) -> None:
    """One worker's rate on the natural mix, the larger memory, and the machine; nothing else of the page moves."""
    metrics = {
        "http.ours_requests_per_s": {"natural": 5000.0, "full": 2500.0},
        "cost.rss_mb": {"natural": 90.0, "full": 98.04},
    }
    run = {"at": "2026-01-02T03:04:05+00:00", "quick": False, "machine": {"cpu": "a fast one"}, "metrics": metrics}
    (tmp_path / "bench.json").write_text(json.dumps(run))
    shutil.copy(DOCS / "capacity.json", tmp_path)
    main(["--docs", str(tmp_path), "--bench", str(tmp_path / "bench.json")])
    found = read_inputs(tmp_path / "capacity.json")
    by = "measured by `make bench` of 2026-01-02 on a core of a fast one"
    assert (found["cost_us"], found["worker_rss_mb"]) == (Input(200.0, by), Input(98.0, by))
    assert {name: one for name, one in found.items() if one.by != by} == {
        name: one for name, one in INPUTS.items() if name not in ("cost_us", "worker_rss_mb")
    }
    assert f"| 200 µs | {by} |" in (tmp_path / "capacity.md").read_text(encoding="utf-8")
    for broken in ("{}", "[]", "no JSON", json.dumps({**run, "metrics": {}})):
        (tmp_path / "bench.json").write_text(broken)
        with pytest.raises(SystemExit, match="expected results of make bench with http and cost"):
            benched(tmp_path / "bench.json")


def test_what_we_can_measure_is_not_assumed() -> None:
    """Only what a bid log would tell is left to whoever has one."""
    assert {name for name, one in INPUTS.items() if one.assumed(KINDS[name])} == {"session_requests", "session_gap_s"}


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    """An input that does not exist, a file that lacks one."""
    with pytest.raises(SystemExit, match="no such input: cost"):
        changed(INPUTS, {"cost": 1.0}, "")
    (tmp_path / "capacity.json").write_text(json.dumps({"cost_us": {"value": 1, "by": ""}}))
    with pytest.raises(SystemExit, match="exactly these inputs"):
        read_inputs(tmp_path / "capacity.json")
    assert set(INPUTS) == set(KINDS)


def calls(seed: int, n: int, users: int) -> Iterator[tuple[float, int]]:
    """Times in order, some users far more frequent than others."""
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.exponential(0.01, n))
    return zip(times.tolist(), (rng.zipf(1.3, n) % users).tolist(), strict=True)


class Clock:
    """The time of the call that is being made."""

    now = 0.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


def real_hits(trace: list[tuple[float, int]], max_bytes: int) -> list[bool]:
    """What the service's own near tier does with the trace, a miss answered by Redis."""
    clock, known = Clock(), history(1)
    tier = NearTier(max_bytes=max_bytes, ttl_s=5, marker_ttl_s=5, clock=clock)
    hits = []
    for clock.now, user in trace:
        hits.append(tier.get(user.to_bytes(32)) is not None)
        if not hits[-1]:
            tier.put(user.to_bytes(32), known)
    return hits


@pytest.mark.parametrize(("max_bytes", "tolerance"), [(10_000_000, 0.0), (200_000, 0.02)])
def test_the_simulated_cache_hits_as_the_real_one(max_bytes: int, tolerance: float) -> None:
    """With room for all, call for call; where memory is short, as often (they break ties of eviction differently)."""
    packed, parsed = near_entry_bytes([history(1).packed] * 50)
    near = Near(max_bytes * (1 - 1 / MARKER_SHARE), 5, packed, parsed)
    trace = list(calls(0, 20_000, 3000))
    simulated, real = simulate(trace, near, near.max_bytes), real_hits(trace, max_bytes)
    if tolerance:
        assert np.mean(simulated) == pytest.approx(np.mean(real), abs=tolerance)
    else:
        assert simulated == real


def test_routing_by_user_is_worth_what_theory_says() -> None:
    """With memory for all and endless trust only a session's first call misses; at random, hits fall with workers."""
    near, sessions = Near(1e12, 1e9, 1000, 1000), Sessions(8, 20)
    near = dataclasses.replace(near, ttl_s=400)
    alone = hit_rate(50, 1, False, sessions, near)
    assert alone == pytest.approx(1 - 1 / 8, abs=0.02)
    assert hit_rate(50, 10, True, sessions, near) == pytest.approx(alone, abs=0.01)
    spread = [hit_rate(50, workers, False, sessions, near) for workers in (2, 5, 20)]
    assert alone > spread[0] > spread[1] > spread[2]


def test_sizes_are_those_of_the_service() -> None:
    """Of the worked example: packed as the cache packs, near as the near tier counts, Redis at least what it holds."""
    line = json.dumps(json.loads((DOCS / "examples" / "predict.json").read_text(encoding="utf-8")))
    sizes = measure([line] * 3, users=5000)
    assert 0 < sizes["packed_bytes"] < sizes["near_packed_bytes"] <= sizes["near_parsed_bytes"]
    assert sizes["packed_bytes"] + 50 < sizes["redis_user_bytes"] < 2 * sizes["packed_bytes"] + 200
    assert sizes["history_json_bytes"] + sizes["bare_request_bytes"] == pytest.approx(len(line), rel=0.2)
