"""Raw parquet rows enter, the same rows as JSON objects leave: for golden rows and for histories sent to the service.

Python objects are made here and nowhere else offline: a few rows, or a stream that ends on a socket.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pyarrow.parquet as pq

from app.features.spec import Declaration, HistoryState
from training.data.dataset import Dataset, Partition

ROWS = 512


def read_records(dataset: Dataset, partition: Partition, extra: tuple[str, ...] = ()) -> Iterator[dict[str, Any]]:
    """Yield the rows of a partition as plain JSON values: maps as lists of pairs, instants as unix seconds.

    Parameters
    ----------
    dataset : Dataset
    partition : Partition
    extra : tuple of str
        Columns to read beside the declared ones.
    """
    names = [dataset.declaration.row_id, *(f.name for f in dataset.declaration.fields), *extra]
    for path in partition.files:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(ROWS, columns=names):
                for row in batch.to_pylist():
                    yield {name: _plain(value) for name, value in row.items()}


def raw_request(declaration: Declaration, record: Mapping[str, Any], now: int) -> dict[str, Any]:
    """Return a record as a raw row of `golden.jsonl` (`app.features.parsing.request_from_json`)."""
    history = scope_of(declaration, record, "user")
    state = HistoryState.PRESENT if any(v is not None for v in history.values()) else HistoryState.NEW
    return {
        "now": now,
        "request": scope_of(declaration, record, "request"),
        "campaigns": [scope_of(declaration, record, "campaign")],
        "history": history,
        "state": state.label,
    }


def scope_of(declaration: Declaration, record: Mapping[str, Any], scope: str) -> dict[str, Any]:
    """The known columns of one scope."""
    return {f.name: record[f.name] for f in declaration.scope(scope) if record[f.name] is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return int(value.replace(tzinfo=value.tzinfo or UTC).timestamp())
    if isinstance(value, Mapping):  # an element of list<struct<key, value>>
        return [_plain(v) for v in value.values()]
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value
