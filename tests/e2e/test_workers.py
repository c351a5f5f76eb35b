"""Worker processes that die: replaced, counted right, and not tried again without end."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.api.served import bid
from tests.inference.tiny_bundle import edit_manifest
from tests.support.raw_http import connect, get, read
from tests.support.service_process import STOP_SECONDS, ServiceProcess, samples, serving_process, worker_pids

SERVED = '{route="/predict",status="200"}'


def until(so: Callable[[], bool], what: str) -> None:
    """Wait for something."""
    deadline = time.monotonic() + STOP_SECONDS
    while not so():
        if time.monotonic() > deadline:
            pytest.fail(what)
        time.sleep(0.05)


def served(service: ServiceProcess) -> float:
    """Good answers that one scrape tells of, over a connection that any worker may take."""
    with connect(service.port) as line:
        line.sendall(get("/metrics"))
        told = read(line)
    assert told is not None
    return samples(told.body.decode(), "pltv_requests_total").get(SERVED, 0.0)


def gone(pid: int) -> bool:
    """Whether a process is no more."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_killed_worker_is_replaced_and_the_metrics_stay_right(shop: Path) -> None:
    """What the dead one had counted is kept, its gauges go, and the new one counts on."""
    with serving_process(shop, workers=2) as service:
        until(lambda: len(worker_pids(service.metrics())) == 2, "both workers serve")
        service.predict_at_once([bid()] * 60, connections=8)
        until(lambda: served(service) == 60.0, "60 calls are counted")
        before = worker_pids(service.metrics())
        victim = min(before)
        os.kill(victim, signal.SIGKILL)
        service.client.close()
        until(lambda: len(pids(service) - {victim}) == 2, "a new worker serves")
        assert victim not in pids(service)
        assert served(service) == 60.0
        service.predict_at_once([bid()] * 40, connections=8)
        until(lambda: served(service) == 100.0, "100 calls are counted")
        assert '"worker died"' in service.output
        assert service.stop() == 0
        assert all(line.startswith(("{", "pltv: ")) for line in service.output.splitlines())
        assert "Traceback" not in service.output


def pids(service: ServiceProcess) -> set[int]:
    """The workers, by whichever of them answers."""
    with connect(service.port) as line:
        line.sendall(get("/metrics"))
        told = read(line)
    return worker_pids(told.body.decode()) if told is not None else set()


def spoil(path: Path) -> None:
    """Sound by its hashes, broken inside: refused by the worker, not by the parent's check."""
    (path / "prior.json").write_text("{}")
    edit_manifest(path)


def test_workers_that_can_not_start_end_the_service(shop: Path, tmp_path: Path) -> None:
    """One line each, exit code 1, and no endless row of new ones."""
    spoil(Path(shutil.copytree(shop, tmp_path / "bad")))
    with TemporaryDirectory() as directory:
        service = ServiceProcess(tmp_path / "bad", Path(directory), workers=2)
        try:
            assert service.process.wait(STOP_SECONDS) == 1
            assert 1 <= service.output.count('"worker died"') <= 4
            assert "prior" in service.output
            assert "Traceback" not in service.output
        finally:
            service.close()


def test_one_that_can_not_be_replaced_is_tried_with_patience(shop: Path, tmp_path: Path) -> None:
    """Its sibling serves on; when the bundle is sound again the place is filled."""
    path = Path(shutil.copytree(shop, tmp_path / "shop-1"))
    with serving_process(path, workers=2, PLTV_BUNDLE_POLL_S="3600") as service:
        until(lambda: len(pids(service)) == 2, "both workers serve")
        sound = (path / "prior.json").read_bytes(), (path / "manifest.json").read_bytes()
        spoil(path)
        victim = min(pids(service))
        os.kill(victim, signal.SIGKILL)
        until(lambda: service.output.count('"served":false') >= 2, "the replacement fails twice")
        tries = service.output.count('"worker died"')
        assert tries <= 4
        assert service.predict(bid())["degraded"] == []
        (path / "prior.json").write_bytes(sound[0])
        (path / "manifest.json").write_bytes(sound[1])
        until(lambda: len(pids(service) - {victim}) == 2, "the place is filled")
        assert service.stop() == 0


def test_workers_do_not_outlive_their_parent(shop: Path) -> None:
    """A parent that is killed takes them with it: the port is free for the next."""
    with serving_process(shop, workers=2) as service:
        until(lambda: len(pids(service)) == 2, "both workers serve")
        workers = pids(service)
        service.process.kill()
        service.process.wait()
        until(lambda: all(gone(pid) for pid in workers), "the workers stop")
        assert "Traceback" not in service.output
