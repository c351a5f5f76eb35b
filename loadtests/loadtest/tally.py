"""Outcomes and their latencies enter one by one; counts, shares and percentiles leave."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from loadtests.benchmarks.rounds import percentile
from loadtests.loadtest.answers import Outcome

QUANTILES: Final = {"p50_ms": 0.50, "p95_ms": 0.95, "p99_ms": 0.99, "p99_9_ms": 0.999}


@dataclass
class Tally:
    """What came of a load.

    Parameters
    ----------
    latencies_ms : dict of Outcome to list of float
        One a request; a request without an answer has waited until it was given up.
    reasons : Counter of str
        Why requests failed.
    """

    latencies_ms: dict[Outcome, list[float]] = field(default_factory=lambda: {outcome: [] for outcome in Outcome})
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: Outcome, latency_ms: float, reason: str = "") -> None:
        """One request."""
        self.latencies_ms[outcome].append(latency_ms)
        if reason:
            self.reasons[reason] += 1

    @property
    def total(self) -> int:
        """Requests of every outcome."""
        return sum(map(len, self.latencies_ms.values()))

    def count(self, outcome: Outcome) -> int:
        """Requests of one."""
        return len(self.latencies_ms[outcome])

    def share(self, outcome: Outcome) -> float | None:
        """Of all requests; None where there were none."""
        return self.count(outcome) / self.total if self.total else None

    def percentile_ms(self, outcome: Outcome, share: float) -> float | None:
        """Nearest rank; None where the outcome never came."""
        latencies = self.latencies_ms[outcome]
        return percentile(latencies, share) if latencies else None

    def as_json(self) -> dict[str, Any]:
        """Counts, percentiles of the good, and the p99 of a refusal."""
        good = {name: self.percentile_ms(Outcome.GOOD, share) for name, share in QUANTILES.items()}
        counts = {str(outcome): self.count(outcome) for outcome in Outcome}
        return {
            "sent": self.total,
            **counts,
            **good,
            "shed_p99_ms": self.percentile_ms(Outcome.SHED, 0.99),
            "reasons": dict(self.reasons.most_common(5)),
        }
