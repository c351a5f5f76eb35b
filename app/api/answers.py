"""Answers written: calls with their histories and predictions enter, JSON leaves.

Most of an answer is the same text every time. Numbers are encoded for all answers at once; they keep full precision:
orjson writes the shortest text that reads back to the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import orjson

from app.api.openrtb import Call
from app.api.problems import Problems
from app.errors import InputError
from app.features.spec import Declaration, HistoryState
from app.serving.batching import Answer
from app.serving.cache import Found
from app.telemetry import Telemetry

INVALID: Final = "invalid"

_HEADS: Final = 64  # kept: states by sources by reasons, of a bundle or two
_AS_OF: Final = b'"as_of":'
_LABELS: Final = tuple(state.label for state in HistoryState)  # by value


class Answers:
    """Writes answers.

    Parameters
    ----------
    declaration : Declaration
    problems : Problems
    telemetry : Telemetry
    ttl_s : int
    """

    def __init__(self, declaration: Declaration, problems: Problems, telemetry: Telemetry, ttl_s: int) -> None:
        self._problems = problems
        self._telemetry = telemetry
        self._fixed = {"currency": declaration.currency, "per": declaration.label_unit, "ttl_s": ttl_s}
        ltv = ",".join(f'"d{horizon}":%b' for horizon in declaration.targets.horizons)
        log_mean = f"log_mean_d{declaration.targets.log_mean}"
        self._template = (
            f'{{"campaign":%b,"status":"ok","p_buyer":%b,"ltv":{{{ltv}}},"{log_mean}":%b,"multiplier":%b}}'.encode()
        )
        self._width = self._template.count(b"%b") - 1
        self._head = lru_cache(_HEADS)(self._write_head)

    def encode(self, call: Call, found: Found, answer: Answer) -> bytes:
        """The bytes of a good answer, its keys in the order of the contract."""
        return self.encode_all([(call, found, answer)])[0]

    def encode_all(self, answered: Sequence[tuple[Call, Found, Answer]]) -> list[bytes]:
        """The same of several."""
        rows = [row for _, _, answer in answered for row in answer.rows]
        numbers = orjson.dumps(rows)[2:-2].replace(b"],[", b",").split(b",") if rows else []
        self._telemetry.predicted([row[1:-2] for row in rows])
        written, at = [], 0
        for call, found, answer in answered:
            end = at + len(answer.rows) * self._width
            written.append(self._answer(call, found, answer, numbers[at:end]))
            at = end
        return written

    def _answer(self, call: Call, found: Found, answer: Answer, numbers: Sequence[bytes]) -> bytes:
        as_of, state = found.as_of, _LABELS[found.state]
        self._telemetry.history(state, found.source, None if as_of is None else max(0.0, call.ts - as_of))
        degraded = found.reasons + answer.degraded
        head, tail = self._head(answer.bundle, state, found.source, degraded)
        for reason in degraded:
            self._telemetry.degraded(reason)
        template, width, dumps = self._template, self._width, orjson.dumps
        at = range(0, len(numbers), width)
        campaigns = zip(call.campaigns, at, strict=True)
        predictions = [template % (dumps(campaign["id"]), *numbers[i : i + width]) for campaign, i in campaigns]
        if call.refused:
            for place, (campaign_id, error) in call.refused.items():  # in rising order, so that each finds its place
                predictions.insert(place, orjson.dumps(self._refusal(campaign_id, error)))
        known = b"null" if as_of is None else b"%d" % as_of
        return b'{"id":%b%b%b%b%b]}' % (orjson.dumps(call.id), head, known, tail, b",".join(predictions))

    def _write_head(self, bundle: str, state: str, source: str, degraded: tuple[str, ...]) -> tuple[bytes, bytes]:
        """What stands between an answer's id and its history's `as_of`, and between that and its predictions."""
        history = {"state": state, "source": source, "as_of": None}
        head = orjson.dumps({"bundle": bundle, **self._fixed, "history": history, "degraded": degraded})
        before, _, after = head.rpartition(_AS_OF)
        return b"," + before[1:] + _AS_OF, after.removeprefix(b"null")[:-1] + b',"predictions":['

    def _refusal(self, campaign_id: str | None, error: InputError) -> dict[str, Any]:
        return {"campaign": campaign_id, "status": INVALID, "problem": self._problems.document(error)}
