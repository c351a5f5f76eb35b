"""Load, time and swaps, with a real process; every figure is printed and held to its threshold."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from tests.api.served import bid, shop_bundle, with_history
from tests.stress.measures import THRESHOLDS, descriptors, rss_bytes, slope
from tests.support import open_loop
from tests.support.market import second_bundle
from tests.support.service_process import ServiceProcess, samples, serving_process

pytestmark = pytest.mark.stress
SOAK_S = float(os.environ.get("PLTV_SOAK_S", "900"))
SECONDS = 10.0
REAL: dict[str, Any] = {"PLTV_DEADLINE_MS": "8", "PLTV_REDIS_TIMEOUT_MS": "5"}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small real bundle."""
    return shop_bundle(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Requests of many users, without a deadline of their own."""
    path = tmp_path_factory.mktemp("bodies") / "bodies.jsonl"
    ext = {key: value for key, value in bid()["ext"].items() if key != "deadline_ms"}
    lines = [json.dumps(bid(id=f"r{n}", ext=ext, user=with_history(id=f"u{n}"))) for n in range(2000)]
    path.write_text("\n".join(lines))
    return path


def capacity_of(service: ServiceProcess, corpus: Path) -> float:
    """Most good answers a second, found by raising the load until it is no longer met: a closed loop waits, and so
    finds less."""
    rate, best = open_loop.offer(service.port, corpus, 0.0, 3.0, 8).goodput, 0.0
    while True:
        found = open_loop.offer(service.port, corpus, rate, SECONDS / 2).goodput
        best = max(best, found)
        if found < 0.9 * rate:
            return best
        rate *= 1.2


def overloaded(service: ServiceProcess, corpus: Path, capacity: float) -> tuple[open_loop.Load, float]:
    """One and a half times the capacity, and the capacity: where more is answered than that, it was more.

    Health and metrics are asked for all the while.
    """
    while True:
        process = open_loop.start(service.port, corpus, 1.5 * capacity, SECONDS)
        end = time.monotonic() + 0.8 * SECONDS  # well before what it writes at its end could fill the pipe
        while time.monotonic() < end:
            for path in ("/health/live", "/health/ready", "/metrics"):
                assert service.client.get(path).status_code == 200
            time.sleep(0.2)
        load = open_loop.finish(process)
        if load.goodput <= 1.05 * capacity:
            return load, capacity
        capacity = load.goodput


def test_overload(shop: Path, corpus: Path) -> None:
    """At one and a half times the load most of the capacity is still good answers, and a refusal comes at once."""
    with serving_process(shop, **REAL) as service:
        load, capacity = overloaded(service, corpus, capacity_of(service, corpus))
        refused = open_loop.percentile(load.refused, 0.99)
        share = load.goodput / capacity
        print(f"\ncapacity {capacity:.0f}/s, goodput {share:.2f} of it, 503 p99 {refused:.2f} ms, {load.broken} broken")
        assert load.other == []
        assert load.broken == 0
        assert share >= THRESHOLDS["overload"]["goodput_share"]
        assert refused <= THRESHOLDS["overload"]["refused_p99_ms"]


def test_swaps(shop: Path, corpus: Path, tmp_path: Path) -> None:
    """Twenty under load: no call fails, all are told, and the memory of what went is given back."""
    first = Path(shutil.copytree(shop, tmp_path / "shop-1"))
    second_bundle(first, tmp_path / "shop-2")
    (tmp_path / "current").symlink_to("shop-1")
    with serving_process(tmp_path / "current", PLTV_BUNDLE_POLL_S="0.1") as service:
        load = open_loop.start(service.port, corpus, 500.0, 40.0, 64)
        held = []
        for n in range(20):
            name = f"shop-{2 - n % 2}"
            (tmp_path / "aside").symlink_to(name)
            (tmp_path / "aside").replace(tmp_path / "current")
            while service.predict(bid())["bundle"] != name:
                time.sleep(0.05)
            held.append(rss_bytes(service.process.pid))
        found = open_loop.finish(load)
        growth = held[-1] - held[1]
        print(f"\n20 swaps: {len(found.good)} good answers, RSS {growth / 1e6:+.1f} MB after the first two")
        assert samples(service.metrics(), "pltv_bundle_reloads_total")['{outcome="swapped"}'] == 21.0
        assert (found.degraded, found.refused, found.other, found.broken) == ([], [], [], 0)
        assert growth <= THRESHOLDS["swaps"]["rss_bytes"]


def test_soak(shop: Path, corpus: Path) -> None:
    """At 70 % of capacity memory and descriptors stay what they are; PLTV_SOAK_S sets how long."""
    with serving_process(shop, **REAL) as service:
        capacity = capacity_of(service, corpus)
        pid, begin = service.process.pid, time.monotonic()
        load = open_loop.start(service.port, corpus, 0.7 * capacity, SOAK_S, 64)
        at: list[float] = []
        rss: list[float] = []
        files: list[int] = []
        while load.poll() is None and time.monotonic() - begin < SOAK_S:
            time.sleep(min(1.0, SOAK_S / 60))
            at, rss, files = [*at, time.monotonic() - begin], [*rss, rss_bytes(pid)], [*files, descriptors(pid)]
        found = open_loop.finish(load)
        settled = len(at) // 5
        growth = 60.0 * slope(at[settled:], rss[settled:])
        print(f"\n{SOAK_S:.0f} s at {0.7 * capacity:.0f}/s: RSS {growth / 1e3:+.0f} kB/min, descriptors "
              f"{files[settled]}→{files[-1]}, good {len(found.good)}, refused {len(found.refused)}")  # fmt: skip
        assert (found.other, found.broken) == ([], 0)
        assert growth <= THRESHOLDS["soak"]["rss_bytes_a_minute"]
        assert files[-1] - files[settled] <= THRESHOLDS["soak"]["descriptors"]
