"""Purchases made up in the format of CDNOW_master.txt, and the real file where it is at hand."""

from __future__ import annotations

import os
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

HEADER = " customer_id  date number_of_cds  dollar_value"
FIRST, LAST = date(1997, 1, 1), date(1998, 6, 30)
_BESIDE = Path(__file__).parents[3] / "shared" / "data" / "cdnow" / "CDNOW_master.txt"


def real_file() -> Path:
    """CDNOW_master.txt: PLTV_CDNOW, else beside the checkout; the test is skipped, with the reason, where it is not."""
    path = Path(os.environ.get("PLTV_CDNOW", _BESIDE))
    if not path.is_file():
        pytest.skip(f"no CDNOW_master.txt at {path}: set PLTV_CDNOW to its place")
    return path


def line(customer: str, day: date, cds: int, dollars: float) -> str:
    """A purchase as the file writes it."""
    return f" {customer} {day:%Y%m%d} {cds:2d} {dollars:7.2f}"


def write(path: Path, lines: list[str], end: str = "\r\n") -> Path:
    """Write lines under the header."""
    path.write_bytes(end.join([HEADER, *lines, ""]).encode("ascii"))
    return path


def made_up(path: Path, customers: int, seed: int = 0) -> Path:
    """Customers of the first quarter: each buys and spends at rates of its own, and leaves after some purchase."""
    rng = np.random.default_rng(seed)
    lines = []
    for number in range(1, customers + 1):
        day = FIRST + timedelta(days=int(rng.integers(0, 85)))
        gap, leaves, scale = 7.0 / rng.gamma(0.5, 0.3), rng.beta(0.8, 2.5), rng.gamma(4.0, 1.0 / 15.0)
        while day <= LAST:
            dollars = 0.0 if rng.random() < 0.01 else round(float(rng.gamma(6.0, 1.0 / scale)), 2)
            lines.append(line(f"{number:05d}", day, int(rng.integers(1, 4)), dollars))
            if rng.random() < leaves:
                break
            day += timedelta(days=int(min(rng.exponential(gap), 999.0)))
    lines.append(line("00001", LAST, 1, 9.99))
    return write(path, lines)
