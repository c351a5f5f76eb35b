"""Two workers and one bundle: a reload moves both or none, whichever of them is asked, under load and by name."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.api.served import bid
from tests.e2e.test_rollback import golden, point, truncated
from tests.e2e.test_workers import until
from tests.support.callers import ADMIN_DIGEST, Callers, of_no_live_bundle, reload, swap
from tests.support.market import second_bundle
from tests.support.raw_http import connect, get, read
from tests.support.service_process import ServiceProcess, samples, serving_process

BODIES = [json.dumps(bid(id=f"r{n}")).encode() for n in range(50)]


@pytest.fixture
def models(shop: Path, tmp_path: Path) -> Path:
    """Bundles `shop-1` and `shop-2`; `bad-1`, of wrong answers, and `bad-2`, cut short."""
    first = Path(shutil.copytree(shop, tmp_path / "shop-1"))
    for name in ("shop-2", "bad-1", "bad-2"):
        second_bundle(first, tmp_path / name)
    golden(tmp_path / "bad-1")
    truncated(tmp_path / "bad-2")
    return tmp_path


def two_workers(path: Path) -> contextlib.AbstractContextManager[ServiceProcess]:
    """A service that looks at its path so seldom that it would not move by itself; what it shares lies in `tmp`."""
    folder = path.parent / "tmp"
    folder.mkdir()
    settings = {"PLTV_ADMIN_TOKEN": ADMIN_DIGEST, "PLTV_BUNDLE_POLL_S": "3600", "TMPDIR": str(folder)}
    return serving_process(path, workers=2, **settings)


def live(service: ServiceProcess) -> dict[int, str]:
    """Process id → bundle, as one scrape tells of both workers."""
    with connect(service.port) as line:
        line.sendall(get("/metrics"))
        told = read(line)
    assert told is not None
    series = [one for one, value in samples(told.body.decode(), "pltv_bundle_info").items() if value == 1.0]
    labels = [dict(part.split("=", 1) for part in one.strip("{}").split(",")) for one in series]
    return {int(one["pid"].strip('"')): one["name"].strip('"') for one in labels}


def test_reloads_by_name_move_both_workers_under_load(models: Path) -> None:
    """No call fails; each answer's bundle was live while it was asked; a worker that starts later has it too."""
    with two_workers(models / "shop-1") as service:
        until(lambda: len(live(service)) == 2, "both workers serve")
        with Callers(service, BODIES) as callers:
            callers.more(50)
            swaps = []
            for n in range(4):
                swaps.append(swap(service, f"shop-{2 - n % 2}", workers=2))
                assert set(live(service).values()) == {f"shop-{2 - n % 2}"}
                callers.more(50)
        assert callers.dropped == []
        assert of_no_live_bundle(callers.told, "shop-1", swaps) == []
        assert {told.answer["bundle"] for told in callers.told} == {"shop-1", "shop-2"}

        swap(service, "shop-2", workers=2)
        victim = min(live(service))
        os.kill(victim, signal.SIGKILL)
        service.reconnect()
        until(lambda: len(set(live(service)) - {victim}) == 2, "a new worker serves")
        assert set(live(service).values()) == {"shop-2"}
        assert {answer["bundle"] for answer in service.predict_at_once(BODIES, connections=8)} == {"shop-2"}
        swap(service, "shop-1", workers=2)
        assert [path.name.rpartition("-")[0] for path in sorted((models / "tmp").iterdir())] == [
            "pltv-fleet",
            "pltv-metrics",
        ]
        assert service.stop() == 0
        assert list((models / "tmp").iterdir()) == []
        assert "Traceback" not in service.output


def test_what_is_refused_moves_neither(models: Path) -> None:
    """409 and one line, from whichever worker; both answer on, the link stays, and then leads to a sound one."""
    (models / "current").symlink_to("shop-1")
    with two_workers(models / "current") as service:
        until(lambda: len(live(service)) == 2, "both workers serve")
        for name in ("bad-1", "bad-2", "absent"):
            told = reload(service, name)
            assert (told.status_code, told.json()["type"]) == (409, "urn:pltv:problem:bundle-refused")
        assert set(live(service).values()) == {"shop-1"}
        assert (models / "current").resolve().name == "shop-1"
        unchanged = {"outcome": "unchanged", "bundle": "shop-1", "previous": "shop-1", "workers": 2, "pending": 0}
        assert reload(service).json() == unchanged
        point(models, "shop-2")
        assert reload(service).json()["workers"] == 2
        assert set(live(service).values()) == {"shop-2"}
        assert {answer["bundle"] for answer in service.predict_at_once(BODIES, connections=8)} == {"shop-2"}
