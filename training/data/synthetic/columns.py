"""The columns of a block of rows, before they become parquet or JSON, and the entry kernels that build them.

A ragged column is drawn as *entries*: two aligned arrays, `rows` (ascending, which row an entry belongs to) and `codes`
(which key of a vocabulary). Every kernel works on all entries of a block at once; no Python object exists per row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Entries = tuple[Ints, Ints]


class Vocabulary:
    """An ordered set of strings; a column stores positions in it.

    Parameters
    ----------
    words : sequence of str
        Distinct strings; `words[i]` is what code i stands for.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = list(words)
        self.objects: NDArray[np.object_] = np.array(self.words, dtype=object)
        self.arrow: pa.StringArray = pa.array(self.words, pa.string())

    def __len__(self) -> int:
        return len(self.words)


@dataclass(frozen=True)
class Scalar:
    """Numbers, one a row. `valid` None: no row is null. int8, int64 or float64."""

    values: NDArray[Any]
    valid: Mask | None = None


@dataclass(frozen=True)
class Text:
    """Strings of a vocabulary, one a row; code −1 is null."""

    codes: Ints
    vocabulary: Vocabulary


@dataclass(frozen=True)
class Identifiers:
    """Fixed-width ASCII strings, one a row, shape (n_rows,), dtype S36; all distinct, never null."""

    values: NDArray[np.bytes_]


@dataclass(frozen=True)
class Ragged:
    """A map (`values` given) or a list of strings (`values` None) in every row.

    Attributes
    ----------
    valid : ndarray of shape (n_rows,), bool
        False: null. A valid row may be empty.
    offsets : ndarray of shape (n_rows + 1,), int64
        Entries of row i are offsets[i]:offsets[i + 1]; a null row has none.
    codes, values : ndarray of shape (n_entries,), int64 and float64 | int64
        Keys, distinct within a row, and their numbers.
    as_struct : bool
        Written to parquet as list<struct<key, value>> rather than as map.
    """

    valid: Mask
    offsets: Ints
    codes: Ints
    vocabulary: Vocabulary
    values: NDArray[Any] | None = None
    as_struct: bool = False

    def rows(self) -> Ints:
        """Row of every entry, shape (n_entries,)."""
        return np.repeat(np.arange(len(self.valid)), np.diff(self.offsets))


@dataclass(frozen=True)
class Nested:
    """A map of maps: outer key → inner key → number. `inner_offsets` has one entry more than `codes`."""

    valid: Mask
    offsets: Ints
    codes: Ints
    vocabulary: Vocabulary
    inner_offsets: Ints
    inner_codes: Ints
    inner_vocabulary: Vocabulary
    values: NDArray[Any]

    def rows(self) -> Ints:
        """Row of every outer entry, shape (n_outer,)."""
        return np.repeat(np.arange(len(self.valid)), np.diff(self.offsets))


Column = Scalar | Text | Identifiers | Ragged | Nested
Columns = dict[str, Column]


def offsets_of(lengths: Ints) -> Ints:
    """Arrow offsets from segment lengths: 0 first, then the running sum."""
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])


def repeat_rows(counts: Ints) -> Ints:
    """Row of each entry when row i has counts[i] entries."""
    return np.repeat(np.arange(len(counts)), counts)


def distinct(rows: Ints, codes: Ints, size: int) -> Entries:
    """Sort entries by (row, code) and keep one of each pair; `size` is the number of codes."""
    keys = np.sort(rows * size + codes)
    kept = np.ones(len(keys), dtype=bool)
    kept[1:] = keys[1:] != keys[:-1]
    keys = keys[kept]
    return keys // size, keys % size


def grouped(rows: Ints, codes: Ints, values: NDArray[Any], size: int, how: np.ufunc) -> tuple[Ints, Ints, NDArray[Any]]:
    """Join the entries of equal (row, code) with `how` (np.add, np.maximum, np.minimum); codes < 0 are dropped."""
    known = codes >= 0
    keys = rows[known] * size + codes[known]
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    if len(keys) == 0:
        return keys, keys, values[:0]
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    return keys[starts] // size, keys[starts] % size, how.reduceat(values[known][order], starts)


def first_of_row(rows: Ints) -> Mask:
    """True on the first entry of every row that has entries."""
    first = np.ones(len(rows), dtype=bool)
    first[1:] = rows[1:] != rows[:-1]
    return first


def pick(rng: np.random.Generator, rows: Ints, present: Mask, share: float) -> Mask:
    """A random subset of entries: about `share` of those of present rows, at least one in each."""
    return present[rows] & ((rng.random(len(rows)) < share) | first_of_row(rows))


def per_row(how: np.ufunc, rows: Ints, values: NDArray[Any], n_rows: int, default: float) -> Floats:
    """Reduce the entries of every row; `default` where there are none. Result float64 of shape (n_rows,)."""
    out = np.full(n_rows, default, dtype=np.float64)
    if len(rows):
        starts = np.flatnonzero(first_of_row(rows))
        out[rows[starts]] = how.reduceat(values.astype(np.float64), starts)
    return out


EMPTY_SHARE = 0.025
"""Share of the present maps and lists that are empty: empty and absent are two different things."""


def ragged(
    rng: np.random.Generator,
    present: Mask,
    entries: Entries,
    vocabulary: Vocabulary,
    values: NDArray[Any] | None = None,
    *,
    as_struct: bool = False,
) -> Ragged:
    """Make the column of `entries`, null where not `present`, and empty a few of the present rows.

    Parameters
    ----------
    present : ndarray of shape (n_rows,), bool
        Rows that are not null; entries of other rows are dropped.
    entries : pair of ndarrays of shape (n_entries,)
        Rows (ascending) and codes.
    values : ndarray of shape (n_entries,) or None
        Numbers of a map; None makes a list of strings.
    """
    rows, codes = entries
    kept = (present & (rng.random(len(present)) >= EMPTY_SHARE))[rows]
    lengths = np.bincount(rows[kept], minlength=len(present))
    numbers = None if values is None else values[kept]
    return Ragged(present, offsets_of(lengths), codes[kept], vocabulary, numbers, as_struct)
