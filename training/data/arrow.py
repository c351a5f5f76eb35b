"""Arrow arrays become flat buffers: an array enters; numbers, texts by dictionary or lists leave.

No Python object is made a row. Every physical encoding of the same thing gives the same buffers: map or list of
structs, 32- or 64-bit offsets, plain, view or dictionary-encoded strings, numbers of any width, slices, a null list
that still covers entries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from app.features.columns import Floats, Ints
from app.features.history import canonical

TICKS_PER_SECOND: Final = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Coded:
    """Texts by dictionary: `uniques[codes]`.

    Parameters
    ----------
    codes : ndarray of shape (n,), int64
        -1 where the text is null.
    uniques : pyarrow.LargeStringArray
        Distinct, without null.
    """

    codes: Ints
    uniques: pa.Array


@dataclass(frozen=True, slots=True)
class Lists:
    """Lists as lengths and one flat array.

    Parameters
    ----------
    lengths : ndarray of shape (n,), int64
        Entries of each list; 0 where it is null.
    known : ndarray of shape (n,), bool
        False where the list is null.
    entries : pyarrow.Array of length lengths.sum()
    """

    lengths: Ints
    known: Bools
    entries: pa.Array


def is_text(kind: pa.DataType) -> bool:
    """Whether an array of this type holds texts, in any encoding; one of null type does (all missing)."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    checks = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
    return any(check(kind) for check in checks)


def is_number(kind: pa.DataType, temporal: bool) -> bool:
    """Whether an array of this type holds numbers; instants count as numbers of seconds where `temporal`."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    checks = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_null)
    instant = pa.types.is_timestamp(kind) or pa.types.is_date(kind)
    return any(check(kind) for check in checks) or (temporal and instant)


def is_list(kind: pa.DataType) -> bool:
    """Whether an array of this type is a map or a list with offsets."""
    return bool(pa.types.is_map(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind))


def pair_types(kind: pa.DataType) -> tuple[pa.DataType, pa.DataType] | None:
    """Types of key and value of a map or a list of two-field structs; None where it is neither."""
    if not is_list(kind):
        return None
    entry = kind.value_type if not pa.types.is_map(kind) else pa.struct([kind.key_field, kind.item_field])
    if pa.types.is_null(entry):
        return entry, entry
    if not pa.types.is_struct(entry) or entry.num_fields != 2:
        return None
    return entry.field(0).type, entry.field(1).type


def numbers(array: pa.Array) -> Floats:
    """Numbers in canonical form.

    Parameters
    ----------
    array : pyarrow.Array of shape (n,)
        Integers, floats, decimals, instants or nulls; may be dictionary-encoded.

    Returns
    -------
    ndarray of shape (n,), float64
        Instants as unix seconds. NaN where null, NaN or infinite; else clipped to the float32 range, and -0.0
        is +0.0.
    """
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    per_second = 1.0
    if pa.types.is_date(array.type):
        array = array.cast(pa.timestamp("s"))
    if pa.types.is_timestamp(array.type):
        per_second = TICKS_PER_SECOND[array.type.unit]
        array = array.cast(pa.int64())
    if pa.types.is_decimal(array.type):  # the direct cast is off by one bit for -12.45
        array = array.cast(pa.string())
    values = array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    if per_second != 1.0:
        values = values / per_second
    if np.isinf(values).any():
        values = np.where(np.isinf(values), np.nan, values)
    return canonical(values)


def coded(array: pa.Array) -> Coded:
    """Texts by dictionary; the dictionary of the file is used where there is one.

    Parameters
    ----------
    array : pyarrow.Array of shape (n,)
        Texts or nulls in any encoding.
    """
    if pa.types.is_null(array.type):
        return Coded(np.full(len(array), -1, dtype=np.int64), pa.array([], pa.large_string()))
    if not pa.types.is_dictionary(array.type):
        array = array.dictionary_encode()
    codes = _filled(array.indices)
    uniques = array.dictionary.cast(pa.large_string()).dictionary_encode()
    if len(uniques.dictionary) < len(uniques):  # a foreign dictionary may repeat a text or hold a null
        codes = np.append(_filled(uniques.indices), -1)[codes]
    return Coded(codes, uniques.dictionary)


def _filled(indices: pa.Array) -> Ints:
    if indices.null_count:
        indices = pc.fill_null(indices.cast(pa.int64()), -1)
    filled: Ints = indices.to_numpy(zero_copy_only=False).astype(np.int64, copy=False)
    return filled


def positions(texts: pa.Array, among: pa.Array, missing: int) -> Ints:
    """Where each text stands in another dictionary.

    Parameters
    ----------
    texts, among : pyarrow.LargeStringArray
    missing : int
        The answer for a text that is not there.

    Returns
    -------
    ndarray of shape (len(texts),), int64
    """
    found: Ints = pc.fill_null(pc.index_in(texts, value_set=among), missing).to_numpy().astype(np.int64)
    return found


def lists(array: pa.Array) -> Lists:
    """Lists or maps as lengths and flat entries, without what slices and null lists leave out.

    Parameters
    ----------
    array : pyarrow.Array of shape (n,)
        Map, list or large list; or of null type: all lists are null.
    """
    n = len(array)
    if n == 0 or pa.types.is_null(array.type):
        kind = pa.null() if pa.types.is_null(array.type) else array.values.type
        return Lists(np.zeros(n, dtype=np.int64), np.zeros(n, dtype=bool), pa.nulls(0, kind))
    offsets = array.offsets.to_numpy()
    lengths = np.diff(offsets).astype(np.int64)
    entries = array.values.slice(offsets[0], offsets[-1] - offsets[0])
    if not array.null_count:
        return Lists(lengths, np.ones(n, dtype=bool), entries)
    known: Bools = array.is_valid().to_numpy(zero_copy_only=False)
    if lengths[~known].any():
        entries = entries.filter(pa.array(np.repeat(known, lengths)))
        lengths = np.where(known, lengths, 0)
    return Lists(lengths, known, entries)


def pairs(entries: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Keys and values of the entries of a map, both null where the whole entry is."""
    if pa.types.is_null(entries.type):
        return entries, entries
    keys, values = entries.flatten()
    return keys, values
