"""Requests a second where the history does not come with the request: near hits, Redis hits, Redis down, Redis hung."""

from __future__ import annotations

import contextlib
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

import redis

from loadtests.benchmarks import services
from loadtests.benchmarks.measurements import Measurements
from loadtests.benchmarks.plan import Bench
from loadtests.benchmarks.processes import CLIENT_CORE, free_port, running
from loadtests.benchmarks.rounds import interleave, ratio
from loadtests.benchmarks.services import Server
from loadtests.payloads import (
    SEED,
    Body,
    batch_bodies,
    encode,
    history_of,
    stored_users,
    with_identity,
    without_history,
)

_USERS: Final = 2_000
_STORE: Final = 500  # users in one call
_START_S: Final = 10.0
_HOUR_S: Final = "3600"
_MEMORY: Final = str(256 << 20)
_SOURCES: Final = {"inline": "inline", "near": "near", "redis": "redis", "none": "none", "down": "none", "hung": "none"}


def run(bench: Bench, out: Measurements) -> None:
    """All six, one loaded at a time; the servers' Redis is on the load generator's core."""
    if shutil.which("redis-server") is None:
        out.note("histories: redis-server is not installed, nothing was measured")
        return
    log = bench.log("histories")
    # Without room in the near tier every call goes to Redis.
    plain = {"PLTV_NEAR_BYTES": _MEMORY, "PLTV_NEAR_TTL_S": _HOUR_S}
    with ExitStack() as stack:
        stores = {name: stack.enter_context(_redis(bench, name)) for name in ("redis", "down", "hung")}
        servers = {"plain": stack.enter_context(services.ours(bench.bundle, log, settings=plain))}
        for name, (url, _) in stores.items():
            settings = {"PLTV_REDIS_URL": url, "PLTV_NEAR_BYTES": "0"}
            servers[name] = stack.enter_context(services.ours(bench.bundle, log, settings=settings))
        stores["down"][1].kill()
        stores["hung"][1].send_signal(signal.SIGSTOP)
        for corpus, bodies in bench.corpora.named().items():
            _run(bench, out, corpus, [body for body in bodies if history_of(body)][:_USERS], servers)


def _run(bench: Bench, out: Measurements, corpus: str, bodies: list[Body], servers: dict[str, Server]) -> None:
    known = with_identity(bodies, random.Random(f"{SEED} {corpus}"))
    strangers = without_history(with_identity(bodies, random.Random(f"{SEED} {corpus} strangers")))
    for name in ("plain", "redis"):
        _store(servers[name], stored_users(known))
    inline, asked, unknown = (
        bench.file(f"histories-{corpus}-{name}", part)
        for name, part in (("inline", known), ("asked", without_history(known)), ("unknown", strangers))
    )
    place: dict[str, tuple[Server, Path]] = {
        "inline": (servers["plain"], inline),
        "near": (servers["plain"], asked),
        "redis": (servers["redis"], asked),
        "none": (servers["plain"], unknown),
        "down": (servers["down"], unknown),
        "hung": (servers["hung"], unknown),
    }
    candidates = {
        name: partial(bench.load_ours, server, path, _SOURCES[name]) for name, (server, path) in place.items()
    }
    interleave(candidates, bench.pace.warm)  # breakers open, entries are parsed
    found = interleave(candidates, bench.pace.loads)
    rates = {name: [load.rate for load in loads] for name, loads in found.items()}
    # The second says where the first must end: without any history there is nothing to find, to read or to add up.
    for name, to in (("near", "inline"), ("none", "inline"), ("redis", "inline"), ("down", "none"), ("hung", "none")):
        out.add(f"histories.{name}_to_{to}", ratio(rates[name], rates[to]), corpus)
    for name, loads in found.items():
        out.add(f"histories.{name}_requests_per_s", median(rates[name]), corpus)
        out.add(f"histories.{name}_p99_ms", median(load.p99_ms for load in loads), corpus)
        lost = sum(load.lost for load in loads)
        if lost:
            out.note(f"histories, {corpus}, {name}: {lost} requests got no good answer and count nowhere")
    out.keep("histories", corpus, {name: [load.as_json() for load in loads] for name, loads in found.items()})


def _store(server: Server, users: list[Body]) -> None:
    for body in batch_bodies([encode(user) for user in users], _STORE):
        requests = body.replace(b'{"requests":', b'{"users":', 1)
        server.post("/features", requests)


@contextlib.contextmanager
def _redis(bench: Bench, name: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A redis-server of this run that keeps nothing; gone afterwards, even when it was hung."""
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(bench.work)]
    command += ["--save", "", "--appendonly", "no"]
    with running(command, core=CLIENT_CORE, log=bench.log(f"redis-{name}")) as process:
        _await(port, process)
        try:
            yield f"redis://127.0.0.1:{port}/0", process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)


def _await(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_S
    with redis.Redis(port=port, socket_timeout=1) as client:
        while True:
            try:
                client.ping()
                return
            except redis.RedisError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"redis-server did not start on port {port}") from None
                time.sleep(0.01)
