"""What this package tells of itself. The service's Prometheus telemetry is one observer, a test's list another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Observer(Protocol):
    """The part of the telemetry that serving writes to."""

    def stage(self, name: str, seconds: float) -> None:
        """`features` or `models`, of one flush."""

    def batch_rows(self, n: int) -> None:
        """Rows (campaigns) of one flush."""

    def corrections(self, n: int) -> None:
        """Rows whose horizons had to be put in order."""

    def unseen(self, field: str, n: int) -> None:
        """Cells of an encoded field whose text training never saw."""

    def cache(self, tier: str, outcome: str) -> None:
        """An event of the cache; the outcomes of a tier are listed in `near` and `remote`."""

    def breaker(self, is_open: bool) -> None:
        """Redis is left alone after failures, or asked again."""

    def bundle(self, manifest: Mapping[str, Any]) -> None:
        """A bundle went live."""

    def reload(self, outcome: str) -> None:
        """`swapped`, `unchanged` or `refused`."""
