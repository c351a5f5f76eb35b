"""One ragged column becomes canonical entries: an Arrow array enters; counts, keys and numbers leave.

Canonical as `Columns` says: entries in order; a null key is dropped; a repeated key keeps its first place and its
last value; then null, NaN and infinite values are dropped. In a nested map this holds for the keys of both levels;
the outer value is the sum (histogram) or the maximum (timestamps) of its inner numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from app.features.columns import ABSENT, Floats, Ints
from app.features.history import canonical
from app.features.ragged import segment_max, segment_sum
from app.features.spec import Field
from training.data.arrow import Bools, Coded, coded, lists, numbers, pairs


@dataclass(frozen=True, slots=True)
class Entries:
    """The entries of one ragged field of n users.

    Parameters
    ----------
    counts : ndarray of shape (n,), int64
        `ABSENT` where the field is null.
    rows : ndarray of shape (n_entries,), int64
        The user of each entry, rising.
    keys : Coded of n_entries
        No code is -1.
    values : ndarray of shape (n_entries,), float64
        1.0 in a list of strings.
    inner_counts : ndarray of shape (n,), int64
        Numbers of a nested field, `ABSENT` where it is null; empty for others.
    inner_values : ndarray of shape (n_inner,), float64
        Row by row, outer key by outer key; empty for fields that are not nested.
    """

    counts: Ints
    rows: Ints
    keys: Coded
    values: Floats
    inner_counts: Ints
    inner_values: Floats


def read_entries(field: Field, array: pa.Array) -> Entries:
    """Bring a ragged column to canonical form.

    Parameters
    ----------
    field : Field
        Its kind names the meaning of `array`.
    array : pyarrow.Array of shape (n,)
        Map, list of (key, value) structs or list of strings, of the kind's types; or of null type.
    """
    outer = lists(array)
    if field.nested:
        return _nested(field, outer.lengths, outer.known, *pairs(outer.entries))
    if field.kind == "strings":
        keys, values = coded(outer.entries), np.ones(len(outer.entries))
    else:
        key_array, value_array = pairs(outer.entries)
        keys, values = coded(key_array), numbers(value_array)
    rows, codes, contents, lengths = _survivors(outer.lengths, keys, np.isfinite(values))
    kept = values if contents is None else values[contents]
    none = np.empty(0, dtype=np.int64)
    counts = np.where(outer.known, lengths, ABSENT)
    return Entries(counts, rows, Coded(codes, keys.uniques), kept, none, np.empty(0))


def ranges(starts: Ints, lengths: Ints) -> Ints:
    """Positions of several runs, one after the other.

    Parameters
    ----------
    starts, lengths : ndarray of shape (n,), int64

    Returns
    -------
    ndarray of shape (lengths.sum(),), int64
        starts[0], starts[0] + 1, …, starts[1], …
    """
    before = np.cumsum(lengths) - lengths
    run: Ints = np.arange(lengths.sum(), dtype=np.int64) + np.repeat(starts - before, lengths)
    return run


def _nested(field: Field, lengths: Ints, known: Bools, key_array: pa.Array, map_array: pa.Array) -> Entries:
    keys, maps = coded(key_array), lists(map_array)
    inner_lengths, inner_values = _inner(*pairs(maps.entries), maps.lengths)
    usable = maps.known & (inner_lengths > 0) if field.temporal else maps.known
    rows, codes, contents, outer_lengths = _survivors(lengths, keys, usable)
    if contents is not None:
        starts = np.cumsum(inner_lengths) - inner_lengths
        inner_values = inner_values[ranges(starts[contents], inner_lengths[contents])]
        inner_lengths = inner_lengths[contents]
    if field.temporal:
        values = segment_max(inner_values, inner_lengths, 0.0)
    else:
        values = segment_sum(inner_values, inner_lengths)
    inner_counts = np.bincount(rows, weights=inner_lengths, minlength=len(lengths)).astype(np.int64)
    return Entries(
        counts=np.where(known, outer_lengths, ABSENT),
        rows=rows,
        keys=Coded(codes, keys.uniques),
        values=canonical(values),
        inner_counts=np.where(known, inner_counts, ABSENT),
        inner_values=inner_values,
    )


def _inner(key_array: pa.Array, value_array: pa.Array, lengths: Ints) -> tuple[Ints, Floats]:
    values = numbers(value_array)
    _, _, contents, lengths = _survivors(lengths, coded(key_array), np.isfinite(values))
    return lengths, values if contents is None else values[contents]


def _survivors(lengths: Ints, keys: Coded, usable: Bools) -> tuple[Ints, Ints, Ints | None, Ints]:
    """Which entries stay.

    Parameters
    ----------
    lengths : (n,) entries of each row
    keys : Coded of n_entries
    usable : (n_entries,) whether the value may stay

    Returns
    -------
    rows, codes : (n_kept,) row and key of each entry that stays, in order of the first place of its key
    contents : (n_kept,) position of the entry that holds its last value; None where all stay as they are
    lengths : (n,) entries that stay
    """
    rows = np.repeat(np.arange(len(lengths)), lengths)
    codes = keys.codes
    names = rows * max(len(keys.uniques), 1) + codes  # one number a (row, key)
    if usable.all() and (codes >= 0).all() and not _repeats(names):
        return rows, codes, None, lengths
    places, contents = _first_and_last(names, np.flatnonzero(codes >= 0))
    stay = usable[contents]
    places, contents = places[stay], contents[stay]
    return rows[places], codes[places], contents, np.bincount(rows[places], minlength=len(lengths))


def _repeats(names: Ints) -> bool:
    ranked = np.sort(names)
    return bool((ranked[1:] == ranked[:-1]).any())


def _first_and_last(names: Ints, candidates: Ints) -> tuple[Ints, Ints]:
    """First and last position of every distinct name among the candidates, in the order of the first."""
    if not candidates.size:
        return candidates, candidates
    order = candidates[np.argsort(names[candidates], kind="stable")]
    changes = np.flatnonzero(np.diff(names[order]))
    firsts = order[np.append(0, changes + 1)]
    lasts = order[np.append(changes, len(order) - 1)]
    by_place = np.argsort(firsts)
    return firsts[by_place], lasts[by_place]
