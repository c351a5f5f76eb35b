"""What one candidate gave: its rounds, its memory, and how many of its answers were right; or why there is nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from statistics import median
from typing import Any, Final

from loadtests.benchmarks.generator import Load
from loadtests.benchmarks.measurements import Measurements
from loadtests.benchmarks.rounds import ratio
from loadtests.benchmarks.thresholds import Threshold, Verdict
from loadtests.benchmarks.thresholds import judge as hold
from loadtests.peers.answers import Tally

Trials = dict[str, Load | str]
"""Setting → what it gave, or why it could not be tried."""
OURS: Final = {"natural": "ours_natural", "full": "ours_full"}
"""Our candidates by corpus."""
COMPARED: Final = ("bentoml", "mlserver")
"""The peers that the bound speaks of."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a candidate gave.

    Parameters
    ----------
    name, title, setting : str
    loads : list of Load
        One a round; empty where it failed.
    cpu_us : list of float
        Microseconds of processor an answer, one a round: what other work on the machine moves least.
    rss_mb : float
        Of its processes together, after the load.
    processes : int
    checked : Tally
        Answers held against LightGBM.
    trials : mapping of str to (Load or str)
        Setting → its trial, or why it could not be tried.
    failure : str or None
        Why there is no number.
    """

    name: str
    title: str
    setting: str = ""
    loads: list[Load] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    rss_mb: float = float("nan")
    processes: int = 0
    checked: Tally = field(default_factory=Tally)
    trials: Mapping[str, Load | str] = field(default_factory=dict)
    failure: str | None = None

    @property
    def rates(self) -> list[float]:
        """Good answers a second, one a round."""
        return [load.rate for load in self.loads]

    def middle(self, figure: str) -> float:
        """Median over the rounds of a figure of `Load`; not a number where it failed."""
        return median(getattr(load, figure) for load in self.loads) if self.loads else float("nan")

    def as_json(self) -> dict[str, Any]:
        """For the results."""
        return {
            "title": self.title, "setting": self.setting, "rounds": [load.as_json() for load in self.loads],
            "cpu_us": [us if isfinite(us) else None for us in self.cpu_us],
            "rss_mb": None if self.failure else self.rss_mb, "processes": self.processes,
            "checked": self.checked.right, "lacking_when_checked": self.checked.lacking,
            "trials": {name: t if isinstance(t, str) else t.as_json() for name, t in self.trials.items()},
            "failure": self.failure,
        }  # fmt: skip


def against(one: Result | None, other: Result | None) -> float | None:
    """Requests/s of one through the other's, the median of the ratios within a round; None where either failed."""
    if one is None or other is None or one.failure is not None or other.failure is not None:
        return None
    return ratio(one.rates, other.rates)


def judge(
    bounds: Sequence[Threshold], results: Sequence[Result], case: str, measurements: Measurements
) -> list[Verdict]:
    """Hold ours against the best of `COMPARED`; where one of them did not take part there is nothing to judge.

    Parameters
    ----------
    bounds : sequence of Threshold
    results : sequence of Result
        One that failed took part: its bound is then held by the other, or missed.
    case : str
        Which job the peers had; the first part of the bound's name.
    measurements : Measurements
        Takes the ratios.
    """
    by_name = {result.name: result for result in results}
    compared = [by_name[name] for name in COMPARED if name in by_name]
    if len(compared) < len(COMPARED):
        measurements.note(f"no bound is judged without {' and '.join(COMPARED)}")
        return []
    standing = [result for result in compared if result.failure is None]
    best = max(standing, key=lambda result: result.middle("rate"), default=None)
    for corpus, name in OURS.items():
        value = against(by_name.get(name), best)
        if value is not None:
            measurements.add(f"{case}.to_best", value, corpus)
    return hold(bounds, measurements.metrics, [case])
