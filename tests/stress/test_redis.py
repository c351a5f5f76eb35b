"""What a Redis that fails adds to the latency of predictions, and how soon it is used again."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from tests.api.served import HISTORY
from tests.e2e.test_redis import breaker
from tests.e2e.test_workers import until
from tests.stress.conftest import USERS
from tests.stress.measures import REAL, THRESHOLDS
from tests.support import open_loop, redis_process
from tests.support.redis_process import RedisProcess
from tests.support.service_process import ServiceProcess, serving_process
from tests.support.slow_redis import SlowRedis, slowed

pytestmark = pytest.mark.stress
RATE, SECONDS, BEFORE_S = 300.0, 6.0, 1.0
LIMITS = THRESHOLDS["redis"]


@dataclass(frozen=True)
class Setup:
    """A service that asks Redis at every call, one that has none, the relay and the server behind it."""

    service: ServiceProcess
    alone: ServiceProcess
    relay: SlowRedis
    server: RedisProcess

    def command(self, *words: str | int) -> None:
        """Have Redis do something."""
        with redis.Redis.from_url(self.server.url) as client:
            client.execute_command(*words)

    def fill(self) -> None:
        """Store every user of the corpus."""
        for start in range(0, USERS, 500):
            body = {"users": [{"user_id": f"u{n}", "history": HISTORY} for n in range(start, start + 500)]}
            while self.service.post("/features", body).status_code != 200:
                time.sleep(0.05)  # the breaker is open yet; the time that it takes is held to its threshold

    def spoil(self) -> None:
        """Put noise in the place of every history."""
        with redis.Redis.from_url(self.server.url) as client:
            keys = [key for key in client.scan_iter(count=1000) if client.type(key) == b"string"]
            client.mset({key: os.urandom(600) for key in keys})


@pytest.fixture(scope="module")
def setup(shop: Path) -> Iterator[Setup]:
    """All of it, filled."""
    with redis_process.running() as server, slowed(server.port) as relay:
        url = f"redis://127.0.0.1:{relay.port}/0"
        settings = {**REAL, "PLTV_NEAR_BYTES": "0"}
        with (
            serving_process(shop, PLTV_REDIS_URL=url, **settings) as service,
            serving_process(shop, **settings) as alone,
        ):
            found = Setup(service, alone, relay, server)
            found.fill()
            yield found


@dataclass(frozen=True)
class Fault:
    """Something that befalls Redis, how it ends, and whether the breaker must have opened; None: either way."""

    befall: Callable[[Setup], None]
    undo: Callable[[Setup], None]
    opens: bool | None


def _delay(seconds: float) -> Callable[[Setup], None]:
    return lambda setup: setattr(setup.relay, "delay_s", seconds)


def _limit(option: str, value: str) -> Callable[[Setup], None]:
    return lambda setup: setup.command("CONFIG", "SET", option, value)


FAULTS = {
    "healthy": Fault(lambda _: None, lambda _: None, opens=False),
    "killed": Fault(lambda s: s.server.kill(), lambda s: s.server.start(), opens=True),
    "restarted empty": Fault(lambda s: s.server.restart(), lambda _: None, opens=False),
    "hung": Fault(lambda s: s.server.pause(), lambda s: s.server.resume(), opens=True),
    "slow, 3 ms": Fault(_delay(0.003), _delay(0.0), opens=None),  # near the limit of 5: the machine decides
    "slow, 30 ms": Fault(_delay(0.03), _delay(0.0), opens=True),
    "full": Fault(_limit("maxmemory", "1"), _limit("maxmemory", "0"), opens=False),
    "refusing writes": Fault(_limit("min-replicas-to-write", "1"), _limit("min-replicas-to-write", "0"), opens=False),
    "garbage": Fault(lambda s: s.spoil(), lambda _: None, opens=False),
}


def under_load(service: ServiceProcess, corpus: Path, befall: Callable[[], None]) -> open_loop.Load:
    """A steady load; the fault comes a second after it has begun, so that the change is measured too."""
    process = open_loop.start(service.port, corpus, RATE, SECONDS, 64)
    time.sleep(BEFORE_S)
    befall()
    return open_loop.finish(process)


def p99(load: open_loop.Load) -> float:
    """Of all answers, milliseconds."""
    return open_loop.percentile(sorted(load.good + load.degraded), 0.99)


@pytest.mark.parametrize("name", FAULTS)
def test_fault(setup: Setup, bare_corpus: Path, name: str) -> None:
    """No prediction fails, p99 stays near that of a service without Redis, and Redis is used again by itself."""
    fault = FAULTS[name]
    without = under_load(setup.alone, bare_corpus, lambda: None)
    load = under_load(setup.service, bare_corpus, lambda: fault.befall(setup))
    opened = breaker(setup.service) == 1.0
    begin = time.monotonic()
    fault.undo(setup)
    setup.fill()
    until(lambda: _source(setup, bare_corpus) == "redis", "Redis is used again")
    recovery = time.monotonic() - begin
    added = p99(load) - p99(without)
    lost = len(load.degraded) / (len(load.good) + len(load.degraded))
    state = "open" if opened else "closed"
    print(
        f"\nRedis {name}: p99 {p99(load):.2f} ms, {added:+.2f} beside none; {lost:.1%} named it, {load.broken} broken;"
    )
    print(f"breaker {state}, used again after {recovery:.1f} s")
    assert (load.refused, load.other, load.broken) == ([], [], 0)
    assert fault.opens in (None, opened)
    assert added <= LIMITS["added_p99_ms"]
    assert recovery <= LIMITS["recovery_s"]


def _source(setup: Setup, corpus: Path) -> str:
    """Where the service finds the first user's history."""
    with corpus.open() as bodies:
        answer = setup.service.predict(json.loads(next(bodies)))
    return str(answer["history"]["source"])
