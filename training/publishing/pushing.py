"""Histories in parquet enter, `POST /features` calls leave: how a service's store is filled from the offline side."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Literal

import pyarrow.parquet as pq

from app.errors import DataError, InputError
from training.data.dataset import Dataset
from training.data.records import read_records, scope_of

Kind = Literal["user_id", "ifa"]
TIMEOUT_S = 30.0


def push_features(
    dataset: Dataset,
    url: str,
    *,
    id_column: str,
    kind: Kind,
    token: str | None,
    chunk: int,
    progress: Callable[[int], None] = lambda _: None,
) -> tuple[int, int]:
    """Send the history of every row that has an identity. The partition's hour is its `as_of`.

    Parameters
    ----------
    dataset : Dataset
    url : str
        Of the service, `http://127.0.0.1:8000`.
    id_column : str
        Column that holds the identity; rows without one are left out.
    kind : {"user_id", "ifa"}
        What the identity is.
    token : str or None
        Bearer token.
    chunk : int
        Users a call.
    progress : callable
        Called with the number of users of each call.

    Returns
    -------
    stored, older : int
        As the service counts them.

    Raises
    ------
    DataError
        When the column is missing.
    InputError
        When the service can not be reached, or refuses.
    """
    stored = older = 0
    everyone = _users(dataset, id_column, kind)
    while users := list(islice(everyone, chunk)):
        answer = _post(f"{url.rstrip('/')}/features", {"users": users}, token)
        stored, older = stored + int(answer["stored"]), older + int(answer["older"])
        progress(len(users))
    return stored, older


def _users(dataset: Dataset, id_column: str, kind: Kind) -> Iterator[dict[str, Any]]:
    for partition in dataset.partitions:
        for path in partition.files:
            if id_column not in pq.read_schema(path).names:
                raise DataError(f"{path}: {id_column}: expected the column of identities, received no such column")
        for record in read_records(dataset, partition, (id_column,)):
            if record[id_column] is not None:
                history = {**scope_of(dataset.declaration, record, "user"), "as_of": partition.now}
                yield {kind: str(record[id_column]), "history": history}


def _post(url: str, body: dict[str, Any], token: str | None) -> dict[str, Any]:
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    try:
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            answer: dict[str, Any] = json.loads(response.read())
            return answer
    except urllib.error.HTTPError as error:
        raise InputError(f"the service answered {error.code}: {_detail(error)}", url) from error
    except (OSError, ValueError) as error:
        raise InputError(f"the service can not be reached ({error})", url) from error


def _detail(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read()).get("detail", error.reason))
    except (ValueError, AttributeError):
        return str(error.reason)
