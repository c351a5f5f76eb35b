"""Open-loop load: requests leave when they are due, whether or not the answers to earlier ones have come.

`python -m tests.support.open_loop PORT BODIES RATE SECONDS [CONNECTIONS]` runs as a process of its own, so that its
work is not the service's; `offer` starts it. A rate of 0 closes the loop: each connection asks again as soon as it is
answered, which finds the capacity. Latency counts from the moment at which a request was due, so that what
waited for a connection, or for this process, has waited.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import uvloop

from tests.support.market import ROOT, clean_environment

TICK_S = 0.001
GRACE_S = 5.0
CONNECTIONS = 256


@dataclass(frozen=True)
class Load:
    """What came back; latencies in milliseconds, sorted.

    Parameters
    ----------
    seconds : float
        From the first request to the last answer.
    good : list of float
        Answers with 200 that lack nothing.
    degraded, refused, other : list of float
        Answers with 200 that lack something; with 503 and Retry-After; with anything else.
    broken : int
        Requests without an answer.
    """

    seconds: float
    good: list[float]
    degraded: list[float]
    refused: list[float]
    other: list[float]
    broken: int

    @property
    def goodput(self) -> float:
        """Good answers a second."""
        return len(self.good) / self.seconds


def percentile(sorted_values: list[float], share: float) -> float:
    """Nearest rank; 0 where there are none."""
    return sorted_values[min(len(sorted_values) - 1, int(share * len(sorted_values)))] if sorted_values else 0.0


def start(
    port: int, bodies: Path, rate: float, seconds: float, connections: int = CONNECTIONS, core: int | None = None
) -> subprocess.Popen[str]:
    """Begin to send; `finish` waits for the end. `core` pins the process where that is possible."""
    arguments = [str(port), str(bodies), str(rate), str(seconds), str(connections)]
    command = [sys.executable, "-m", "tests.support.open_loop", *arguments]
    pin = ["taskset", "-c", str(core)] if core is not None else []
    return subprocess.Popen([*pin, *command], cwd=ROOT, env=clean_environment(), stdout=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> Load:
    """What a load gave."""
    output, _ = process.communicate()
    assert process.returncode == 0
    return Load(**json.loads(output))


def offer(*arguments: Any, **options: Any) -> Load:
    """Start and finish."""
    return finish(start(*arguments, **options))


class _Line(asyncio.Protocol):
    """One keep-alive connection with one request under way at most."""

    def __init__(self, client: _Client) -> None:
        self._client = client
        self._received = b""
        self.transport: Any = None
        self.due: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def send(self, due: float, request: bytes) -> None:
        self.due = due
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) >= length and self.due is not None:
            due, self.due, self._received = self.due, None, b""
            self._client.answered(self, due, head, body)

    def connection_lost(self, _: Exception | None) -> None:
        self._client.lost(self)


class _Client:
    def __init__(self, port: int, requests: list[bytes]) -> None:
        self._port, self._requests = port, requests
        self._free: deque[_Line] = deque()
        self._waiting: deque[tuple[float, bytes]] = deque()
        self.under_way = 0
        self.last = 0.0
        self.found: dict[str, list[float]] = {"good": [], "degraded": [], "refused": [], "other": []}
        self.broken = 0
        self._closed_until = 0.0
        self._sent = 0

    async def connect(self, connections: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            _, line = await loop.create_connection(lambda: _Line(self), "127.0.0.1", self._port)
            self._free.append(line)

    async def run(self, rate: float, seconds: float) -> None:
        rng, begin, at = random.Random(7), perf_counter(), 0.0
        if rate == 0.0:
            self._closed_until = begin + seconds
            while self._free:
                self._post(perf_counter(), self._next())
            at = seconds
            await asyncio.sleep(seconds)
        while at < seconds:
            now = perf_counter() - begin
            while at <= now and at < seconds:
                self._post(begin + at, self._next())
                at += rng.expovariate(rate)
            await asyncio.sleep(TICK_S)
        end = perf_counter() + GRACE_S
        while (self.under_way or self._waiting) and perf_counter() < end:
            await asyncio.sleep(TICK_S)
        self.broken += self.under_way + len(self._waiting)
        self.last = (self.last or perf_counter()) - begin

    def answered(self, line: _Line, due: float, head: bytes, body: bytes) -> None:
        self.last = perf_counter()
        self.found[_kind(head, body)].append(1000.0 * (self.last - due))
        if self.last < self._closed_until:
            line.send(self.last, self._next())
            return
        if self._waiting:
            line.send(*self._waiting.popleft())
            return
        self.under_way -= 1
        self._free.append(line)

    def _next(self) -> bytes:
        self._sent += 1
        return self._requests[self._sent % len(self._requests)]

    def lost(self, line: _Line) -> None:
        if line in self._free:
            self._free.remove(line)
        if line.due is not None:
            self.broken += 1
            self.under_way -= 1

    def _post(self, due: float, request: bytes) -> None:
        if self._free:
            self.under_way += 1
            self._free.popleft().send(due, request)
        else:
            self._waiting.append((due, request))


def _kind(head: bytes, body: bytes) -> str:
    status = head[9:12]
    if status == b"200":
        return "good" if b'"degraded":[]' in body else "degraded"
    return "refused" if status == b"503" and b"retry-after:" in head else "other"


def _request(body: bytes) -> bytes:
    head = b"POST /predict HTTP/1.1\r\nHost: pltv\r\nContent-Type: application/json\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


async def _main(port: int, bodies: Path, rate: float, seconds: float, connections: int) -> None:
    client = _Client(port, [_request(line) for line in bodies.read_bytes().splitlines()])
    await client.connect(connections)
    await client.run(rate, seconds)
    found = {kind: sorted(latencies) for kind, latencies in client.found.items()}
    json.dump({"seconds": client.last, "broken": client.broken, **found}, sys.stdout)


if __name__ == "__main__":
    port, bodies, rate, seconds, *rest = sys.argv[1:]
    connections = int(rest[0]) if rest else CONNECTIONS
    uvloop.run(_main(int(port), Path(bodies), float(rate), float(seconds), connections))
