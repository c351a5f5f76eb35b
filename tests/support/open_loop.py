"""Open-loop load: requests leave when they are due, whether or not the answers to earlier ones have come.

`python -m tests.support.open_loop PORT BODIES RATE SECONDS [CONNECTIONS]` runs as a process of its own, so that its
work is not the service's; `offer` starts it. A rate of 0 closes the loop: each connection asks again as soon as it is
answered, which finds the capacity. Latency counts from the moment at which a request was due, so that what
waited for a connection, or for this process, has waited.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from loadtests.loadtest.mix import PREDICT
from loadtests.loadtest.target import Target
from loadtests.open_loop import wire
from loadtests.open_loop.connections import Pool
from loadtests.open_loop.schedule import poisson
from loadtests.open_loop.wire import Response
from tests.support.market import ROOT, clean_environment

SEED = 7
BURST = 16  # sent before answers are looked at again
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
    lag : list of float
        How late this process itself was with each request of an open loop.
    """

    seconds: float
    good: list[float]
    degraded: list[float]
    refused: list[float]
    other: list[float]
    broken: int
    lag: list[float]

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


class _Client:
    """Sends, and counts what comes; answers are not kept, so that a load may last as long as it likes."""

    def __init__(self, port: int, requests: list[bytes], connections: int) -> None:
        self._requests = requests
        self._pool = Pool("127.0.0.1", port, connections, self._answered)
        self._waiting: deque[float] = deque()
        self._sent = 0
        self._begin = self._last = perf_counter()
        self._closed_until = 0.0
        self._found: dict[str, list[float]] = {kind: [] for kind in ("good", "degraded", "refused", "other", "lag")}
        self._broken = 0

    def closed(self, seconds: float) -> None:
        """Ask again on every connection as soon as it is answered."""
        self._closed_until = self._begin + seconds
        while self._pool.free:
            self._send(perf_counter())
        self._drain(self._closed_until + GRACE_S)

    def open(self, rate: float, seconds: float) -> None:
        """Send each request when it is due."""
        for at in poisson(rate, seconds, SEED):
            due = self._begin + at
            while (early := due - perf_counter()) > 0.0:
                self._pool.turn(early)
            self._found["lag"].append(-1000.0 * early)
            if self._pool.free:
                self._send(due)
            else:
                self._waiting.append(due)
            if self._sent % BURST == 0:
                self._pool.turn(0.0)
        self._drain(perf_counter() + GRACE_S)

    def found(self) -> dict[str, Any]:
        """The parts of a `Load`."""
        sorted_ms = {kind: sorted(latencies) for kind, latencies in self._found.items()}
        return {"seconds": self._last - self._begin, "broken": self._broken, **sorted_ms}

    def _send(self, due: float) -> None:
        self._sent += 1
        self._pool.send(0, due, self._requests[self._sent % len(self._requests)])

    def _answered(self, _: int, due: float, response: Response) -> None:
        now = perf_counter()
        if response.status:
            self._last = now
            self._found[_kind(response)].append(1000.0 * (now - due))
        else:
            self._broken += 1
        if self._pool.free and (self._waiting or now < self._closed_until):
            self._send(self._waiting.popleft() if self._waiting else now)

    def _drain(self, until: float) -> None:
        while (self._pool.under_way or self._waiting) and (left := until - perf_counter()) > 0.0:
            self._pool.turn(left)
        self._broken += self._pool.under_way + len(self._waiting)


def _kind(response: Response) -> str:
    if response.status == 200:
        return "good" if b'"degraded":[]' in response.body else "degraded"
    return "refused" if response.status == 503 and response.retry_after else "other"


def _main(port: int, bodies: Path, rate: float, seconds: float, connections: int) -> None:
    target = Target("127.0.0.1", port)
    client = _Client(
        port, [wire.render(target, PREDICT, body) for body in bodies.read_bytes().splitlines()], connections
    )
    gc.collect()
    gc.disable()  # a pause here would pass for one of the service
    if rate:
        client.open(rate, seconds)
    else:
        client.closed(seconds)
    json.dump(client.found(), sys.stdout)


if __name__ == "__main__":
    port, bodies, rate, seconds, *rest = sys.argv[1:]
    _main(int(port), Path(bodies), float(rate), float(seconds), int(rest[0]) if rest else CONNECTIONS)
