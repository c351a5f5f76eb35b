"""Raw rows of the data enter, the requests of `golden.jsonl` leave: every history state, and callers' odd shapes."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import islice
from typing import Any

from app.features.spec import Declaration, HistoryState
from training.data.dataset import Dataset, Partition
from training.data.records import raw_request, read_records

KNOWN, NEW = 40, 12
"""Rows taken as they came: users with a history, and without."""

CAMPAIGNS = 4
SEARCHED = 4096


def golden_requests(dataset: Dataset, partition: Partition) -> list[dict[str, Any]]:
    """Choose raw requests of one partition and vary some.

    Returns
    -------
    list of dict
        As `app.features.parsing.request_from_json` reads them: users with and without history, histories
        unavailable and withheld, empty and absent maps, a duplicate key, several campaigns.
    """
    declaration = dataset.declaration
    records = islice(read_records(dataset, partition), SEARCHED)
    requests = [raw_request(declaration, record, partition.now) for record in records]
    known = [r for r in requests if r["state"] == HistoryState.PRESENT.label]
    known.sort(key=lambda r: -len(r["history"]))  # the fullest histories touch the most features
    rich, new = (
        known[: KNOWN // 2] + known[KNOWN // 2 :: 7][: KNOWN // 2],
        [r for r in requests if r not in known][:NEW],
    )
    plain = [*rich, *new] or requests
    return [*plain, *_variants(declaration, plain)]


def _variants(declaration: Declaration, plain: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    varied = []
    for i, request in enumerate(plain[:20]):
        one = copy.deepcopy(request)
        match i % 5:
            case 0:
                _lose(one, HistoryState.UNAVAILABLE)
            case 1:
                _lose(one, HistoryState.WITHHELD)
            case 2:
                _empty(declaration, one, every=2)
            case 3:
                _absent(one, every=3)
                _repeat_key(declaration, one)
            case 4:
                one["campaigns"] = [c for r in plain[i : i + CAMPAIGNS] for c in copy.deepcopy(r["campaigns"])]
                one["campaigns"].append({})
        varied.append(one)
    return varied


def _lose(request: dict[str, Any], state: HistoryState) -> None:
    request["history"] = None
    request["state"] = state.label


def _empty(declaration: Declaration, request: dict[str, Any], every: int) -> None:
    """Empty maps and lists where there were full ones: known to hold nothing."""
    ragged = [f.name for f in declaration.scope("user") if f.ragged]
    request["history"].update({name: [] for name in ragged[::every]})
    request["state"] = HistoryState.PRESENT.label


def _absent(request: dict[str, Any], every: int) -> None:
    for name in list(request["history"])[::every]:
        del request["history"][name]
    for name in list(request["request"])[::every]:
        del request["request"][name]


def _repeat_key(declaration: Declaration, request: dict[str, Any]) -> None:
    for field in declaration.scope("user"):
        entries = request["history"].get(field.name)
        if field.ragged and not field.nested and field.kind != "strings" and entries:
            entries.append([entries[0][0], entries[-1][1]])
            return
