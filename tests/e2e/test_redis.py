"""One service, one Redis, everything that can befall it: every prediction is answered, and it comes back by itself."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.api.served import HISTORY, bid
from tests.support import redis_process
from tests.support.redis_process import RedisProcess
from tests.support.service_process import STOP_SECONDS, ServiceProcess, samples, serving_process

Client = redis.Redis
# The service asks Redis each time: its own tier holds nothing.
SETTINGS: dict[str, Any] = {
    "PLTV_NEAR_BYTES": "0",
    "PLTV_REDIS_TIMEOUT_MS": "100",
    "PLTV_REDIS_WRITE_TIMEOUT_MS": "500",
}
WHO = {"user_id": "somebody"}


@pytest.fixture(scope="module")
def pair() -> Iterator[RedisProcess]:
    """A Redis to be broken; whatever a test did to it is undone by a restart."""
    with redis_process.running() as server:
        yield server


@pytest.fixture(scope="module")
def service(shop: Path, pair: RedisProcess) -> Iterator[ServiceProcess]:
    """The service that uses it, started once: nothing here needs a restart."""
    with serving_process(shop, PLTV_REDIS_URL=pair.url, **SETTINGS) as running:
        yield running


@pytest.fixture
def server(pair: RedisProcess, service: ServiceProcess) -> Iterator[RedisProcess]:
    """That Redis with somebody's history in it; afterwards it works again, and the service has found out."""
    yield_when_found(service)
    yield pair
    pair.restart()
    yield_when_found(service)
    assert "Traceback" not in service.output


def ask(service: ServiceProcess) -> dict[str, Any]:
    """A prediction for somebody; it is a good answer whatever Redis does."""
    return service.predict(bid(user={"id": WHO["user_id"]}))


def until(so: Callable[[], bool], what: str) -> None:
    """Wait for something."""
    deadline = time.monotonic() + STOP_SECONDS
    while not so():
        if time.monotonic() > deadline:
            pytest.fail(what)
        time.sleep(0.02)


def yield_when_found(service: ServiceProcess) -> None:
    """Store somebody, and wait until predictions find him in Redis."""
    user = {"users": [{**WHO, "history": HISTORY}]}
    until(lambda: service.post("/features", user).status_code == 200, "the history is stored")
    until(lambda: ask(service)["history"]["source"] == "redis", "the history is found")
    assert breaker(service) == 0.0


def breaker(service: ServiceProcess) -> float:
    """1 while Redis is left alone."""
    return samples(service.metrics(), "pltv_redis_breaker_open")[""]


def outcomes(service: ServiceProcess) -> dict[str, float]:
    """What became of look-ups in Redis."""
    found = samples(service.metrics(), "pltv_feature_cache_total")
    return {series.split('outcome="')[1].split('"')[0]: n for series, n in found.items() if 'tier="redis"' in series}


def until_left_alone(service: ServiceProcess) -> None:
    """Ask until the breaker is open; each answer names what it lacks."""
    while breaker(service) == 0.0:
        answer = ask(service)
        assert (answer["degraded"], answer["history"]["state"]) == (["redis"], "unavailable")
    for _ in range(20):
        assert ask(service)["degraded"] == ["redis"]


@pytest.mark.parametrize("how", ["kill", "hang", "slow"])
def test_gone_hung_or_slow(service: ServiceProcess, server: RedisProcess, how: str) -> None:
    """The breaker opens and shows; writes and erasures are not confirmed; afterwards it closes."""
    if how == "kill":
        server.kill()
    elif how == "hang":
        server.pause()
    else:
        with Client.from_url(server.url) as client:
            client.execute_command("CLIENT", "PAUSE", 60_000, "ALL")
    until_left_alone(service)
    assert outcomes(service)["open"] >= 20.0
    assert service.post("/features", {"users": [{**WHO, "history": HISTORY}]}).status_code == 503
    assert service.post("/features/delete", {"users": [WHO]}).status_code == 503


def test_hung_and_resumed(service: ServiceProcess, server: RedisProcess) -> None:
    """The same process goes on, with what it holds: the history is found again, and no restart was needed.

    The log names the reason once, however often it was probed, and the end of it.
    """
    before = len(service.output)
    server.pause()
    until_left_alone(service)
    until(lambda: bool(ask(service)) and "Redis is left alone" in service.output[before:], "a probe fails")
    for _ in range(10):
        ask(service)
        time.sleep(0.1)
    server.resume()
    until(lambda: ask(service)["history"]["source"] == "redis", "Redis is asked again")
    told = [json.loads(line) for line in service.output[before:].splitlines()]
    lines = [(line["event"], line.get("reason")) for line in told if line["event"].startswith("Redis ")]
    assert lines == [("Redis is left alone", "TimeoutError"), ("Redis answers again", None)]


def test_restarted_empty(service: ServiceProcess, server: RedisProcess) -> None:
    """What it held is unknown now, which is no failure."""
    server.restart()
    until(lambda: ask(service)["degraded"] == [], "Redis is asked again")
    assert ask(service)["history"] == {"state": "unavailable", "source": "none", "as_of": None}


@pytest.mark.parametrize("setting", [("maxmemory", "1"), ("min-replicas-to-write", "1")])
def test_full_or_refusing_writes(service: ServiceProcess, server: RedisProcess, setting: tuple[str, str]) -> None:
    """It is read as before; nothing is confirmed; an inline history is used though it can not be kept."""
    with Client.from_url(server.url) as client:
        client.config_set(*setting)
        for _ in range(20):
            answer = service.predict(bid(user={"id": "other", "ext": {"history": HISTORY}}))
            assert (answer["degraded"], answer["history"]["source"]) == ([], "inline")
        assert ask(service)["history"]["source"] == "redis"
        assert service.post("/features", {"users": [{**WHO, "history": HISTORY}]}).status_code == 503
        assert service.post("/features/delete", {"users": [WHO]}).status_code == 503
        assert breaker(service) == 0.0
        client.config_set(setting[0], "0")


@pytest.mark.parametrize("value", ["garbage", "empty", "cut", "older", "list"])
def test_what_is_no_history_is_none(service: ServiceProcess, server: RedisProcess, value: str) -> None:
    """Noise, half an entry, another format's, another type under the key: unknown, and the next store replaces it."""
    with Client.from_url(server.url) as client:
        (key,) = (key for key in client.keys("*") if client.type(key) == b"string")  # not the stream of erasures
        stored = client.get(key)
        assert isinstance(stored, bytes)
        client.delete(key)
        if value == "list":
            client.rpush(key, "x")
        else:
            older = b"PLT0" + stored[4:]
            client.set(key, {"garbage": b"\x00\xff" * 300, "empty": b"", "cut": stored[:-9], "older": older}[value])
        for _ in range(5):
            answer = ask(service)
            assert (answer["degraded"], answer["history"]["state"]) == ([], "unavailable")
        assert breaker(service) == 0.0
    yield_when_found(service)
