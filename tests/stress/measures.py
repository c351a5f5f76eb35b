"""What a running process holds, read from /proc, what it can do, and the thresholds that it is held to."""

from __future__ import annotations

import os
import shutil
import tomllib
from pathlib import Path
from typing import Any

import numpy as np

from tests.support import open_loop
from tests.support.service_process import ServiceProcess

THRESHOLDS: dict[str, Any] = tomllib.loads((Path(__file__).parent / "thresholds.toml").read_text())
REAL: dict[str, Any] = {"PLTV_DEADLINE_MS": "8", "PLTV_REDIS_TIMEOUT_MS": "5"}
"""The service's own defaults, where the tests of `make test` are patient."""

SECONDS = 10.0
RUNS, RUN_S = 3, 1.5
CLOSED = (8, 16, 32)
"""Connections of closed loops."""
CORE = 1 if (os.cpu_count() or 1) > 1 and shutil.which("taskset") else None
"""Of the load, where it can have one of its own; `APART` gives the service the first."""
APART = ("taskset", "-c", "0") if CORE else ()


def rss_bytes(pid: int) -> int:
    """Resident memory."""
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(status.partition("VmRSS:")[2].split()[0])


def descriptors(pid: int) -> int:
    """Open files and sockets."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def slope(at: list[float], values: list[float]) -> float:
    """Of the line through the points."""
    return float(np.polyfit(at, values, 1)[0])


def capacity_of(service: ServiceProcess, corpus: Path) -> float:
    """Good answers a second at the load that gets most of them, each load in the median of its runs: the best single
    run would be luck. Closed loops wait for each other, and so find less than there is; half as much again is then
    offered, for as long as more of it is answered."""

    def typical(rate: float, *connections: int) -> float:
        runs = [open_loop.offer(service.port, corpus, rate, RUN_S, *connections, core=CORE) for _ in range(RUNS)]
        return float(np.median([run.goodput for run in runs]))

    best = max(typical(0.0, connections) for connections in CLOSED)
    while True:
        before, best = best, max(best, typical(1.5 * best))
        if best < 1.05 * before:
            return best
