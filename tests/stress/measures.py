"""What a running process holds, read from /proc, and the thresholds that it is held to."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np

THRESHOLDS: dict[str, Any] = tomllib.loads((Path(__file__).parent / "thresholds.toml").read_text())


def rss_bytes(pid: int) -> int:
    """Resident memory."""
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(status.partition("VmRSS:")[2].split()[0])


def descriptors(pid: int) -> int:
    """Open files and sockets."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def slope(seconds: list[float], values: list[float]) -> float:
    """Of the line through the points, a second."""
    return float(np.polyfit(seconds, values, 1)[0])
