"""A second reading of the raw rows, one Python object at a time: what `Columns` must hold, sharing no kernel."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from app.features.columns import Columns, Texts
from app.features.layout import Layout
from app.features.spec import Declaration, Field

MAX = 3.4028234663852886e38
NOW = 1_759_341_600  # 2025-10-01 18:00 UTC, a Wednesday

DECLARATION = Declaration.from_dict(
    {
        "name": "small",
        "label_unit": "install",
        "row_id": "row_id",
        "partition": "datetime",
        "targets": {"horizons": [1, 7], "revenue": "revenue_d{horizon}", "gate": "buyer", "excluded": ["retention"]},
        "request": {
            "country": {"kind": "category", "wire": "device.geo.country"},
            "price": {"kind": "number", "wire": "device.ext.price"},
        },
        "campaign": {"bundle": {"kind": "category"}, "bid": {"kind": "number"}},
        "user": {
            "ratio": {"kind": "number"},
            "first_seen": {"kind": "timestamp"},
            "last_action": {"kind": "category"},
            "spend": {"kind": "histogram"},
            "by_hour": {"kind": "histogram"},
            "bought": {"kind": "timestamps"},
            "apps": {"kind": "strings"},
            "actions": {"kind": "nested_histogram"},
            "acted": {"kind": "nested_timestamps"},
        },
        "lookups": {
            "bundle": ["spend", "bought", "apps", "actions", "acted"],
            "country": ["spend"],
            "hour": ["by_hour"],
            "weekday": ["by_hour"],
        },
    }
)
LAYOUT = Layout(DECLARATION)

Row = dict[Any, Any]  # field, lookup or (field, inner) → value


def expected(row: Mapping[str, Any], now: int = NOW, layout: Layout = LAYOUT) -> Row:
    """What one raw row (maps as pairs, lists of str, None for null) must become."""
    maps: dict[str, dict[str, float] | None] = {}
    segments: dict[tuple[str, bool], list[float] | int | None] = {}
    for field in layout.ragged:
        maps[field.name] = None if row[field.name] is None else _map(field, row[field.name])
        _segments(field, row[field.name], maps[field.name], segments)
    moment = datetime.fromtimestamp(now, UTC)
    keys = {**row, "hour": f"{moment:%H}", "weekday": str(moment.isoweekday())}
    numbers = {f.name: _number(row[f.name]) for f in (*layout.numbers, *layout.campaign_numbers)}
    texts = {f.name: row[f.name] for f in (*layout.texts, *layout.campaign_texts)}
    lookups = {k.name: _find(maps[k.field], keys[k.key]) for k in layout.declaration.lookups}
    user = {f.name for f in layout.declaration.scope("user")}
    known = [v is not None and v == v for k, v in {**numbers, **texts, **maps}.items() if k in user]
    return {"now": now, "state": 0 if any(known) else 1, **numbers, **texts, **segments, **lookups}


def unpacked(columns: Columns, layout: Layout = LAYOUT) -> list[Row]:
    """The rows of a batch in the oracle's form, read cell by cell."""
    values = _unpack_values(columns, layout)
    rows = []
    for row, user in enumerate(columns.owner.tolist()):
        out: Row = {"now": columns.now[user], "state": columns.state[user]}
        out |= zip((f.name for f in layout.numbers), columns.numbers[user].tolist(), strict=True)
        out |= zip((f.name for f in layout.campaign_numbers), columns.campaign_numbers[row].tolist(), strict=True)
        out |= _cells(columns.texts, layout.texts, user) | _cells(columns.campaign_texts, layout.campaign_texts, row)
        for place, segment in enumerate(layout.segments):
            count = int(columns.counts[user, place])
            known = values.get((user, place), count) if count >= 0 else None
            out[segment.field.name, segment.inner] = known
        out |= zip((k.name for k in layout.user_lookups), columns.user_lookups[user].tolist(), strict=True)
        out |= zip((k.name for k in layout.row_lookups), columns.row_lookups[row].tolist(), strict=True)
        rows.append(out)
    return rows


def same(left: Sequence[Row], right: Sequence[Row]) -> bool:
    """Equal in every bit: NaN equals NaN, -0.0 does not equal +0.0, order of the entries counts."""
    return [_exact(r) for r in left] == [_exact(r) for r in right]


def _exact(row: Row) -> dict[Any, str]:
    return {k: repr([float(v) for v in x] if isinstance(x, list) else _plain(x)) for k, x in row.items()}


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, str) else float(value)


def _number(value: Any) -> float:
    if value is None or not math.isfinite(value):
        return math.nan
    return max(-MAX, min(MAX, float(value))) + 0.0


def _pairs(pairs: Sequence[tuple[str | None, Any]]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in pairs:
        if key is not None:
            out[key] = value
    return out


def _finite(pairs: Sequence[tuple[str | None, Any]]) -> dict[str, float]:
    numbers = {k: _number(v) for k, v in _pairs(pairs).items()}
    return {k: v for k, v in numbers.items() if v == v}


def _inner(field: Field, value: Any) -> dict[str, list[float]]:
    maps = {k: list(_finite(v).values()) for k, v in _pairs(value).items() if v is not None}
    return {k: v for k, v in maps.items() if v or not field.temporal}


def _map(field: Field, value: Any) -> dict[str, float]:
    if field.kind == "strings":
        return {k: 1.0 for k in value if k is not None}
    if not field.nested:
        return _finite(value)
    total = max if field.temporal else sum
    return {k: _number(total(v)) for k, v in _inner(field, value).items()}


def _segments(field: Field, value: Any, entries: dict[str, float] | None, out: dict[tuple[str, bool], Any]) -> None:
    if entries is None:
        out[field.name, False] = None
    else:
        out[field.name, False] = len(entries) if field.kind == "strings" else list(entries.values())
    if field.nested:
        inner = None if value is None else [n for numbers in _inner(field, value).values() for n in numbers]
        out[field.name, True] = inner


def _find(entries: dict[str, float] | None, key: str | None) -> float:
    return math.nan if entries is None or key is None else entries.get(key, -math.inf)


def _unpack_values(columns: Columns, layout: Layout) -> dict[tuple[int, int], list[float]]:
    users, places = range(columns.n_users), range(layout.n_numeric)
    if columns.segment_major:
        order = [(u, s) for s in places for u in users]
    else:
        order = [(u, s) for u in users for s in places]
    values, out = iter(columns.values.tolist()), {}
    for cell in order:
        out[cell] = [next(values) for _ in range(max(0, int(columns.counts[cell])))]
    assert next(values, None) is None, "no value may be left over"
    return out


def _cells(texts: Texts, fields: Sequence[Field], row: int) -> Row:
    for column, code in enumerate(texts.codes[row].tolist()):
        assert texts.starts[column] <= code < texts.starts[column + 1], "a code lies among its column's entries"
    return {f.name: texts.entries[texts.codes[row, j]] for j, f in enumerate(fields)}
