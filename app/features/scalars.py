"""Scalar features of a request and its user: clock, numbers, ages, versions. `Columns` enter, (n_users, n) leaves."""

from __future__ import annotations

from typing import Final

import numpy as np

from app.features.aggregates import HOURS
from app.features.columns import Columns, Floats, Texts
from app.features.encoders import normalise
from app.features.layout import Layout
from app.features.memo import remembered

MONTHS: Final = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
CLOCK: Final = ("history_state", "hour", "hour_sin", "hour_cos", "weekday", "weekday_sin", "weekday_cos")
_DAY: Final = 86400.0
NAN: Final = float("nan")


@remembered(4096)
def version_number(text: str) -> float:
    """ "16.4.1" → 16.04: major plus minor in hundredths (at most .99); NaN where the text starts with no number."""
    major, _, rest = text.strip().partition(".")
    minor = rest.partition(".")[0]
    if not _digits(major):
        return NAN
    return int(major) + (min(int(minor), 99) / 100 if _digits(minor) else 0.0)


@remembered(4096)
def month_start(text: str) -> float:
    """ "2025_july" → unix seconds of 2025-07-01 00:00 UTC; NaN where the text is no such month."""
    year, _, month = normalise(text).partition("_")
    if not (_digits(year) and len(year) == 4 and month in MONTHS):
        return NAN
    return float(np.datetime64(f"{year}-{MONTHS.index(month) + 1:02d}", "s").astype(np.int64))


def _digits(text: str) -> bool:
    return 0 < len(text) < 7 and text.isascii() and text.isdigit()


class Scalars:
    """Clock, request numbers, versions, months, and the user's numbers and timestamps.

    Attributes
    ----------
    names : tuple of str
    groups : tuple of str
        `context`, `scalars` or `recency`, one a name.
    versions, months : tuple of int
        Columns of the users' texts that are parsed as such.
    temporal : ndarray of shape (len(layout.numbers),), float64
        1.0 where a number is a time in unix seconds.
    clock : ndarray of shape (168, 6), float64
        The clock's features by hours since the epoch modulo a week.
    """

    def __init__(self, layout: Layout) -> None:
        numbers = layout.numbers
        n_request = len(layout.request_numbers)
        self.versions = tuple(j for j, f in enumerate(layout.texts) if f.kind == "version")
        self.months = tuple(j for j, f in enumerate(layout.texts) if f.kind == "month")
        texts = [f"{layout.texts[j].name}_number" for j in self.versions]
        texts += [f"{layout.texts[j].name}_days_ago" for j in self.months]
        ages = [f.temporal for f in numbers]
        self.names = (*CLOCK, *(f"{f.name}_hours_ago" if f.temporal else f.name for f in numbers), *texts)
        self.groups = (
            *("context",) * len(CLOCK),
            *("context" if i < n_request else "recency" if f.temporal else "scalars" for i, f in enumerate(numbers)),
            *("context",) * len(texts),
        )
        self.temporal = np.array(ages, dtype=np.float64)
        self._scale = np.where(ages, HOURS, 1.0)
        self._floor = np.where(ages, 0.0, -np.inf)
        self.clock = _clock_table()

    def transform(self, columns: Columns) -> Floats:
        """(n_users, len(names)) scalars, NaN where missing."""
        hours = columns.now.astype(np.int64) // 3600
        ages = (columns.numbers - columns.now[:, None] * self.temporal) * self._scale
        parsed = self.parsed(columns.texts)
        n = len(self.versions)
        days = (columns.now[:, None] - parsed[:, n:]) / _DAY
        clock = self.clock[hours % len(self.clock)]
        state = columns.state[:, None].astype(np.float64)
        return np.concatenate((state, clock, np.maximum(ages, self._floor), parsed[:, :n], days), axis=1)

    def parsed(self, texts: Texts) -> Floats:
        """(n_users, n_versions + n_months) version numbers, then the months' first seconds; NaN where unreadable."""
        out = np.empty((len(texts.codes), len(self.versions) + len(self.months)))
        for i, j in enumerate((*self.versions, *self.months)):
            parse = version_number if i < len(self.versions) else month_start
            entries = texts.entries[texts.starts[j] : texts.starts[j + 1]]
            out[:, i] = texts.spread(j, [NAN if e is None else parse(e) for e in entries], float)
        return out


def _clock_table() -> Floats:
    """(168, 6) clock features by hours since the epoch modulo a week; 1970-01-01 was a Thursday."""
    hours = np.arange(168)
    hour, weekday = hours % 24, (hours // 24 + 3) % 7 + 1
    angles = 2 * np.pi * hour / 24, 2 * np.pi * (weekday - 1) / 7
    columns = (hour, np.sin(angles[0]), np.cos(angles[0]), weekday, np.sin(angles[1]), np.cos(angles[1]))
    return np.stack(columns, axis=1).astype(np.float64)
