"""Blocks of columns to `/predict` bodies: OpenRTB 2.6 with the history inline, one compact JSON a line.

Absent is an omitted key. A row of a new user writes an empty history. Every eighth row, by its identifier, writes its
maps as [[key, value], …] instead of as objects: both are valid on the wire, and readers must know both.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from itertools import starmap
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson

from app.features.countries import ALPHA3_BY_ALPHA2
from training.data.synthetic.columns import Column, Columns, Identifiers, Ints, Mask, Nested, Scalar, Text

_DEVICE = {
    "make": "dev_make",
    "model": "dev_model",
    "os": "dev_os",
    "osv": "dev_osv",
    "language": "dev_language",
    "carrier": "carrier",
}
_CAMPAIGN = (
    "advertiser_bundle",
    "advertiser_category",
    "advertiser_subcategory",
    "advertiser_bottom_taxonomy_level",
)
_NOT_HISTORY = frozenset(
    [*_DEVICE.values(), *_CAMPAIGN, "row_id", "country", "region", "hour", "weekday", "release_date", "release_msrp"]
)
_TARGETS = ("buyer_", "buy_d", "iap_revenue_d", "registration", "retention_")
_OS_IN_TRAFFIC = {"android": "Android", "ios": "iOS"}
_TRACKING_ALLOWED = 3

Lines = list[Any]


class RequestWriter:
    """One file of requests, in the order of the rows.

    Parameters
    ----------
    path : Path
        File to write; its folder is made if need be.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO | None = None

    def open(self) -> None:
        """Open the file. Raises OSError where that cannot be."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("wb")

    def write(self, hour: datetime.datetime, columns: Columns) -> None:
        """Append the rows of a block of `hour`."""
        assert self._file is not None  # opened by `open`
        for body in bodies(hour, columns):
            self._file.write(orjson.dumps(body, option=orjson.OPT_APPEND_NEWLINE))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def bodies(hour: datetime.datetime, columns: Columns) -> list[dict[str, Any]]:
    """The rows of a block as `/predict` bodies."""
    identifiers = _plain(columns["row_id"], None)
    in_pairs = np.array([int(row_id[0], 16) % 8 == 0 for row_id in identifiers])
    devices = _devices(columns)
    histories = _histories(columns, in_pairs)
    campaigns = _records({name: columns[name] for name in _CAMPAIGN})
    timestamp = int(hour.timestamp())
    return [
        {
            "id": row_id,
            "imp": [{"id": "1"}],
            "device": device,
            "user": {"ext": {"history": history}},
            "ext": {"ts": timestamp, "campaigns": [{"id": campaign["advertiser_bundle"], **campaign}]},
        }
        for row_id, device, history, campaign in zip(identifiers, devices, histories, campaigns, strict=True)
    ]


def _devices(columns: Columns) -> list[dict[str, Any]]:
    devices = _records({wire: columns[raw] for wire, raw in _DEVICE.items()})
    places = _records({"country": columns["country"], "region": columns["region"]})
    extras = _records({"release_date": columns["release_date"], "release_msrp": columns["release_msrp"]})
    for device, place, extra in zip(devices, places, extras, strict=True):
        if "country" in place:
            place["country"] = ALPHA3_BY_ALPHA2[place["country"]]
        if "os" in device:
            device["os"] = _OS_IN_TRAFFIC[device["os"]]
        if device.get("os") == "iOS":
            extra["atts"] = _TRACKING_ALLOWED
        device["geo"] = place
        device["ext"] = extra
    return devices


def _histories(columns: Columns, in_pairs: Mask) -> list[dict[str, Any]]:
    user = {name: c for name, c in columns.items() if name not in _NOT_HISTORY and not name.startswith(_TARGETS)}
    return _records(user, in_pairs)


def _records(columns: Columns, in_pairs: Mask | None = None) -> list[dict[str, Any]]:
    """Rows as dicts under the given names, nulls omitted."""
    n_rows = len(_valid(next(iter(columns.values()))))
    records: list[dict[str, Any]] = [{} for _ in range(n_rows)]
    for name, column in columns.items():
        values = _plain(column, in_pairs)
        for row in np.flatnonzero(_valid(column)).tolist():
            records[row][name] = values[row]
    return records


def _valid(column: Column) -> Mask:
    match column:
        case Text():
            return column.codes >= 0
        case Scalar() if column.valid is None:
            return np.ones(len(column.values), dtype=bool)
        case Identifiers():
            return np.ones(len(column.values), dtype=bool)
    assert column.valid is not None  # the one case without it stands above
    return column.valid


def _plain(column: Column, in_pairs: Mask | None) -> Lines:
    """The column as Python values, one a row; those of null rows are never read."""
    match column:
        case Identifiers():
            return list(column.values.astype("U36").tolist())
        case Scalar():
            return list(column.values.tolist())
        case Text():
            return list(column.vocabulary.objects[column.codes].tolist())
        case Nested():
            return _nested(column, in_pairs)
    keys = column.vocabulary.objects[column.codes].tolist()
    if column.values is None:
        return [keys[a:b] for a, b in _spans(column.offsets)]
    return _maps(keys, column.values.tolist(), column.offsets, in_pairs)


def _spans(offsets: Ints) -> Sequence[tuple[int, int]]:
    return list(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True))


def _maps(
    keys: list[str],
    values: list[Any],
    offsets: Ints,
    in_pairs: Mask | None,
) -> Lines:
    maps: Lines = list(starmap(lambda a, b: dict(zip(keys[a:b], values[a:b], strict=True)), _spans(offsets)))
    if in_pairs is not None:
        for row in np.flatnonzero(in_pairs).tolist():
            maps[row] = list(maps[row].items())
    return maps


def _nested(column: Nested, in_pairs: Mask | None) -> Lines:
    inner_keys = column.inner_vocabulary.objects[column.inner_codes].tolist()
    inner_pairs = None if in_pairs is None else in_pairs[column.rows()]
    inner = _maps(inner_keys, column.values.tolist(), column.inner_offsets, inner_pairs)
    return _maps(column.vocabulary.objects[column.codes].tolist(), inner, column.offsets, in_pairs)
