"""Record batches become `Columns`, and several `Columns` one: canonical arrays enter, one batch leaves.

The offline half of the meeting point: `app.features.parsing.assemble` builds the same batch from JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import accumulate
from typing import Any, Final, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from app.errors import DataError
from app.features.columns import NOT_FOUND, Columns, Floats, Ints, Texts, hour_key
from app.features.layout import Layout
from app.features.spec import Field, HistoryState, Lookup
from training.data.arrow import Coded, coded, numbers, positions
from training.data.entries import Entries, read_entries

T = TypeVar("T")
BLOCK_ROWS: Final = 1024


def read_columns(batch: pa.RecordBatch | pa.Table, layout: Layout, now: int) -> Columns:
    """Turn a batch of one hour's rows into `Columns`; every row is a request with one campaign.

    Parameters
    ----------
    batch : pyarrow.RecordBatch or pyarrow.Table of n rows
        Holds every declared column.
    layout : Layout
    now : int
        The hour, unix seconds.

    Returns
    -------
    Columns
        `segment_major`. The state is PRESENT where anything of the user is known, else NEW.

    Raises
    ------
    DataError
        Naming the column that can not be read.
    """
    number = {f.name: _read(batch, f, numbers) for f in (*layout.numbers, *layout.campaign_numbers)}
    text = {f.name: _read(batch, f, coded) for f in (*layout.texts, *layout.campaign_texts)}
    ragged = {f.name: _read(batch, f, partial(read_entries, f)) for f in layout.ragged}
    counts = _table([_counts(ragged[s.field.name], s.inner) for s in layout.segments], batch.num_rows)
    keys = {**text, **_clock(now, batch.num_rows)}
    return Columns(
        owner=np.arange(batch.num_rows, dtype=np.int64),
        now=np.full(batch.num_rows, float(now)),
        state=_state(layout, number, text, counts),
        numbers=_table([number[f.name] for f in layout.numbers], batch.num_rows),
        campaign_numbers=_table([number[f.name] for f in layout.campaign_numbers], batch.num_rows),
        texts=_texts(layout.texts, text, batch.num_rows),
        campaign_texts=_texts(layout.campaign_texts, text, batch.num_rows),
        counts=counts.astype(np.int64, copy=False),
        values=_values(layout, ragged),
        segment_major=True,
        user_lookups=_lookups(layout.user_lookups, ragged, keys, batch.num_rows),
        row_lookups=_lookups(layout.row_lookups, ragged, keys, batch.num_rows),
    )


def concatenate(batches: Sequence[Columns]) -> Columns:
    """Put batches one after the other, their text dictionaries merged.

    Parameters
    ----------
    batches : sequence of Columns, length ≥ 1
        Of one layout; all `segment_major` or none.

    Raises
    ------
    ValueError
        There is no batch, or the order of their values differs.
    """
    if len({b.segment_major for b in batches}) != 1:
        raise ValueError(f"concatenate: expected one order of values, received {len(batches)} batches of several")
    if len(batches) == 1:
        return batches[0]
    shifts = accumulate((b.n_users for b in batches), initial=0)
    return Columns(
        owner=np.concatenate([b.owner + shift for b, shift in zip(batches, shifts, strict=False)]),
        now=np.concatenate([b.now for b in batches]),
        state=np.concatenate([b.state for b in batches]),
        numbers=np.concatenate([b.numbers for b in batches]),
        campaign_numbers=np.concatenate([b.campaign_numbers for b in batches]),
        texts=merge_texts([b.texts for b in batches]),
        campaign_texts=merge_texts([b.campaign_texts for b in batches]),
        counts=np.concatenate([b.counts for b in batches]),
        values=np.concatenate(_values_in_order(batches)),
        segment_major=batches[0].segment_major,
        user_lookups=np.concatenate([b.user_lookups for b in batches]),
        row_lookups=np.concatenate([b.row_lookups for b in batches]),
    )


def cells(texts: Texts, column: int) -> NDArray[np.object_]:
    """(n,) the texts of one column as objects, None where missing; for cohorts and reports."""
    start, stop = texts.starts[column], texts.starts[column + 1]
    entries = np.array([*texts.entries[start:stop], None], dtype=object)
    chosen: NDArray[np.object_] = entries[texts.codes[:, column] - start]
    return chosen


@contextmanager
def naming(column: str) -> Iterator[None]:
    """Turn what Arrow has against a column into one line that names it."""
    try:
        yield
    except (pa.ArrowException, UnicodeDecodeError) as fault:
        reason = str(fault).split("\n", 1)[0] if isinstance(fault, pa.ArrowException) else "invalid UTF-8"
        raise DataError(f"{column}: expected readable values, received {reason}") from fault


def whole(batch: pa.RecordBatch | pa.Table, column: str) -> pa.Array:
    """A column as one array, its chunks joined."""
    array = batch.column(column)
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _read(batch: pa.RecordBatch | pa.Table, field: Field, reader: Callable[[pa.Array], T]) -> T:
    with naming(field.name):
        return reader(whole(batch, field.name))


def _counts(entries: Entries, inner: bool) -> Ints:
    return entries.inner_counts if inner else entries.counts


def _table(columns: Sequence[NDArray[Any]], n: int) -> NDArray[Any]:
    """(n, n_columns) in C order, turned block by block: one block stays in the processor's cache."""
    table = np.empty((n, len(columns)), dtype=columns[0].dtype if columns else np.float64)
    for start in range(0, n if columns else 0, BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        table[rows] = np.array([column[rows] for column in columns]).T
    return table


def _state(layout: Layout, number: Mapping[str, Floats], text: Mapping[str, Coded], counts: Ints) -> Ints:
    known = (counts >= 0).any(axis=1)
    for field in layout.user_numbers:
        known |= ~np.isnan(number[field.name])
    for field in layout.user_texts:
        known |= text[field.name].codes >= 0
    return np.where(known, HistoryState.PRESENT, HistoryState.NEW).astype(np.int64)


def _values(layout: Layout, ragged: Mapping[str, Entries]) -> Floats:
    parts = [
        ragged[s.field.name].inner_values if s.inner else ragged[s.field.name].values
        for s in layout.segments[: layout.n_numeric]
    ]
    return np.concatenate([np.empty(0), *parts])


def _clock(now: int, n: int) -> dict[str, Coded]:
    """The hour's and the weekday's text as columns of one entry."""
    same = np.zeros(n, dtype=np.int64)
    return {name: Coded(same, pa.array([key], pa.large_string())) for name, key in hour_key(now).items()}


def _lookups(lookups: Sequence[Lookup], ragged: Mapping[str, Entries], keys: Mapping[str, Coded], n: int) -> Floats:
    return _table([_look_up(ragged[k.field], keys[k.key]) for k in lookups], n)


def _look_up(entries: Entries, key: Coded) -> Floats:
    """(n,) the value under each row's own key: two dictionaries are matched, then codes are compared."""
    found = np.where((entries.counts >= 0) & (key.codes >= 0), NOT_FOUND, np.nan)
    wanted = positions(entries.keys.uniques, among=key.uniques, missing=-2)[entries.keys.codes]
    hits = np.flatnonzero(wanted == key.codes[entries.rows])
    found[entries.rows[hits]] = entries.values[hits]
    return found


def _texts(fields: Sequence[Field], text: Mapping[str, Coded], n: int) -> Texts:
    entries: list[str | None] = []
    starts, columns = [0], []
    for field in fields:
        with naming(field.name):
            codes, own = _used(text[field.name])
        columns.append(codes + starts[-1])
        entries += [*own, None]
        starts.append(len(entries))
    return Texts(entries, starts, _table(columns, n).astype(np.int64, copy=False))


def _used(text: Coded) -> tuple[Ints, list[str]]:
    """Codes and texts without the entries that no row uses; a missing text gets the code after the last."""
    used = np.bincount(text.codes + 1, minlength=len(text.uniques) + 1)[1:] > 0
    new = np.append(np.cumsum(used) - 1, used.sum())
    return new[text.codes], text.uniques.filter(pa.array(used)).to_pylist()


def _values_in_order(batches: Sequence[Columns]) -> list[Floats]:
    """Values of the batches; `segment_major` ones are cut so that each segment's parts follow one another.

    Lists of strings have counts but no values and come last: their cuts lie past the end and are empty.
    """
    if not batches[0].segment_major:
        return [b.values for b in batches]
    n_segments = batches[0].counts.shape[1]
    cuts = [np.append(0, np.maximum(b.counts, 0).sum(axis=0).cumsum()) for b in batches]
    return [b.values[c[s] : c[s + 1]] for s in range(n_segments) for b, c in zip(batches, cuts, strict=True)]


def merge_texts(parts: Sequence[Texts], codes_as: type[np.signedinteger[Any]] = np.int64) -> Texts:
    """Text blocks one after the other, each column with one dictionary: its entries in the order they first came.

    Parameters
    ----------
    parts : sequence of Texts, length ≥ 1
        Of the same columns.
    codes_as : type
        Of the codes.
    """
    n_columns = parts[0].codes.shape[1]
    codes: NDArray[Any] = np.empty((sum(len(p.codes) for p in parts), n_columns), dtype=codes_as)
    entries: list[str | None] = []
    starts = [0]
    for column in range(n_columns):
        index: dict[str | None, int] = {}
        places = [_places(part, column, index) for part in parts]
        codes[:, column] = np.concatenate(places) + len(entries)
        entries += index
        starts.append(len(entries))
    return Texts(entries, starts, codes)


def _places(part: Texts, column: int, index: dict[str | None, int]) -> Ints:
    """Codes of one column in the growing dictionary `index`."""
    start, stop = part.starts[column], part.starts[column + 1]
    new = np.array([index.setdefault(t, len(index)) for t in part.entries[start:stop]], dtype=np.int64)
    merged: Ints = new[part.codes[:, column] - start]
    return merged
