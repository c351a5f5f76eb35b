"""Bounds enter, verdicts leave. A bound holds for every corpus that its metric was measured with."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Final

PATH: Final = Path(__file__).parent.parent / "thresholds.toml"
_KEYS: Final = {"says", "at_most", "at_least", "aim", "corpora"}
_BOTH: Final = ("natural", "full")


@dataclass(frozen=True, slots=True)
class Threshold:
    """The bound of one metric.

    Parameters
    ----------
    metric : str
        `scenario.metric`.
    says : str
        What is bounded, for people.
    bound : float
    upper : bool
        Whether the value must be at most the bound; else at least.
    aim : float or None
        Where we want to be; told, not held.
    corpora : tuple of str
        Each must have been measured.
    """

    metric: str
    says: str
    bound: float
    upper: bool
    aim: float | None
    corpora: tuple[str, ...]

    @property
    def scenario(self) -> str:
        """The first part of the metric's name."""
        return self.metric.partition(".")[0]

    def holds(self, value: float | None) -> bool:
        """Whether a value is within the bound; one that is missing or no number is not."""
        if value is None or not isfinite(value):
            return False
        return value <= self.bound if self.upper else value >= self.bound


@dataclass(frozen=True, slots=True)
class Verdict:
    """A bound and what was measured of it, None where nothing was."""

    threshold: Threshold
    corpus: str
    value: float | None
    exempt: bool = False

    @property
    def passed(self) -> bool:
        """Whether the bound holds, or cannot be measured on this system."""
        return self.exempt or self.threshold.holds(self.value)


def load(path: Path = PATH) -> list[Threshold]:
    """Read the bounds.

    Raises
    ------
    ValueError
        Naming the metric whose entry is wrong.
    """
    tree = tomllib.loads(path.read_text(encoding="utf-8"))
    return [_threshold(f"{scenario}.{name}", entry) for scenario, own in tree.items() for name, entry in own.items()]


def judge(
    thresholds: Iterable[Threshold],
    metrics: Mapping[str, Mapping[str, float]],
    scenarios: Collection[str],
    exempt: Collection[str] = (),
) -> list[Verdict]:
    """Hold the metrics of the scenarios that ran against their bounds.

    Parameters
    ----------
    thresholds : iterable of Threshold
    metrics : mapping of str to mapping of str to float
        As `Measurements.metrics`.
    scenarios : collection of str
        Those that ran; a bound of theirs without a value fails.
    exempt : collection of str
        Metrics that this system cannot measure.
    """
    return [
        Verdict(threshold, corpus, metrics.get(threshold.metric, {}).get(corpus), threshold.metric in exempt)
        for threshold in thresholds
        if threshold.scenario in scenarios
        for corpus in threshold.corpora
    ]


def _threshold(metric: str, entry: Mapping[str, Any]) -> Threshold:
    bounds = [key for key in ("at_most", "at_least") if key in entry]
    if len(bounds) != 1 or "says" not in entry or set(entry) - _KEYS:
        raise ValueError(f"thresholds: {metric}: expected `says`, one of `at_most` and `at_least`, `aim`, `corpora`")
    aim = entry.get("aim")
    return Threshold(
        metric,
        str(entry["says"]),
        float(entry[bounds[0]]),
        bounds[0] == "at_most",
        None if aim is None else float(aim),
        tuple(entry.get("corpora", _BOTH)),
    )
