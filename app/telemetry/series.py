"""Observations of a histogram, gathered one by one and counted into its buckets many at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from prometheus_client import Histogram

PENDING: Final = 8192
"""Observations of one series that may wait for a flush."""


class Series:
    """Observations of one histogram child, gathered and then counted into its buckets in bulk.

    `Histogram` has no public call for many values at once; a test holds `flush` against `observe`.
    """

    __slots__ = ("_bounds", "_child", "_waiting")

    def __init__(self, child: Histogram, bounds: Sequence[float]) -> None:
        self._child = child
        self._bounds = np.asarray(bounds, dtype=np.float64)
        self._waiting: list[float] = []

    def add(self, value: float) -> None:
        """Observe one value."""
        self._waiting.append(value)
        if len(self._waiting) >= PENDING:
            self.flush()

    def extend(self, values: Sequence[float]) -> None:
        """Observe many."""
        self._waiting += values

    def flush(self) -> None:
        """Count what waits."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        values = np.array(waiting, dtype=np.float64)
        places = np.searchsorted(self._bounds, values, side="left")
        counts = np.bincount(places, minlength=len(self._bounds) + 1)
        for place in np.flatnonzero(counts).tolist():
            self._child._buckets[place].inc(int(counts[place]))
        self._child._sum.inc(float(values.sum()))
