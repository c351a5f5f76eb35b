"""What a scenario hands over: metrics by name and corpus, and the raw rounds behind them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

NO_CORPUS: Final = "-"


@dataclass
class Measurements:
    """Metrics of one run.

    Parameters
    ----------
    metrics : dict of str to dict of str to float
        Metric → corpus (`NO_CORPUS` where it has none) → value. The unit is the end of the metric's name.
    details : dict
        JSON that the metrics were computed from.
    notes : list of str
        What a reader of the table has to know: how it was measured, what could not be.
    """

    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, metric: str, value: float, corpus: str = NO_CORPUS) -> None:
        """One value."""
        self.metrics.setdefault(metric, {})[corpus] = value

    def keep(self, scenario: str, corpus: str, detail: Any) -> None:
        """The raw material of a scenario, for the JSON file."""
        self.details.setdefault(scenario, {})[corpus] = detail

    def note(self, text: str) -> None:
        """Something to be told below the table, once."""
        if text not in self.notes:
            self.notes.append(text)
