"""Hours of load, or as long as PLTV_SOAK_S says."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.stress.measures import REAL, THRESHOLDS, capacity_of, descriptors, rss_bytes, slope
from tests.support import open_loop
from tests.support.service_process import serving_process

pytestmark = pytest.mark.stress
SOAK_S = float(os.environ.get("PLTV_SOAK_S", "900"))


def test_soak(shop: Path, corpus: Path) -> None:
    """At 70 % of capacity memory and descriptors stay what they are."""
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
