"""More load than can be met, and deadlines that leave no time; every figure is printed and held to its threshold."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.stress.measures import APART, CORE, REAL, SECONDS, THRESHOLDS, capacity_of
from tests.support import open_loop
from tests.support.service_process import ServiceProcess, samples, serving_process

pytestmark = pytest.mark.stress
ALLOWED_MS = 2


def overloaded(service: ServiceProcess, corpus: Path, capacity: float) -> tuple[open_loop.Load, float, float]:
    """One and a half times the capacity, the capacity (where more is answered than that, it was more), and the longest
    that health or metrics took: they are asked for all the while, and answer."""
    while True:
        process = open_loop.start(service.port, corpus, 1.5 * capacity, SECONDS, core=CORE)
        end = time.monotonic() + 0.8 * SECONDS  # well before what it writes at its end could fill the pipe
        longest = 0.0
        while time.monotonic() < end:
            for path in ("/health/live", "/health/ready", "/metrics"):
                begin = time.perf_counter()
                assert service.client.get(path).status_code == 200
                longest = max(longest, time.perf_counter() - begin)
            time.sleep(0.2)
        load = open_loop.finish(process)
        if load.goodput <= 1.05 * capacity:
            return load, capacity, longest
        capacity = load.goodput


def lag(load: open_loop.Load) -> float:
    """How late the load itself was, p99 in milliseconds: latencies hold it."""
    return open_loop.percentile(load.lag, 0.99)


def test_overload(shop: Path, corpus: Path) -> None:
    """At one and a half times the load most of the capacity is still good answers, and a refusal comes at once."""
    with serving_process(shop, within=APART, **REAL) as service:
        load, capacity, longest = overloaded(service, corpus, capacity_of(service, corpus))
        refused = open_loop.percentile(load.refused, 0.99)
        share = load.goodput / capacity
        print(
            f"\ncapacity {capacity:.0f}/s, goodput {share:.2f} of it, 503 p99 {refused:.2f} ms, {load.broken} broken, "
        )
        print(f"slowest probe {1000 * longest:.0f} ms, load late by {lag(load):.2f} ms")
        assert load.other == []
        assert load.broken == 0
        assert share >= THRESHOLDS["overload"]["goodput_share"]
        assert refused <= THRESHOLDS["overload"]["refused_p99_ms"]
        assert longest <= THRESHOLDS["overload"]["probe_s"]


def test_deadline(shop: Path, corpus: Path, tmp_path: Path) -> None:
    """Where callers allow two milliseconds every call is answered soon after them, in time or from the prior."""
    bodies = [json.loads(line) for line in corpus.read_text().splitlines()]
    for body in bodies:
        body["ext"]["deadline_ms"] = ALLOWED_MS
    (tmp_path / "bodies.jsonl").write_text("\n".join(map(json.dumps, bodies)))
    with serving_process(shop, within=APART, **REAL) as service:
        rate = 0.5 * capacity_of(service, corpus)
        before = _late(service)
        load = open_loop.offer(service.port, tmp_path / "bodies.jsonl", rate, SECONDS, core=CORE)
        answered = sorted(load.good + load.degraded)
        p99, prior = open_loop.percentile(answered, 0.99), len(load.degraded) / len(answered)
        print(f"\n{rate:.0f}/s with {ALLOWED_MS} ms each: p99 {p99:.2f} ms, {prior:.2%} from the prior, ")
        print(f"{load.broken} broken, load late by {lag(load):.2f} ms")
        assert (load.other, load.broken) == ([], 0)
        assert _late(service) - before == len(load.degraded)
        assert p99 - ALLOWED_MS <= THRESHOLDS["deadline"]["p99_over_ms"]


def _late(service: ServiceProcess) -> float:
    """Answers from the prior, as the service counts them."""
    return samples(service.metrics(), "pltv_degraded_total").get('{reason="deadline"}', 0.0)
