"""Twenty swaps of two workers under load, with bundles among them that must be refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.e2e.test_rollback import golden, truncated
from tests.e2e.test_workers import until
from tests.stress.measures import THRESHOLDS, rss_bytes
from tests.support import open_loop
from tests.support.callers import ADMIN_DIGEST, Callers, of_no_live_bundle, reload, swap
from tests.support.market import second_bundle
from tests.support.service_process import samples, serving_process, worker_pids

pytestmark = pytest.mark.stress
SWAPS = 20


def test_swaps(shop: Path, corpus: Path, tmp_path: Path) -> None:
    """No call fails, each answer names a bundle that was live, both workers move, and memory is given back."""
    first = Path(shutil.copytree(shop, tmp_path / "shop-1"))
    for name in ("shop-2", "bad-1", "bad-2"):
        second_bundle(first, tmp_path / name)
    golden(tmp_path / "bad-1")
    truncated(tmp_path / "bad-2")
    settings = {"PLTV_ADMIN_TOKEN": ADMIN_DIGEST, "PLTV_BUNDLE_POLL_S": "3600", "PLTV_NEAR_BYTES": "1000000"}
    with serving_process(first, workers=2, **settings) as service:
        until(lambda: len(worker_pids(service.metrics())) == 2, "both workers serve")
        workers = worker_pids(service.metrics())
        load = open_loop.start(service.port, corpus, 400.0, 45.0, 64)
        swaps, held, refused = [], [], 0
        with Callers(service, corpus.read_bytes().splitlines()) as callers:
            for n in range(SWAPS):
                swaps.append(swap(service, f"shop-{2 - n % 2}", workers=2))
                callers.more(200)
                if n % 5 == 4:
                    refused += reload(service, f"bad-{1 + n % 2}").status_code == 409
                held.append(sum(map(rss_bytes, workers)))
        found = open_loop.finish(load)
        longest = max(one.end - one.begin for one in swaps)
        wrong = of_no_live_bundle(callers.told, "shop-1", swaps)
        growth = held[-1] - held[1]
        answers, failed = len(found.good) + len(callers.told), len(callers.dropped) + found.broken
        print(f"\n{SWAPS} swaps of 2 workers, {refused} refused between: {answers} answers, {failed} failed,")
        print(f"{len(wrong)} of no live bundle, longest reload {longest:.2f} s,")
        print(f"RSS of both {growth / 1e6:+.1f} MB after the first two")
        assert refused == SWAPS // 5
        assert (callers.dropped, wrong) == ([], [])
        assert (found.degraded, found.refused, found.other, found.broken) == ([], [], [], 0)
        assert samples(service.metrics(), "pltv_bundle_reloads_total")['{outcome="swapped"}'] == 2.0 * (SWAPS + 1)
        assert worker_pids(service.metrics()) == workers
        assert growth <= THRESHOLDS["swaps"]["rss_bytes"]
