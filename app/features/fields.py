"""What a declaration is made of: kinds of raw fields and what each yields, look-ups, targets, states of a history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

SCALARS: Final = ("number", "category", "timestamp", "month", "version")
RAGGED: Final = ("histogram", "timestamps", "strings", "nested_histogram", "nested_timestamps")
TEXTS: Final = ("category", "month", "version")
FORMATS: Final = ("raw", "lower", "country")
AGGREGATES: Final[Mapping[str, tuple[str, ...]]] = {
    "histogram": ("count", "sum", "mean", "max", "min", "std", "entropy", "top_share"),
    "timestamps": ("count", "latest", "earliest", "mean"),
    "strings": ("count",),
    "nested_histogram": ("count", "sum", "mean", "max", "min", "std", "entropy", "top_share",
                         "inner_count", "inner_sum", "inner_mean", "inner_max", "inner_min", "inner_std"),
    "nested_timestamps": ("count", "latest", "earliest", "mean", "inner_count", "inner_latest", "inner_earliest",
                          "inner_mean"),
}  # fmt: skip
ENCODINGS: Final = ("rate", "value", "frequency")
GROUPS: Final = ("context", "encodings", "scalars", "aggregates", "recency", "lookups", "ratios", "products", "ranks")
CLOCK_KEYS: Final = ("hour", "weekday")


class HistoryState(IntEnum):
    """What is known of the user. The value is a feature, so that a lost cache is not read as a new user."""

    PRESENT = 0
    NEW = 1
    UNAVAILABLE = 2
    WITHHELD = 3

    @property
    def label(self) -> str:
        """The name on the wire: `present`, `new`, `unavailable` or `withheld`."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Field:
    """One raw column.

    Parameters
    ----------
    name : str
    kind : str
        One of `SCALARS` or `RAGGED`.
    scope : str
        `request`, `campaign` or `user`.
    wire : str or None
        Dotted place in the BidRequest (request scope only).
    format : str
        How a category is written: `raw`, `lower` or `country` (ISO alpha-2, lower case).
    yields : tuple of str
        Aggregates of a ragged field, empty for scalars.
    """

    name: str
    kind: str
    scope: str
    wire: str | None = None
    format: str = "raw"
    yields: tuple[str, ...] = ()

    @property
    def ragged(self) -> bool:
        """Whether a row holds any number of entries."""
        return self.kind in RAGGED

    @property
    def nested(self) -> bool:
        """Whether an entry holds a map of its own."""
        return self.kind.startswith("nested_")

    @property
    def temporal(self) -> bool:
        """Whether the numbers are unix seconds."""
        return self.kind.endswith(("timestamp", "timestamps"))


@dataclass(frozen=True, slots=True)
class Lookup:
    """The request's own `key` field looked up in the user's ragged `field`."""

    field: str
    key: str

    @property
    def name(self) -> str:
        """`field@key`."""
        return f"{self.field}@{self.key}"


@dataclass(frozen=True, slots=True)
class Targets:
    """What is predicted.

    `revenue` is the column pattern with `{horizon}`, `horizons` are days in rising order, `gate` the classifier's
    column, `log_mean` the horizon of E[log1p y], `excluded` every outcome column that may never be a feature.
    """

    horizons: tuple[int, ...]
    revenue: str
    gate: str
    log_mean: int
    excluded: tuple[str, ...]

    def column(self, horizon: int) -> str:
        """The revenue column of a horizon in days."""
        return self.revenue.format(horizon=horizon)

    @property
    def log_mean_index(self) -> int:
        """Position of the `log_mean` horizon among the horizons."""
        return self.horizons.index(self.log_mean)
