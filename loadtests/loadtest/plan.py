"""How long each part of a run takes, and where its files are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from loadtests.benchmarks.processes import ROOT

RESULTS: Final = ROOT / "loadtests" / "results"
BODIES: Final = RESULTS / "bodies"
LEVELS: Final = (0.3, 0.7, 1.0, 1.5)
"""Loads of the open loop, as shares of the capacity."""
OPEN_LOOP: Final = "open_loop"


@dataclass(frozen=True, slots=True)
class Pace:
    """Times of one run.

    Parameters
    ----------
    stretch : float
        Of the locust curves: 1 is as they are drawn.
    warm_s, capacity_s, level_s : float
        Of the load ahead of those that count, of each that looks for the capacity, of each level of the open loop.
    """

    stretch: float
    warm_s: float
    capacity_s: float
    level_s: float


FULL: Final = Pace(stretch=1.0, warm_s=2.0, capacity_s=2.0, level_s=12.0)
QUICK: Final = Pace(stretch=0.2, warm_s=0.5, capacity_s=0.7, level_s=3.0)
