"""Requests become `Columns`: a few parsed requests enter, one canonical batch leaves. Offline, Arrow does the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np

from app.features.columns import NOT_FOUND, Columns, Floats, Texts, hour_key
from app.features.history import Content, History, canonical, parse_history, unpack
from app.features.layout import Layout
from app.features.spec import HistoryState

NAN: Final = float("nan")


@dataclass(slots=True)
class RawRequest:
    """One request as raw columns.

    Parameters
    ----------
    now : int
        Unix seconds, a full hour.
    request : mapping of str to (float, str or None)
        Request columns by name; an absent name is missing.
    campaigns : sequence of mappings, length ≥ 1
        Campaign columns by name, one mapping a row.
    history : History or None
        None unless the state is PRESENT or NEW.
    state : HistoryState
    """

    now: int
    request: Mapping[str, Any]
    campaigns: Sequence[Mapping[str, Any]]
    history: History | None
    state: HistoryState


def floor_hour(ts: float) -> int:
    """The full hour at or before `ts` (unix seconds): the now of every recency."""
    return int(ts) // 3600 * 3600


def request_from_json(layout: Layout, obj: Mapping[str, Any]) -> RawRequest:
    """Read a raw row of `golden.jsonl`.

    Parameters
    ----------
    obj : mapping
        `now`, `request`, `campaigns`, `history` (mapping or None) and `state` (a `HistoryState` label).
    """
    history, state = obj.get("history"), HistoryState[obj["state"].upper()]
    known = state in (HistoryState.PRESENT, HistoryState.NEW)
    parsed = parse_history(layout, history or {}) if known else None
    return RawRequest(int(obj["now"]), obj["request"], obj["campaigns"], parsed, state)


def assemble(layout: Layout, requests: Sequence[RawRequest]) -> Columns:
    """Put requests into one batch.

    Parameters
    ----------
    layout : Layout
    requests : sequence of RawRequest, length ≥ 1

    Returns
    -------
    Columns
        Users in the order of the requests, rows in the order of their campaigns, values user by user.
    """
    unknown = unknown_history(layout)
    histories = [unpack(layout, (r.history or unknown).packed) for r in requests]
    campaigns = [c for r in requests for c in r.campaigns]
    n_users, n_rows = len(requests), len(campaigns)
    user, row = _user_records(layout, requests, histories), _row_records(layout, requests, histories, n_rows)
    n_numbers, n_campaign = len(layout.numbers), len(layout.campaign_numbers)
    counts = 2 + n_numbers
    lookups = counts + len(layout.segments)
    return Columns(
        owner=np.arange(n_users).repeat([len(r.campaigns) for r in requests]),
        now=user[:, 0],
        state=user[:, 1].astype(np.int64),
        numbers=user[:, 2:counts],
        campaign_numbers=row[:, :n_campaign],
        texts=_texts(
            [[r.request.get(name) for r in requests] for name in layout.request_text_names]
            + [[h.texts[j] for h in histories] for j in range(len(layout.user_texts))],
            n_users,
        ),
        campaign_texts=_texts([[c.get(name) for c in campaigns] for name in layout.campaign_text_names], n_rows),
        counts=user[:, counts:lookups].astype(np.int64),
        values=histories[0].values if n_users == 1 else np.concatenate([h.values for h in histories]),
        segment_major=False,
        user_lookups=user[:, lookups:],
        row_lookups=row[:, n_campaign:],
    )


@lru_cache(maxsize=8)
def unknown_history(layout: Layout) -> History:
    """The history of a user of whom nothing is known."""
    return parse_history(layout, {})


def _user_records(layout: Layout, requests: Sequence[RawRequest], histories: Sequence[Content]) -> Floats:
    """(n_users, …) now, state, numbers, counts and lookups of each user, one below the other."""
    names, plan = layout.request_number_names, layout.user_lookup_plan
    first = 2 + len(names)
    last = first + len(layout.user_numbers) + len(layout.segments)
    records = np.empty((len(requests), last + len(plan)))
    for record, r, h in zip(records, requests, histories, strict=True):
        get, maps = r.request.get, h.maps
        clock = hour_key(r.now).get
        record[:first] = [r.now, r.state, *[get(name) for name in names]]
        record[first:last] = h.scalars
        record[last:] = [_find(maps[slot], clock(key) if timed else get(key)) for slot, key, timed in plan]
    _canonical_in_place(records[:, 2:])
    return records


def _row_records(layout: Layout, requests: Sequence[RawRequest], histories: Sequence[Content], n_rows: int) -> Floats:
    """(n_rows, …) campaign numbers and lookups of each row."""
    names, plan = layout.campaign_number_names, layout.row_lookup_plan
    records = np.array(
        [
            [get(name) for name in names] + [_find(maps[slot], get(key)) for slot, key in plan]
            for r, h in zip(requests, histories, strict=True)
            for maps in (h.maps,)
            for get in [c.get for c in r.campaigns]
        ],
        dtype=np.float64,
    ).reshape(n_rows, len(names) + len(plan))
    _canonical_in_place(records)
    return records


def _canonical_in_place(values: Floats) -> None:
    """`canonical`, but `NOT_FOUND` stays."""
    np.copyto(values, canonical(values), where=values != NOT_FOUND)


def _texts(columns: Sequence[Sequence[str | None]], n: int) -> Texts:
    """Every cell is an entry of its own: a dictionary costs more than it saves on a few rows."""
    starts = list(range(0, n * len(columns) + 1, n))
    codes = np.arange(n * len(columns), dtype=np.int64).reshape(len(columns), n).T
    return Texts([t for column in columns for t in column], starts, codes, plain=True)


def _find(entries: Mapping[str, float] | None, key: str | None) -> float:
    if entries is None or key is None:
        return NAN
    return entries.get(key, NOT_FOUND)
