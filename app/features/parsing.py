"""Requests become `Columns`: a few parsed requests enter, one canonical batch leaves. Offline, Arrow does the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

import numpy as np

from app.features.columns import ABSENT, NOT_FOUND, Columns, Floats, Layout, Texts, hour_key
from app.features.history import History, canonical, parse_history
from app.features.spec import Field, HistoryState, Lookup

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
    unknown = _unknown(layout)
    histories = [r.history or unknown for r in requests]
    campaigns = [c for r in requests for c in r.campaigns]
    n_users, n_rows = len(requests), len(campaigns)
    sizes = [len(r.campaigns) for r in requests]
    return Columns(
        owner=np.repeat(np.arange(n_users), sizes),
        now=np.array([r.now for r in requests], dtype=np.float64),
        state=np.array([r.state for r in requests], dtype=np.int64),
        numbers=_numbers(layout, requests, histories),
        campaign_numbers=canonical(_table(campaigns, layout.campaign_numbers, n_rows)),
        texts=_texts(
            [[r.request.get(f.name) for r in requests] for f in layout.request_texts]
            + [[h.texts[j] for h in histories] for j in range(len(layout.user_texts))],
            n_users,
        ),
        campaign_texts=_texts([[c.get(f.name) for c in campaigns] for f in layout.campaign_texts], n_rows),
        counts=np.array([h.counts for h in histories], dtype=np.int64),
        values=np.concatenate([h.values for h in histories]),
        segment_major=False,
        user_lookups=_user_lookups(layout, requests, histories),
        row_lookups=_row_lookups(layout, requests, histories),
    )


def _unknown(layout: Layout) -> History:
    return History(
        numbers=np.full(len(layout.user_numbers), NAN),
        texts=(None,) * len(layout.user_texts),
        counts=np.full(len(layout.segments), ABSENT, dtype=np.int64),
        values=np.empty(0),
        maps=(None,) * len(layout.keyed),
        as_of=None,
    )


def _numbers(layout: Layout, requests: Sequence[RawRequest], histories: Sequence[History]) -> Floats:
    own = canonical(_table([r.request for r in requests], layout.request_numbers, len(requests)))
    return np.concatenate((own, np.array([h.numbers for h in histories], dtype=np.float64)), axis=1)


def _table(rows: Sequence[Mapping[str, Any]], fields: Sequence[Field], n: int) -> Floats:
    """(n, n_fields) numbers by name, NaN where a name is absent or None."""
    table = np.array([[row.get(f.name) for f in fields] for row in rows], dtype=np.float64)
    return table.reshape(n, len(fields))


def _texts(columns: Sequence[Sequence[str | None]], n: int) -> Texts:
    """Every cell is an entry of its own: a dictionary costs more than it saves on a few rows."""
    starts = list(accumulate((n for _ in columns), initial=0))
    codes = np.arange(n * len(columns), dtype=np.int64).reshape(len(columns), n).T
    return Texts([t for column in columns for t in column], starts, np.ascontiguousarray(codes))


def _user_lookups(layout: Layout, requests: Sequence[RawRequest], histories: Sequence[History]) -> Floats:
    found = [
        [_find(h.maps[slot], keys.get(k.key)) for k, slot in zip(layout.user_lookups, layout.user_slots, strict=True)]
        for r, h in zip(requests, histories, strict=True)
        for keys in ({**r.request, **hour_key(r.now)},)
    ]
    return _found(found, len(requests), layout.user_lookups)


def _row_lookups(layout: Layout, requests: Sequence[RawRequest], histories: Sequence[History]) -> Floats:
    found = [
        [_find(h.maps[slot], c.get(k.key)) for k, slot in zip(layout.row_lookups, layout.row_slots, strict=True)]
        for r, h in zip(requests, histories, strict=True)
        for c in r.campaigns
    ]
    return _found(found, len(found), layout.row_lookups)


def _find(entries: Mapping[str, float] | None, key: str | None) -> float:
    if entries is None or key is None:
        return NAN
    return entries.get(key, NOT_FOUND)


def _found(found: Sequence[Sequence[float]], n: int, lookups: Sequence[Lookup]) -> Floats:
    table = np.array(found, dtype=np.float64).reshape(n, len(lookups))
    return np.where(table == NOT_FOUND, NOT_FOUND, canonical(table))
