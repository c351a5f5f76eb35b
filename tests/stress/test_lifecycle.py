"""Stops and deaths under load, and how soon an erasure is everywhere."""

from __future__ import annotations

import contextlib
import os
import signal
import time
import uuid
from pathlib import Path

import pytest

from tests.api.served import HISTORY
from tests.e2e.test_erasure import UNKNOWN, WHO, found, one_to_each
from tests.e2e.test_workers import pids, until
from tests.stress.measures import REAL, SECONDS, THRESHOLDS
from tests.support import open_loop, redis_process
from tests.support.callers import Callers
from tests.support.service_process import serving_process

pytestmark = pytest.mark.stress
STOPS, ERASURES = 6, 50
LIMITS = THRESHOLDS["lifecycle"]


def test_stops(shop: Path, corpus: Path) -> None:
    """SIGTERM under load, with one worker and with two, over old connections and new: no call is dropped."""
    bodies, answers, dropped, longest = corpus.read_bytes().splitlines(), 0, 0, 0.0
    for n in range(STOPS):
        with serving_process(shop, workers=1 + n % 2) as service:
            with Callers(service, bodies, keep=n % 4 < 2) as callers:
                callers.more(300)
                begin = time.perf_counter()
                assert service.stop() == 0
                longest = max(longest, time.perf_counter() - begin)
            answers, dropped = answers + len(callers.told), dropped + len(callers.dropped)
    print(f"\n{STOPS} stops under load: {answers} answers, {dropped} dropped, the longest took {longest:.1f} s")
    assert dropped == 0
    assert longest <= LIMITS["stop_s"]


def test_a_killed_worker(shop: Path, corpus: Path) -> None:
    """What it was working on is lost, and nothing else; its place is filled."""
    with serving_process(shop, workers=2, **REAL) as service:
        until(lambda: len(pids(service)) == 2, "both workers serve")
        load = open_loop.start(service.port, corpus, 300.0, SECONDS, 64)
        time.sleep(SECONDS / 4)
        victim, begin = min(pids(service)), time.monotonic()
        os.kill(victim, signal.SIGKILL)
        until(lambda: len(pids(service) - {victim}) == 2, "a new worker serves")
        replaced = time.monotonic() - begin
        told = open_loop.finish(load)
        print(f"\na killed worker: {told.broken} of {int(300 * SECONDS)} calls lost, replaced after {replaced:.1f} s")
        assert told.other == []
        assert told.broken <= LIMITS["lost_with_a_worker"]
        assert replaced <= LIMITS["replaced_s"]


def test_erasures(shop: Path) -> None:
    """After the answer to an erasure the other worker forgets at once."""
    with redis_process.running() as server:
        settings = {"PLTV_REDIS_URL": server.url, "PLTV_NEAR_TTL_S": "3600", "PLTV_IDENTITY_KEY": uuid.uuid4().hex}
        with serving_process(shop, workers=2, **settings) as service, contextlib.ExitStack() as stack:
            until(lambda: len(pids(service)) == 2, "both workers serve")
            history = {**HISTORY, "as_of": int(time.time())}
            service.post("/features", {"users": [{**WHO, "history": history}]})
            lines = one_to_each(service, stack)
            took = []
            for n in range(ERASURES):
                assert service.post("/features/delete", {"users": [WHO]}).status_code == 200
                begin = time.perf_counter()
                until_forgotten = [found(line) for line in lines]
                while until_forgotten != [UNKNOWN] * 2:
                    until_forgotten = [found(line) for line in lines]
                took.append(1000.0 * (time.perf_counter() - begin))
                user = {**WHO, "history": {**history, "as_of": history["as_of"] + 60 + n}}  # comes back later
                assert service.post("/features", {"users": [user]}).json()["stored"] == 1
                assert {found(line)[0] for line in lines} == {"present"}
            print(f"\n{ERASURES} erasures with 2 workers: both have forgotten after {max(took):.1f} ms at most")
            assert max(took) <= LIMITS["forgotten_ms"]
