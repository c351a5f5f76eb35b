"""A user's history: a mapping of raw fields enters, a canonical `History` leaves; `pack` writes its cache form.

A packed history is one buffer, little-endian, under the layout's fingerprint, before any vocabulary:

    magic 4 · fingerprint 16 · as_of int64 · n_values uint32 · numbers float64[n_user_numbers]
    · values float64[n_values] · counts int32[n_segments] · length of each text int32 · texts UTF-8

The texts are the user's own (`layout.user_texts`), then the keys of every keyed field in order; their values lie in
`values` already. A text's length counts code points, so that all are decoded at once; -1 is unknown. Every float64 lies
on a multiple of 8 bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final, cast

import numpy as np

from app.features.columns import ABSENT, FLOAT32_MAX, Floats
from app.features.layout import Layout
from app.features.ragged import segment_max, segment_sum

MAGIC: Final = b"PLH1"  # the last byte is the format's version
FINGERPRINT_BYTES: Final = 16
AS_OF_OFFSET: Final = len(MAGIC) + FINGERPRINT_BYTES  # little-endian int64, read by the compare-and-set script
_HEADER: Final = struct.Struct("<4s16sqI")
_NO_AS_OF: Final = -(2**63)


@dataclass(slots=True, eq=False)
class History:
    """What is known of a user, canonical and independent of the request, the time and the bundle. Never changed.

    Parameters
    ----------
    scalars : ndarray of shape (len(layout.user_numbers) + len(layout.segments),), float64
        The user's numbers (NaN is missing, timestamps in unix seconds), then the count of each segment as in
        `Columns.counts`: one array, so that a batch takes it over in one step.
    texts : tuple of (str or None), one per layout.user_texts
    values : ndarray of shape (n_values,), float64
        Segment by segment.
    maps : tuple of (dict of str to float, or None), one per layout.keyed
        Outer value by key (1.0 in a list of strings), in the order of `values`; None where the field is unknown.
        `assemble` clips what is looked up, so that a number as written serves.
    as_of : int or None
        Unix seconds at which the history was true.
    empty : bool
        Whether nothing is known at all: a known new user.
    """

    scalars: Floats
    texts: tuple[str | None, ...]
    values: Floats
    maps: tuple[dict[str, float] | None, ...]
    as_of: int | None
    empty: bool


def parse_history(layout: Layout, raw: Mapping[str, Any]) -> History:
    """Bring a validated history to canonical form.

    Parameters
    ----------
    layout : Layout
    raw : mapping of field name to value
        Numbers, texts, dicts or sequences of (key, value) pairs, lists of str; a nested field maps to dicts or pairs
        again. None anywhere means unknown. `as_of` is optional.

    Returns
    -------
    History
    """
    found: History | None = None if layout.parse is None else layout.parse(raw)
    return _parse(layout, raw) if found is None else found


def _parse(layout: Layout, raw: Mapping[str, Any]) -> History:
    get = raw.get
    maps: dict[str, dict[str, Any]] = {}
    counts: list[int] = []
    outer: list[Any] = []
    inner_counts: list[int] = []
    inner: list[Any] = []
    for name, nested, temporal in layout.numeric_shapes:
        value = get(name)
        if value is None:
            counts.append(ABSENT)
            if nested:
                inner_counts.append(ABSENT)
            continue
        entries = value if type(value) is dict else dict(value)
        if nested:
            entries, numbers = _flatten(entries, temporal)
            inner_counts.append(len(numbers))
            inner += numbers
        maps[name] = entries
        counts.append(len(entries))
        outer += entries.values()
    counts += inner_counts
    for name in layout.string_names:
        value = get(name)
        if value is None:
            counts.append(ABSENT)
            continue
        maps[name] = entries = dict.fromkeys(value, 1.0)
        entries.pop(None, None)
        counts.append(len(entries))
    outer += inner
    values = canonical(np.array(outer, dtype=np.float64))
    if np.isnan(values).any():  # null entries are rare: the common path pays for one check only
        return _parse(layout, _without_nulls(layout, raw))
    own: list[Any] = [get(name) for name in layout.user_number_names]
    texts = tuple([get(name) for name in layout.user_text_names])
    known = bool(maps) or any(n is not None and n == n for n in own) or texts.count(None) < len(texts)
    return History(
        scalars=canonical(np.array(own + counts, dtype=np.float64)),
        texts=texts,
        values=values,
        maps=tuple([maps.get(name) for name in layout.keyed_names]),
        as_of=get("as_of"),
        empty=not known,
    )


def canonical(values: Floats) -> Floats:
    """Clip to the float32 range and turn -0.0 into +0.0; NaN stays. Any shape."""
    return np.minimum(np.maximum(values, -FLOAT32_MAX), FLOAT32_MAX) + 0.0


def _flatten(entries: Mapping[str, Any], temporal: bool) -> tuple[dict[str, float], list[float]]:
    """A twice-nested map as its outer values by key, and all inner numbers in order."""
    rows = {k: _numbers(v) for k, v in entries.items() if v is not None}
    if temporal:  # without a time there is nothing to remember of a key
        rows = {k: v for k, v in rows.items() if v}
    lengths = np.array([len(v) for v in rows.values()], dtype=np.int64)
    numbers = [n for row in rows.values() for n in row]
    values = canonical(np.array(numbers, dtype=np.float64))
    totals = segment_max(values, lengths, 0.0) if temporal else segment_sum(values, lengths)
    return dict(zip(rows, totals.tolist(), strict=True)), numbers


def _numbers(entries: Any) -> list[float]:
    mapping = entries if type(entries) is dict else dict(entries)
    return [v for v in mapping.values() if v is not None and v == v]


def _without_nulls(layout: Layout, raw: Mapping[str, Any]) -> dict[str, Any]:
    """The same history with null and NaN entries of its maps dropped."""
    clean = dict(raw)
    for field in layout.ragged:
        value = raw.get(field.name)
        if value is not None and field.kind != "strings" and not field.nested:
            clean[field.name] = {k: v for k, v in dict(value).items() if v is not None and v == v}
    return clean


def pack(layout: Layout, history: History) -> bytes:
    """One buffer that `unpack` turns back into the same history, bit for bit."""
    texts = [*history.texts, *(k for entries in history.maps if entries is not None for k in entries)]
    n_numbers = len(layout.user_numbers)
    as_of = _NO_AS_OF if history.as_of is None else history.as_of
    return b"".join(
        (
            _HEADER.pack(MAGIC, _fingerprint(layout), as_of, len(history.values)),
            history.scalars[:n_numbers].tobytes(),
            history.values.tobytes(),
            history.scalars[n_numbers:].astype("<i4").tobytes(),
            np.array([-1 if t is None else len(t) for t in texts], dtype="<i4").tobytes(),
            "".join(t for t in texts if t is not None).encode(),
        )
    )


def packed_as_of(blob: bytes) -> int | None:
    """The `as_of` of a packed history in unix seconds, read from its header alone.

    Raises
    ------
    ValueError
        The buffer is no packed history.
    """
    if len(blob) < _HEADER.size or blob[: len(MAGIC)] != MAGIC:
        raise ValueError(f"packed history: expected the header {MAGIC!r}, received {len(blob)} other bytes")
    as_of: int = _HEADER.unpack_from(blob)[2]
    return None if as_of == _NO_AS_OF else as_of


def unpack(layout: Layout, blob: bytes) -> History:
    """The history of a packed buffer.

    Raises
    ------
    ValueError
        In one line: a foreign or older format, another declaration, a truncated buffer.
    """
    as_of = packed_as_of(blob)
    _, fingerprint, _, n_values = _HEADER.unpack_from(blob)
    if fingerprint != _fingerprint(layout):
        raise ValueError("packed history: written under another declaration")
    try:
        return _read(layout, blob, n_values, as_of)
    except (ValueError, IndexError, OverflowError, StopIteration) as fault:
        raise ValueError(f"packed history: truncated or damaged, {len(blob)} bytes") from fault


def _read(layout: Layout, blob: bytes, n_values: int, as_of: int | None) -> History:
    n_numbers, n_segments, n_own = len(layout.user_numbers), len(layout.segments), len(layout.user_texts)
    numbers = np.frombuffer(blob, "<f8", n_numbers, _HEADER.size)
    at = _HEADER.size + 8 * n_numbers
    values = np.frombuffer(blob, "<f8", n_values, at)
    at += 8 * n_values
    counts = np.frombuffer(blob, "<i4", n_segments, at)
    at += 4 * n_segments
    sizes: list[int] = counts.tolist()
    keyed = [sizes[i] for i in layout.keyed_segments]
    lengths: list[int] = np.frombuffer(blob, "<i4", n_own + sum([n for n in keyed if n > 0]), at).tolist()
    texts = _cut(blob[at + 4 * len(lengths) :].decode(), lengths)
    if sum([n for n in sizes[: layout.n_numeric] if n > 0]) != n_values or min(sizes, default=0) < ABSENT:
        raise ValueError
    own = tuple(texts[:n_own])
    known = max(sizes, default=ABSENT) >= 0 or bool((numbers == numbers).any()) or own.count(None) < n_own
    maps = _maps(layout, sizes, keyed, values.tolist(), texts[n_own:])
    return History(np.concatenate((numbers, counts)), own, values, tuple(maps), as_of, not known)


def _cut(text: str, lengths: Sequence[int]) -> list[str | None]:
    """The texts that lie one behind the other, None for each length below 0."""
    out: list[str | None] = []
    start = 0
    for length in lengths:
        if length < 0:
            out.append(None)
        else:
            out.append(text[start : start + length])
            start += length
    if start != len(text):
        raise ValueError
    return out


def _maps(
    layout: Layout, sizes: Sequence[int], keyed: Sequence[int], values: Sequence[float], keys: Sequence[str | None]
) -> list[dict[str, float] | None]:
    starts = list(accumulate([n if n > 0 else 0 for n in sizes[: layout.n_numeric]], initial=0))
    out: list[dict[str, float] | None] = []
    at = 0
    for segment, count in zip(layout.keyed_segments, keyed, strict=True):
        if count < 0:
            out.append(None)
            continue
        own = cast("Sequence[str]", keys[at : at + count])
        at += count
        if segment < layout.n_numeric:
            out.append(dict(zip(own, values[starts[segment] : starts[segment] + count], strict=True)))
        else:
            out.append(dict.fromkeys(own, 1.0))
    return out


def _fingerprint(layout: Layout) -> bytes:
    return bytes.fromhex(layout.fingerprint)[:FINGERPRINT_BYTES]
