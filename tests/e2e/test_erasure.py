"""An erasure with two workers and a Redis: gone from both tiers of both, and no late write brings it back."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.api.served import HISTORY, bid, with_history
from tests.e2e.test_workers import until
from tests.support.raw_http import connect, post, read
from tests.support.redis_process import RedisProcess
from tests.support.service_process import ServiceProcess, samples, serving_process, worker_pids

WHO = {"user_id": "somebody"}
UNKNOWN = ("unavailable", "none")
LINES = 64


@pytest.fixture
def service(shop: Path, redis_server: RedisProcess) -> Iterator[ServiceProcess]:
    """Two workers that trust their own copies for an hour: only an erasure makes them forget."""
    settings = {"PLTV_REDIS_URL": redis_server.url, "PLTV_NEAR_TTL_S": "3600", "PLTV_IDENTITY_KEY": uuid.uuid4().hex}
    with serving_process(shop, workers=2, **settings) as running:
        until(lambda: len(worker_pids(running.metrics())) == 2, "both workers serve")
        yield running
        assert "Traceback" not in running.output


def found(line: socket.socket, **user: Any) -> tuple[str, str]:
    """State and source of somebody's history, by the worker at the other end."""
    line.sendall(post("/predict", json.dumps(bid(user={"id": WHO["user_id"], **user})).encode()))
    told = read(line)
    assert told is not None
    assert told.status == 200
    answer = json.loads(told.body)
    assert answer["degraded"] == []
    return answer["history"]["state"], answer["history"]["source"]


def one_to_each(service: ServiceProcess, stack: contextlib.ExitStack) -> list[socket.socket]:
    """A connection to each worker, both of which have somebody's history in memory afterwards.

    The first that asks a worker finds it in Redis; whoever asks the same worker later, near.
    """
    lines = []
    for _ in range(LINES):
        line = stack.enter_context(connect(service.port))
        source = found(line)[1]
        assert source in ("redis", "near")
        if source == "redis":
            lines.append(line)
        if len(lines) == 2:
            assert [found(line) for line in lines] == [("present", "near")] * 2
            return lines
    pytest.fail("one worker takes all connections")


def store(service: ServiceProcess, as_of: int) -> list[str]:
    """What becomes of a history of that time."""
    answer = service.post("/features", {"users": [{**WHO, "history": {**HISTORY, "as_of": as_of}}]})
    assert answer.status_code == 200, answer.text
    statuses: list[str] = answer.json()["statuses"]
    return statuses


def test_an_erasure_reaches_every_tier_of_every_worker(service: ServiceProcess, redis_server: RedisProcess) -> None:
    """Late writes, by name or inline, by those who know of it and by one who does not, revive nothing."""
    assert store(service, HISTORY["as_of"]) == ["stored"]
    with contextlib.ExitStack() as stack, redis.Redis.from_url(redis_server.url) as client:
        lines = one_to_each(service, stack)
        (key,) = (key for key in client.keys("*") if client.type(key) == b"string")
        held = client.get(key)
        assert isinstance(held, bytes)

        erased = service.post("/features/delete", {"users": [WHO]})
        assert (erased.status_code, erased.json()) == (200, {"deleted": 1})
        marker = client.get(key)
        assert isinstance(marker, bytes)
        assert len(marker) < len(held)
        assert b"toys" in held
        assert b"toys" not in marker
        until(lambda: [found(line) for line in lines] == [UNKNOWN] * 2, "both workers forget")

        assert store(service, HISTORY["as_of"]) == ["older"]
        for line in lines:
            assert found(line, **with_history()) == ("present", "inline")
        assert [found(line) for line in lines] == [UNKNOWN] * 2
        assert client.get(key) == marker
        # The next worker would hear of it from the stream, which is trimmed in time; the marker stays.
        assert client.delete(*(key for key in client.keys("*") if client.type(key) == b"stream")) == 1

    victim = min(worker_pids(service.metrics()))
    os.kill(victim, signal.SIGKILL)
    service.reconnect()
    with contextlib.ExitStack() as stack, redis.Redis.from_url(redis_server.url) as client:
        until(lambda: len(worker_pids(service.metrics()) - {victim}) == 2, "a new worker serves")
        for _ in range(LINES):  # to both: the new one has not heard of the erasure and lets Redis decide
            line = stack.enter_context(connect(service.port))
            found(line, **with_history())
            until(lambda line=line: found(line) == UNKNOWN, "Redis refuses it")  # type: ignore[misc]
            if refused(service):
                break
        assert refused(service) >= 1.0
        assert client.get(key) == marker

        assert store(service, int(time.time()) + 60) == ["stored"]  # who comes back is known again
        one_to_each(service, stack)


def refused(service: ServiceProcess) -> float:
    """How many histories were refused by Redis because they were erased since."""
    series = '{outcome="refused",tier="redis"}'
    return samples(service.metrics(), "pltv_feature_cache_total").get(series, 0.0)
