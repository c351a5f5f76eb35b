"""Categories as numbers: texts enter, smoothed target statistics and frequencies leave.

Codes: 0 missing, 1 unseen in training, 2 rare (fewer than `min_count` training rows), 3… the values. Missing encodes
as NaN; unseen as the prior with frequency 0; rare values share pooled statistics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from app.features.columns import Floats, Ints, Texts
from app.features.memo import remembered
from app.features.spec import ENCODINGS

MISSING_CODE: Final = 0
UNSEEN: Final = 1
RARE: Final = 2
FIRST: Final = 3
N_STATISTICS: Final = len(ENCODINGS)


@remembered(16_384)  # a file of rows repeats the texts of the one before
def normalise(text: str) -> str:
    """The one spelling of a category: outer white space dropped, lower case."""
    return text.strip().lower()


@dataclass(frozen=True)
class Vocabulary:
    """The codes of one text column, and what was counted of each in training.

    Parameters
    ----------
    codes : dict of str to int
        Normalised text → code.
    sums : ndarray of shape (n_codes, 3), float64
        Rows, buyers and Σ log1p(revenue) of buyers, by code.
    """

    codes: dict[str, int]
    sums: Floats

    @property
    def n_codes(self) -> int:
        """Codes 0, 1, 2 and one a value."""
        return len(self.sums)

    def of(self, entries: Sequence[str | None]) -> list[int]:
        """The code of each text."""
        get = self.codes.get
        return [MISSING_CODE if e is None else get(normalise(e), UNSEEN) for e in entries]


class TextEncoder:
    """Fitted encodings of the encoded columns of one `Texts` block.

    Parameters
    ----------
    columns : sequence of int
        Encoded columns of the block.
    vocabularies : sequence of Vocabulary
        One a column.
    smoothing : tuple of float
        Prior weight of `rate` in rows, of `value` in buyers.

    Attributes
    ----------
    table : ndarray of shape (Σ n_codes, 3), float64
        Rate, value and frequency of every code of every column, one column below the other.
    offsets : ndarray of shape (n_encoded,), int64
        The row of each column's code 0.
    """

    def __init__(self, columns: Sequence[int], vocabularies: Sequence[Vocabulary], smoothing: tuple[float, float]):
        self.columns = tuple(columns)
        self.vocabularies = tuple(vocabularies)
        self.smoothing = smoothing
        self.offsets = np.cumsum([0, *(v.n_codes for v in self.vocabularies)])[:-1].astype(np.int64)
        self._unseen = self.offsets + UNSEEN
        self.table = self._tables([v.sums for v in self.vocabularies])

    @classmethod
    def fit(
        cls,
        texts: Texts,
        columns: Sequence[int],
        gate: Floats,
        revenue: Floats,
        *,
        min_count: int,
        smoothing: tuple[float, float],
    ) -> TextEncoder:
        """Count values, buyers and their log revenue.

        Parameters
        ----------
        texts : Texts of n rows
        columns : sequence of int
        gate : ndarray of shape (n,), float64, 0 or 1
        revenue : ndarray of shape (n,), float64, US dollars, ≥ 0
        min_count : int
            Values with fewer rows are rare.
        smoothing : tuple of float
        """
        logs = np.log1p(revenue) * gate
        vocabularies = [_vocabulary(texts, column, gate, logs, min_count) for column in columns]
        return cls(columns, vocabularies, smoothing)

    def codes(self, texts: Texts) -> Ints:
        """(n, n_encoded) codes, each column counted from its own 0."""
        return self.rows_of(texts) - self.offsets

    def transform(self, texts: Texts) -> Floats:
        """(n, n_encoded · 3) rate, value and frequency of each encoded column."""
        return self._take(self.table, self.rows_of(texts))

    def transform_out_of_fold(self, texts: Texts, gate: Floats, revenue: Floats, fold: Ints) -> Floats:
        """As `transform`, each training row encoded by the statistics of the other folds.

        Parameters
        ----------
        texts : Texts of n rows, the ones `fit` saw
        gate, revenue : ndarray of shape (n,), float64
        fold : ndarray of shape (n,), int64
        """
        rows = self.rows_of(texts)
        if not self.columns:
            return np.empty((len(rows), 0))
        weights = np.stack((np.ones_like(gate), gate, np.log1p(revenue) * gate), axis=1)
        total = np.concatenate([v.sums for v in self.vocabularies])
        out = np.empty((len(rows), len(self.columns) * N_STATISTICS))
        for k in np.unique(fold):
            here = fold == k
            own = np.zeros_like(total)
            for j in range(len(self.columns)):
                np.add.at(own, rows[here, j], weights[here])
            parts = np.split(total - own, self.offsets[1:])
            out[here] = self._take(self._tables(parts, counted=total[:, 0]), rows[here])
        return out

    def unseen(self, texts: Texts) -> list[tuple[int, int]]:
        """(column, cells never seen in training) of each encoded column that has such cells."""
        never = self.rows_of(texts) == self._unseen
        if not never.any():
            return []
        counts = never.sum(axis=0).tolist()
        return [(column, n) for column, n in zip(self.columns, counts, strict=True) if n]

    def rows_of(self, texts: Texts) -> Ints:
        """(n, n_encoded) the row of `table` that encodes each cell. Kept with the texts: they are asked for twice."""
        if texts.encoded is not None and texts.encoded[0] is self:
            return texts.encoded[1]
        entry: list[int] = []
        starts = texts.starts
        shifts = []
        for column, vocabulary in zip(self.columns, self.vocabularies, strict=True):
            shifts.append(len(entry) - starts[column])
            entry += vocabulary.of(texts.entries[starts[column] : starts[column + 1]])
        known = np.array(entry, dtype=np.int64)
        if texts.plain:  # the entries are the cells, column by column
            own = known.reshape(len(self.columns), len(texts.codes)).T
        else:
            own = known[texts.codes[:, self.columns] + np.array(shifts, dtype=np.int64)]
        rows: Ints = own + self.offsets
        texts.encoded = (self, rows)
        return rows

    def _take(self, table: Floats, rows: Ints) -> Floats:
        return table[rows].reshape(len(rows), len(self.columns) * N_STATISTICS)

    def _tables(self, sums: Sequence[Floats], counted: Floats | None = None) -> Floats:
        tables = [_statistics(s, self.smoothing) for s in sums]
        table = np.concatenate(tables) if tables else np.empty((0, N_STATISTICS))
        if counted is not None:  # the frequency knows no target: it stays the whole training set's
            table[:, 2] = self.table[:, 2]
        return table

    def to_json(self) -> dict[str, Any]:
        """Vocabularies and smoothing; the sums are saved apart, as an array."""
        return {"columns": self.columns, "codes": [v.codes for v in self.vocabularies], "smoothing": self.smoothing}

    @property
    def sums(self) -> Floats:
        """(Σ n_codes, 3) the counted statistics of all columns, one below the other."""
        return np.concatenate([v.sums for v in self.vocabularies]) if self.vocabularies else np.empty((0, 3))

    @classmethod
    def from_json(cls, obj: Mapping[str, Any], sums: Floats) -> TextEncoder:
        """Read what `to_json` and `sums` hold."""
        sizes = [FIRST + len(set(codes.values()) - {RARE}) for codes in obj["codes"]]
        parts = np.split(sums, np.cumsum(sizes)[:-1]) if sizes else []
        vocabularies = [Vocabulary(dict(c), s) for c, s in zip(obj["codes"], parts, strict=True)]
        first, second = obj["smoothing"]
        return cls(obj["columns"], vocabularies, (float(first), float(second)))


def _vocabulary(texts: Texts, column: int, gate: Floats, logs: Floats, min_count: int) -> Vocabulary:
    start, end = texts.starts[column], texts.starts[column + 1]
    names: dict[str, int] = {}
    merged = [-1 if e is None else names.setdefault(normalise(e), len(names)) for e in texts.entries[start:end]]
    ids = np.array(merged, dtype=np.int64)[texts.codes[:, column] - start]
    counts = np.bincount(ids[ids >= 0], minlength=len(names)) if names else np.empty(0, dtype=np.int64)
    # Sorted by text, so that the codes do not depend on the order of the rows.
    kept = sorted(name for name, i in names.items() if counts[i] >= min_count)
    codes = {name: FIRST + i for i, name in enumerate(kept)}
    codes.update((name, RARE) for name in sorted(names) if counts[names[name]] < min_count and counts[names[name]])
    remap = np.array([*(codes.get(name, UNSEEN) for name in names), MISSING_CODE], dtype=np.int64)
    code = remap[ids]  # a missing text has id -1, the last place
    n = FIRST + len(kept)
    sums = [np.bincount(code, weights=w, minlength=n) for w in (np.ones_like(gate), gate, logs)]
    return Vocabulary(codes, np.stack(sums, axis=1))


def _statistics(sums: Floats, smoothing: tuple[float, float]) -> Floats:
    """(n_codes, 3) smoothed rate, smoothed value and frequency. With the column's own mean as the prior:

    rate = (buyers + s·prior) / (rows + s),  value = (Σ log1p y + v·prior) / (buyers + v),  frequency = rows / all rows
    """
    rows, buyers, logs = sums.T
    total = max(rows.sum(), 1.0)
    rate_prior = buyers.sum() / total
    value_prior = logs.sum() / max(buyers.sum(), 1.0)
    rate_weight, value_weight = smoothing
    table = np.stack(
        (
            (buyers + rate_weight * rate_prior) / (rows + rate_weight),
            (logs + value_weight * value_prior) / (buyers + value_weight),
            rows / total,
        ),
        axis=1,
    )
    table[MISSING_CODE] = np.nan
    return table
