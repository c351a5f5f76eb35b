"""Aggregates of every ragged field of every user of a batch: `Columns` enter, (n_users, n_aggregates) numbers leave."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import numpy as np

from app.features.columns import Columns, Floats, Ints
from app.features.layout import Layout
from app.features.ragged import aggregate

HOURS: Final = -1.0 / 3600.0  # (time - now) · HOURS is the age in hours
_STATISTIC: Final = {"latest": "min", "earliest": "max"}  # of ages: the latest event is the youngest


class Aggregates:
    """The declared aggregates, compiled to positions.

    Parameters
    ----------
    layout : Layout
    needed : collection of str, optional
        Names of the aggregates to compute; all unless given.

    Attributes
    ----------
    names : tuple of str
        `field.aggregate`.
    recency : tuple of bool
        Whether an aggregate is an age in hours, one a name.
    wanted : list of (str, str, int)
        Name, statistic and segment of each aggregate.
    """

    def __init__(self, layout: Layout, needed: Collection[str] | None = None) -> None:
        self._layout = layout
        self.wanted: list[tuple[str, str, int]] = []
        for field in layout.ragged:
            for name in field.yields:
                if needed is not None and f"{field.name}.{name}" not in needed:
                    continue
                inner = name.startswith("inner_")
                segment = next(i for i, s in enumerate(layout.segments) if s.field == field and s.inner == inner)
                kind = name.removeprefix("inner_")
                self.wanted.append((f"{field.name}.{name}", _STATISTIC.get(kind, kind), segment))
        self.names = tuple(name for name, _, _ in self.wanted)
        self.recency = tuple(
            layout.segments[segment].field.temporal and kind != "count" for _, kind, segment in self.wanted
        )
        kinds = sorted({kind for _, kind, _ in self.wanted} - {"count"} | {"sum"})
        self._kinds = kinds
        self._wanted = frozenset(kinds)
        n_numeric, n_segments = layout.n_numeric, len(layout.segments)
        # Positions in a user's line of n_segments counts followed by n_numeric numbers a statistic.
        self._take = np.array(
            [
                segment if kind == "count" else n_segments + kinds.index(kind) * n_numeric + segment
                for _, kind, segment in self.wanted
            ],
            dtype=np.int64,
        )
        self._temporal = layout.temporal.astype(np.float64)
        self._scale = np.where(layout.temporal, HOURS, 1.0)
        self._floor = np.where(layout.temporal, 0.0, -np.inf)

    def transform(self, columns: Columns) -> Floats:
        """(n_users, len(names)) aggregates. Unknown fields: NaN; empty ones: count and sum 0, the rest NaN."""
        n_users, n_numeric = columns.n_users, self._layout.n_numeric
        counts = columns.counts
        numeric = counts[:, :n_numeric]
        stats = np.full((len(self._kinds), n_users * n_numeric), np.nan)
        stats[self._kinds.index("sum")] = np.where(numeric == 0, 0.0, np.nan).ravel()
        self._fill(stats, columns, numeric)
        by_user = stats.reshape(len(self._kinds), n_users, n_numeric).transpose(1, 0, 2).reshape(n_users, -1)
        line = np.concatenate((np.where(counts < 0, np.nan, counts), by_user), axis=1)
        return line.take(self._take, axis=1)

    def _fill(self, stats: Floats, columns: Columns, numeric: Ints) -> None:
        n_users, n_numeric = numeric.shape
        flat = (numeric.T if columns.segment_major else numeric).ravel()
        filled = (flat > 0).nonzero()[0]
        if not filled.size:
            return
        lengths = flat[filled]
        if columns.segment_major:
            segment, user = np.divmod(filled, n_users)
        else:
            user, segment = np.divmod(filled, n_numeric)
        owner = np.repeat(np.arange(len(filled)), lengths)
        # Seconds become hours before now, never negative; other numbers pass as (v - 0) · 1.
        base = columns.now[user] * self._temporal[segment]
        values = (columns.values - base[owner]) * self._scale[segment][owner]
        values = np.maximum(values, self._floor[segment][owner])
        at = user * n_numeric + segment
        found = aggregate(values, lengths, self._wanted)
        for i, kind in enumerate(self._kinds):
            stats[i, at] = found[kind]
