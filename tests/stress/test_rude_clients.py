"""Callers who keep their time while others send bombs, endless heads, long bodies, or nothing at all."""

from __future__ import annotations

import contextlib
import gzip
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.api.served import bid
from tests.stress.measures import REAL, SECONDS, THRESHOLDS, descriptors
from tests.support import open_loop
from tests.support.raw_http import connect, post, read
from tests.support.service_process import STOP_SECONDS, ServiceProcess, serving_process

pytestmark = pytest.mark.stress
RATE = 300.0
MIB = 1 << 20
BOMB = gzip.compress(bytes(100 * MIB), 9)
PAUSE_S = 0.2  # between what one of them does and what it does next
LONG_PAUSE_S = 1.0  # the same, for those who send megabytes
SILENT, TRICKLING = 300, 50


def say(port: int, request: bytes) -> None:
    """Ask, and read what comes; the service may hang up first."""
    with contextlib.suppress(OSError), connect(port) as line:
        line.sendall(request)
        read(line)


def keep_silent(port: int, end: threading.Event) -> None:
    """Many connections with half a head on each; new ones in the place of those that are hung up on."""
    lines: list[socket.socket] = []
    with contextlib.ExitStack() as stack:
        while not end.is_set():
            while len(lines) < SILENT:
                lines.append(stack.enter_context(connect(port)))
                lines[-1].sendall(b"POST /predict HTTP/1.1\r\nHost: pl")
                lines[-1].setblocking(False)
            lines = [line for line in lines if not hung_up(line)]
            time.sleep(PAUSE_S)


def trickle(port: int, end: threading.Event) -> None:
    """Bodies that come byte by byte."""
    with contextlib.ExitStack() as stack:
        lines = [stack.enter_context(connect(port)) for _ in range(TRICKLING)]
        for line in lines:
            line.sendall(post("/predict", b"x" * 4000)[:-4000])
        while not end.is_set():
            for line in lines:
                with contextlib.suppress(OSError):
                    line.send(b"{")
            time.sleep(PAUSE_S)


def hung_up(line: socket.socket) -> bool:
    """Whether the service has closed it, after a word or without."""
    try:
        return line.recv(4096) == b"" or hung_up(line)
    except BlockingIOError:
        return False
    except OSError:
        return True


def again(request: bytes) -> Callable[[int, threading.Event], None]:
    """The same, over and over."""

    def ask(port: int, end: threading.Event) -> None:
        while not end.wait(LONG_PAUSE_S):
            say(port, request)

    return ask


RUDE: list[Callable[[int, threading.Event], None]] = [
    keep_silent,
    trickle,
    again(post("/predict", BOMB, Content_Encoding="gzip")),
    again(post("/features", BOMB, Content_Encoding="gzip")),
    again(post("/predict", os.urandom(10 * MIB))),
    again(post("/features", b"[" * (10 * MIB))),
    again(post("/predict/batch", b'{"requests":[' + b"{}," * (3 * MIB))),
    again(post("/predict", b"{}", X=("x" * 100_000))),
    again(b"\x16\x03\x01\x02\x00" + os.urandom(500)),
]


@contextlib.contextmanager
def rude_clients(port: int) -> Iterator[None]:
    """All of them at once, each in a thread."""
    end = threading.Event()
    threads = [threading.Thread(target=rude, args=(port, end)) for rude in RUDE]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        end.set()
        for thread in threads:
            thread.join()


def test_rude_clients(shop: Path, corpus: Path) -> None:
    """Nobody else's call fails, its p99 stays near what it was, and afterwards no descriptor is left over."""
    with serving_process(shop, PLTV_REQUEST_TIMEOUT_S="2", **REAL) as service:
        service.predict(bid())
        before = descriptors(service.process.pid)
        alone = open_loop.offer(service.port, corpus, RATE, SECONDS, 64)
        with rude_clients(service.port):
            beside = open_loop.offer(service.port, corpus, RATE, SECONDS, 64)
        left = settled_descriptors(service, before) - before
        p99s = [open_loop.percentile(sorted(load.good + load.degraded), 0.99) for load in (alone, beside)]
        share = (len(beside.good) + len(beside.degraded)) / (RATE * SECONDS)
        print(f"\nbeside rude clients: p99 {p99s[1]:.2f} ms, alone {p99s[0]:.2f}; {share:.1%} of the calls answered,")
        print(f"{len(beside.degraded)} late, {len(beside.refused)} refused, {beside.broken} broken;")
        print(f"{left} descriptors left over")
        assert (beside.other, beside.broken) == ([], 0)
        assert len(beside.refused) <= THRESHOLDS["rude"]["refused_share"] * RATE * SECONDS
        assert p99s[1] - p99s[0] <= THRESHOLDS["rude"]["added_p99_ms"]
        assert left <= 0
        assert "Traceback" not in service.output


def settled_descriptors(service: ServiceProcess, expected: int) -> int:
    """How many are open once the last connections are closed."""
    deadline = time.monotonic() + STOP_SECONDS
    while descriptors(service.process.pid) > expected and time.monotonic() < deadline:
        time.sleep(0.1)
    return descriptors(service.process.pid)
