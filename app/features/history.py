"""A user's history: a mapping of raw fields enters, a packed `History` leaves; `unpack` takes one apart again.

A history is one buffer, little-endian, under the layout's fingerprint, before any vocabulary. It is what the caches
keep and what the compiled twin of the features reads in place:

    magic 4 · fingerprint 16 · as_of int64 · n_values uint32 · width 1 · known 1 · zeros 6
    · numbers float64[n_user_numbers] · values float64[n_values]
    · counts[n_segments] · length of each text · texts UTF-8

The texts are the user's own (`layout.user_texts`), then the keys of every keyed field in order; their values lie in
`values` already. Counts and lengths (in bytes) are unsigned integers of `width` bytes, 1 or 4, and kept one higher, so
that 0 is unknown. Every float64 lies on a multiple of 8 bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

import numpy as np

from app.features.columns import ABSENT, FLOAT32_MAX, Floats
from app.features.layout import Layout
from app.features.ragged import segment_max, segment_sum

MAGIC: Final = b"PLH2"  # the last byte is the format's version
FINGERPRINT_BYTES: Final = 16
AS_OF_OFFSET: Final = len(MAGIC) + FINGERPRINT_BYTES  # little-endian int64, read by the compare-and-set script
_HEADER: Final = struct.Struct("<4s16sqIB?6x")
_NO_AS_OF: Final = -(2**63)
_NARROW: Final = 255  # counts and lengths below it fit into one byte


@dataclass(slots=True, eq=False)
class History:
    """What is known of a user, independent of the request, the time and the bundle. Never changed.

    Parameters
    ----------
    packed : bytes
    as_of : int or None
        Unix seconds at which the history was true.
    empty : bool
        Whether nothing is known at all: a known new user.
    """

    packed: bytes
    as_of: int | None
    empty: bool


@dataclass(slots=True, eq=False)
class Content:
    """A history taken apart, in canonical form.

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
    """

    scalars: Floats
    texts: tuple[str | None, ...]
    values: Floats
    maps: tuple[dict[str, float] | None, ...]


def parse_history(layout: Layout, raw: Mapping[str, Any]) -> History:
    """Bring a validated history to canonical form. The compiled twin (`app.features.histories`) does the same to JSON.

    Parameters
    ----------
    layout : Layout
    raw : mapping of field name to value
        Numbers, texts, dicts or sequences of (key, value) pairs, lists of str; a nested field maps to dicts or pairs
        again. None anywhere means unknown. `as_of` (int) is optional.

    Returns
    -------
    History
    """
    return _pack(layout, _parse(layout, raw), raw.get("as_of"))


def _parse(layout: Layout, raw: Mapping[str, Any]) -> Content:
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
        else:
            entries = {k: v for k, v in entries.items() if v is not None and v == v}
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
    own: list[Any] = [get(name) for name in layout.user_number_names]
    return Content(
        scalars=canonical(np.array(own + counts, dtype=np.float64)),
        texts=tuple([get(name) for name in layout.user_text_names]),
        values=canonical(np.array(outer, dtype=np.float64)),
        maps=tuple([maps.get(name) for name in layout.keyed_names]),
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


def _known(layout: Layout, content: Content) -> bool:
    n_numbers = len(layout.user_numbers)
    numbers, counts = content.scalars[:n_numbers], content.scalars[n_numbers:]
    return bool((numbers == numbers).any() or (counts >= 0).any()) or content.texts.count(None) < len(content.texts)


def _pack(layout: Layout, content: Content, as_of: int | None) -> History:
    keys = [k for entries in content.maps if entries is not None for k in entries]
    texts = [None if t is None else t.encode() for t in (*content.texts, *keys)]
    n_numbers = len(layout.user_numbers)
    counts = content.scalars[n_numbers:].astype(np.int64)
    lengths = np.array([ABSENT if t is None else len(t) for t in texts], dtype=np.int64)
    width = 1 if max(counts.max(initial=0), lengths.max(initial=0)) < _NARROW else 4
    known, stamp = _known(layout, content), _NO_AS_OF if as_of is None else as_of
    packed = b"".join(
        (
            _HEADER.pack(MAGIC, _fingerprint(layout), stamp, len(content.values), width, known),
            content.scalars[:n_numbers].tobytes(),
            content.values.tobytes(),
            (counts + 1).astype(f"<u{width}").tobytes(),
            (lengths + 1).astype(f"<u{width}").tobytes(),
            *(t for t in texts if t is not None),
        )
    )
    return History(packed, as_of, not known)


def held_history(packed: bytes) -> History:
    """The history of a buffer that this process has packed, or checked, itself.

    Raises
    ------
    ValueError
        The buffer is no packed history.
    """
    if len(packed) < _HEADER.size or packed[: len(MAGIC)] != MAGIC:
        raise ValueError(f"packed history: expected the header {MAGIC!r}, received {len(packed)} other bytes")
    _, _, as_of, _, _, known = _HEADER.unpack_from(packed)
    return History(packed, None if as_of == _NO_AS_OF else as_of, not known)


def read_history(layout: Layout, packed: bytes) -> History:
    """The history of a buffer from elsewhere, every part of it checked.

    Raises
    ------
    ValueError
        In one line: a foreign or older format, another declaration, a truncated or damaged buffer.
    """
    history = held_history(packed)
    if layout.histories is None:
        unpack(layout, packed)
    elif not layout.histories.sound(packed):
        unpack(layout, packed)  # which says why
        raise ValueError(f"packed history: truncated or damaged, {len(packed)} bytes")
    return history


def unpack(layout: Layout, packed: bytes) -> Content:
    """What a packed history holds.

    Raises
    ------
    ValueError
        As `read_history`.
    """
    history = held_history(packed)
    _, fingerprint, _, n_values, width, _ = _HEADER.unpack_from(packed)
    if fingerprint != _fingerprint(layout):
        raise ValueError("packed history: written under another declaration")
    try:
        content = _read(layout, packed, n_values, width)
    except (ValueError, IndexError, StopIteration) as fault:
        raise ValueError(f"packed history: truncated or damaged, {len(packed)} bytes") from fault
    if _known(layout, content) == history.empty:
        raise ValueError("packed history: damaged, it says otherwise of whether anything is known")
    return content


def _read(layout: Layout, packed: bytes, n_values: int, width: int) -> Content:
    if width not in (1, 4):
        raise ValueError
    n_numbers, n_segments, n_own = len(layout.user_numbers), len(layout.segments), len(layout.user_texts)
    floats = np.frombuffer(packed, "<f8", n_numbers + n_values, _HEADER.size)
    numbers, values = floats[:n_numbers], floats[n_numbers:]
    at = _HEADER.size + floats.nbytes
    counts = np.frombuffer(packed, f"<u{width}", n_segments, at).astype(np.int64) - 1
    at += width * n_segments
    sizes: list[int] = counts.tolist()
    keyed = [sizes[i] for i in layout.keyed_segments]
    n_texts = n_own + sum([n for n in keyed if n > 0])
    lengths = np.frombuffer(packed, f"<u{width}", n_texts, at).astype(np.int64) - 1
    texts = _cut(packed[at + width * n_texts :], lengths.tolist())
    if sum([n for n in sizes[: layout.n_numeric] if n > 0]) != n_values or None in texts[n_own:]:
        raise ValueError
    if np.isinf(numbers).any() or not np.isfinite(values).all():
        raise ValueError
    maps = _maps(layout, sizes, keyed, values.tolist(), texts[n_own:])
    return Content(np.concatenate((numbers, counts)), tuple(texts[:n_own]), values, tuple(maps))


def _cut(text: bytes, lengths: Sequence[int]) -> list[str | None]:
    """The texts that lie one behind the other, None for each length below 0."""
    out: list[str | None] = []
    start = 0
    for length in lengths:
        if length < 0:
            out.append(None)
        else:
            out.append(text[start : start + length].decode())
            start += length
    if start != len(text):
        raise ValueError
    return out


def _maps(
    layout: Layout, sizes: Sequence[int], keyed: Sequence[int], values: Sequence[float], keys: Sequence[Any]
) -> list[dict[str, float] | None]:
    starts = list(accumulate([n if n > 0 else 0 for n in sizes[: layout.n_numeric]], initial=0))
    out: list[dict[str, float] | None] = []
    at = 0
    for segment, count in zip(layout.keyed_segments, keyed, strict=True):
        if count < 0:
            out.append(None)
            continue
        own = keys[at : at + count]
        at += count
        if segment < layout.n_numeric:
            out.append(dict(zip(own, values[starts[segment] : starts[segment] + count], strict=True)))
        else:
            out.append(dict.fromkeys(own, 1.0))
    return out


def _fingerprint(layout: Layout) -> bytes:
    return bytes.fromhex(layout.fingerprint)[:FINGERPRINT_BYTES]
