"""Worked examples of requests and answers, written from the declaration. They document; nothing computes with them."""

from __future__ import annotations

from typing import Any, Final

from app.features.countries import ALPHA3_BY_ALPHA2
from app.features.spec import TEXTS, Declaration, Field

TS: Final = 1_759_503_600  # 2025-10-03 15:00 UTC
_AGO: Final = 3 * 86_400
_TEXT: Final = {"country": ALPHA3_BY_ALPHA2["us"], "lower": "android"}
_SHOWN: Final = 6  # history fields in an example


def bid_request(declaration: Declaration) -> dict[str, Any]:
    """A BidRequest with two campaigns and an inline history."""
    request: dict[str, Any] = {
        "id": "80ce30c53c16e6ede735f123ef6e32361bfc7b22",
        "imp": [{"id": "1"}],
        "device": {"ifa": "3f2b6c1e-8d4a-4f0e-9b7c-5a1d2e3f4a5b", "lmt": 0},
        "user": {"ext": {"history": history(declaration)}},
        "regs": {"gdpr": 0},
        "ext": {
            "ts": TS,
            "deadline_ms": 8,
            "campaigns": [campaign(declaration, "campaign-1"), {"id": "campaign-2"}],
        },
    }
    for column in declaration.scope("request"):
        *parents, leaf = (column.wire or column.name).split(".")
        place = request
        for parent in parents:
            place = place.setdefault(parent, {})
        place[leaf] = _scalar(column)
    return request


def campaign(declaration: Declaration, name: str) -> dict[str, Any]:
    """One entry of `ext.campaigns`."""
    return {"id": name, **{column.name: _scalar(column) for column in declaration.scope("campaign")}}


def history(declaration: Declaration) -> dict[str, Any]:
    """The first field of each kind, and `as_of`."""
    kinds: dict[str, Field] = {}
    for column in declaration.scope("user"):
        kinds.setdefault(column.kind, column)
    shown = list(kinds.values())[:_SHOWN]
    return {**{column.name: _value(column) for column in shown}, "as_of": TS - _AGO}


def answer(declaration: Declaration) -> dict[str, Any]:
    """The answer to `bid_request`."""
    return {
        "id": "80ce30c53c16e6ede735f123ef6e32361bfc7b22",
        "bundle": "demo",
        "currency": declaration.currency,
        "per": declaration.label_unit,
        "ttl_s": 300,
        "history": {"state": "present", "source": "inline", "as_of": TS - _AGO},
        "degraded": [],
        "predictions": [
            {"campaign": "campaign-1", "status": "ok", **prediction(declaration, 0.043)},
            {"campaign": "campaign-2", "status": "ok", **prediction(declaration, 0.021)},
        ],
    }


def prediction(declaration: Declaration, p_buyer: float) -> dict[str, Any]:
    """The numbers of one campaign."""
    targets = declaration.targets
    return {
        "p_buyer": p_buyer,
        "ltv": {f"d{horizon}": round(p_buyer * 4.5 * horizon**0.5, 4) for horizon in targets.horizons},
        f"log_mean_d{targets.log_mean}": round(p_buyer * 2, 4),
        "multiplier": 1.25,
    }


def _value(column: Field) -> Any:
    number = TS - _AGO if column.temporal else 4.99
    if column.kind == "strings":
        return ["com.example.puzzle", "com.example.clash"]
    if column.nested:
        return {"com.example.puzzle": {"purchase": number}}
    return {"com.example.puzzle": number} if column.ragged else _scalar(column)


def _scalar(column: Field) -> Any:
    if column.kind == "month":
        return "2024_january"
    if column.kind == "version":
        return "14.0.0"
    if column.kind in TEXTS:
        return _TEXT.get(column.format, "example")
    return TS - _AGO if column.temporal else 499.0
