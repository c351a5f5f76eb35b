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

_KEPT: Final = 64  # states by sources by reasons, of a bundle or two
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
        self._around = lru_cache(_KEPT)(self._write_around)

    def encode(self, call: Call, found: Found, answer: Answer) -> bytes:
        """The bytes of a good answer, its keys in the order of the contract."""
        return self.encode_all([call], [found], [answer])[0]

    def encode_all(self, calls: Sequence[Call], histories: Sequence[Found], answers: Sequence[Answer]) -> list[bytes]:
        """The same of several."""
        rows = [row for answer in answers for row in answer.rows]
        numbers = orjson.dumps(rows)[2:-2].replace(b"],[", b",").split(b",") if rows else []
        kinds = [(_LABELS[found.state], found.source) for found in histories]
        written, at, width, dumps = [], 0, self._width, orjson.dumps
        for call, found, answer, (state, source) in zip(calls, histories, answers, kinds, strict=True):
            end = at + len(answer.rows) * width
            degraded, as_of = found.reasons + answer.degraded, found.as_of
            one, around = self._around(answer.bundle, state, source, degraded)
            known = b"null" if as_of is None else b"%d" % as_of
            if end - at == width and not call.refused:
                written.append(one % (dumps(call.id), known, dumps(call.campaigns[0]["id"]), *numbers[at:end]))
            else:
                written.append(around % (dumps(call.id), known, self._predictions(call, numbers[at:end])))
            at = end
            for reason in degraded:
                self._telemetry.degraded(reason)
        ages = [max(0.0, c.ts - f.as_of) for c, f in zip(calls, histories, strict=True) if f.as_of is not None]
        self._telemetry.histories(kinds, ages)
        self._telemetry.predicted([row[1:-2] for row in rows])
        return written

    def _predictions(self, call: Call, numbers: Sequence[bytes]) -> bytes:
        template, width, dumps = self._template, self._width, orjson.dumps
        places = zip(call.campaigns, range(0, len(numbers), width), strict=True)
        predictions = [template % (dumps(campaign["id"]), *numbers[at : at + width]) for campaign, at in places]
        for place, (campaign_id, error) in call.refused.items():  # in rising order, so that each finds its place
            predictions.insert(place, dumps(self._refusal(campaign_id, error)))
        return b",".join(predictions)

    def _write_around(self, bundle: str, state: str, source: str, degraded: tuple[str, ...]) -> tuple[bytes, bytes]:
        """Templates of an answer: of one with a single prediction, and of any, whose predictions are one text.

        Both take the request's id and the history's `as_of` first; the former goes on as `_template` does.
        """
        history = {"state": state, "source": source, "as_of": None}
        head = orjson.dumps({"bundle": bundle, **self._fixed, "history": history, "degraded": degraded})
        before, _, after = head.replace(b"%", b"%%").rpartition(_AS_OF + b"null")
        head = b'{"id":%b,' + before[1:] + _AS_OF + b"%b" + after[:-1] + b',"predictions":['
        return head + self._template + b"]}", head + b"%b]}"

    def _refusal(self, campaign_id: str | None, error: InputError) -> dict[str, Any]:
        return {"campaign": campaign_id, "status": INVALID, "problem": self._problems.document(error)}
