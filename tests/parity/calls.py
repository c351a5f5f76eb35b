"""Bid requests of the market in the shapes that the parities need: as raw requests, varied, without history."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any

from app.api.openrtb import Call, Reader
from app.api.predict import UNKNOWN, WITHHELD, raw_request
from app.api.privacy import Gate
from app.features.layout import Layout
from app.features.parsing import RawRequest
from app.features.spec import HistoryState
from app.serving.cache import Found
from tests.support.market import Json


def reader(layout: Layout) -> Reader:
    """What reads bodies in the service, under a gate that knows no vendor."""
    return Reader(layout, Gate(None, frozenset({1, 3, 4})))


def raw(read: Reader, body: Json) -> RawRequest:
    """A body as the service's raw request, its history inline or not at all."""
    call = read.read(json.dumps(body).encode(), clock=0.0)
    return raw_request(call, _found(call))


def variants(bodies: Sequence[Json]) -> list[Json]:
    """The bodies, and every fourth once more: several campaigns, no history, withheld, a known new user."""
    varied = [copy.deepcopy(body) for body in bodies]
    for i, body in enumerate(bodies[::4]):
        one = copy.deepcopy(body)
        one["id"] = f"variant-{i}"
        match i % 4:
            case 0:
                borrowed = [other["ext"]["campaigns"][0] for other in bodies[i : i + 1 + i % 64]]
                one["ext"]["campaigns"] = [*one["ext"]["campaigns"], *copy.deepcopy(borrowed)][:64]
            case 1:
                del one["user"]
            case 2:
                one["device"]["lmt"] = 1
            case 3:
                one["user"]["ext"]["history"] = {}
        varied.append(one)
    return varied


def without_history(body: Json, **device: str) -> Json:
    """The body of a caller who names the user and sends no history."""
    one = {key: value for key, value in copy.deepcopy(body).items() if key != "user"}
    one["device"] |= device
    return one


def numbers(answer: Mapping[str, Any]) -> str:
    """All that an answer predicts, in full precision."""
    return repr([{k: v for k, v in prediction.items() if k != "campaign"} for prediction in answer["predictions"]])


def _found(call: Call) -> Found:
    if call.withheld is not None:
        return WITHHELD
    if call.history is None:
        return UNKNOWN
    state = HistoryState.NEW if call.history.empty else HistoryState.PRESENT
    return Found(call.history, state, "inline", call.history.as_of)
