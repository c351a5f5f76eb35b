"""Percentile ranks within a cohort: feature values enter, the share of the cohort's training rows below each leaves.

A cohort is the rows that share some categories (country and advertiser category, say). Of the declared cohorts the
first with enough training rows counts; which one is resolved when the ranks are fitted, so that online it is one
table look-up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.features.columns import Floats, Ints
from app.features.encoders import normalise


@dataclass(frozen=True)
class CohortRanks:
    """Fitted quantiles by cohort.

    Parameters
    ----------
    keys : tuple of str
        Text fields that name a cohort, most specific declared cohort first.
    ids : tuple of dict of str to int
        Normalised text → id from 1; 0 is missing or unknown. One a key.
    cohort : ndarray of shape (Π (n_ids + 1),), int64
        Row of `quantiles` by the keys' ids, C order.
    quantiles : ndarray of shape (n_cohorts, n_features, n_quantiles), float64
        Rising; +inf where no row of the cohort has the feature.
    """

    keys: tuple[str, ...]
    ids: tuple[dict[str, int], ...]
    cohort: Ints
    quantiles: Floats

    @classmethod
    def fit(
        cls,
        keys: Sequence[str],
        cohorts: Sequence[Sequence[str]],
        texts: Sequence[tuple[Sequence[str | None], Ints | None]],
        values: Floats,
        *,
        min_rows: int,
        n_quantiles: int,
    ) -> CohortRanks:
        """Quantiles of each feature in each cohort that is large enough.

        Parameters
        ----------
        keys : sequence of str
        cohorts : sequence of subsets of `keys`, most specific first, the empty one (everybody) last
        texts : one (entries, codes of shape (n,)) a key
        values : ndarray of shape (n, n_features), float64
        """
        ids = tuple(_ids(entries) for entries, _ in texts)
        own = [_codes(i, entries, codes) for i, (entries, codes) in zip(ids, texts, strict=True)]
        shape = tuple(len(i) + 1 for i in ids)
        chosen = np.full(shape, -1, dtype=np.int64)
        levels = np.linspace(0.0, 1.0, n_quantiles + 2)[1:-1]
        tables: list[Floats] = []
        for cohort in (*cohorts, ()):
            axes = [keys.index(k) for k in cohort]
            for where, rows in _groups(own, axes, len(values), min_rows if cohort else 0):
                free = chosen[where] < 0
                if free.any():
                    chosen[where] = np.where(free, len(tables), chosen[where])
                    tables.append(_quantiles(values[rows], levels))
        return cls(tuple(keys), ids, chosen.ravel(), np.stack(tables))

    def transform(self, texts: Sequence[tuple[Sequence[str | None], Ints | None]], values: Floats) -> Floats:
        """(n, n_features) ranks in 0–1, NaN where the value is; arguments as in `fit`."""
        quantiles = self.quantiles[self.rows_of(texts, len(values))]
        below = (quantiles < values[:, :, None]).sum(axis=2)
        return np.where(np.isnan(values), np.nan, below / quantiles.shape[2])

    def id_of(self, key: int) -> Callable[[str], int]:
        """Text → id of one key, 0 where it was not seen in training."""
        ids = self.ids[key]
        return lambda text: ids.get(normalise(text), 0)

    def rows_of(self, texts: Sequence[tuple[Sequence[str | None], Ints | None]], n: int) -> Ints:
        """(n,) the row of `quantiles` that ranks each row; codes None: entry i is row i's."""
        index = np.zeros(n, dtype=np.int64)
        for ids, (entries, codes) in zip(self.ids, texts, strict=True):
            index = index * (len(ids) + 1) + _codes(ids, entries, codes)
        rows: Ints = self.cohort[index]
        return rows

    def to_json(self) -> dict[str, Any]:
        """What is no array."""
        return {"keys": self.keys, "ids": self.ids}

    @classmethod
    def from_json(cls, obj: Mapping[str, Any], cohort: Ints, quantiles: Floats) -> CohortRanks:
        """Read what `to_json` and the arrays hold."""
        return cls(tuple(obj["keys"]), tuple(dict(i) for i in obj["ids"]), cohort, quantiles)


def _ids(entries: Sequence[str | None]) -> dict[str, int]:
    names = sorted({normalise(e) for e in entries if e is not None})
    return {name: i for i, name in enumerate(names, start=1)}


def _codes(ids: Mapping[str, int], entries: Sequence[str | None], codes: Ints | None) -> Ints:
    known = np.array([0 if e is None else ids.get(normalise(e), 0) for e in entries], dtype=np.int64)
    return known if codes is None else known[codes]


def _groups(own: Sequence[Ints], axes: Sequence[int], n: int, min_rows: int) -> list[tuple[tuple[Any, ...], Ints]]:
    """Each combination of ids on these axes with enough rows: its slice of the cohort table, and its rows."""
    everywhere: tuple[Any, ...] = (slice(None),) * len(own)
    if not axes:
        return [(everywhere, np.arange(n))]
    stacked = np.stack([own[a] for a in axes], axis=1)
    unique, inverse, counts = np.unique(stacked, axis=0, return_inverse=True, return_counts=True)
    order = np.argsort(inverse.ravel(), kind="stable")
    parts = np.split(order, np.cumsum(counts)[:-1])
    found = []
    for ids, rows in zip(unique.tolist(), parts, strict=True):
        if len(rows) >= min_rows and 0 not in ids:
            where = list(everywhere)
            for axis, i in zip(axes, ids, strict=True):
                where[axis] = i
            found.append((tuple(where), rows))
    return found


def _quantiles(values: Floats, levels: Floats) -> Floats:
    """(n_features, n_quantiles) of the present values, +inf where there is none."""
    out = np.full((values.shape[1], len(levels)), np.inf)
    for j, column in enumerate(values.T):
        present = column[~np.isnan(column)]
        if present.size:
            out[j] = np.quantile(present, levels)
    return out
