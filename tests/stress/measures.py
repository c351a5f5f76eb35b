"""What a running process holds, read from /proc, what it can do, and the thresholds that it is held to."""

from __future__ import annotations

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
    """Most good answers a second, found by raising the load until it is no longer met: a closed loop waits, and so
    finds less."""
    rate, best = open_loop.offer(service.port, corpus, 0.0, 3.0, 8).goodput, 0.0
    while True:
        found = open_loop.offer(service.port, corpus, rate, SECONDS / 2).goodput
        best = max(best, found)
        if found < 0.9 * rate:
            return best
        rate *= 1.2
