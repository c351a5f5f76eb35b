"""`POST /predict`: one BidRequest in, one prediction a campaign out.

Between the body and the batch nothing is awaited unless Redis has to be asked, so that all the requests of one turn of
the event loop reach the batcher within that turn.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final

import orjson

from app.api.openrtb import HOUR_S, Call, Readers
from app.api.problems import Problems
from app.errors import InputError
from app.features.parsing import RawRequest
from app.features.spec import Declaration, HistoryState
from app.serving.admission import Admission, deadline_of
from app.serving.batching import Answer, Batcher
from app.serving.cache import Found, HistoryCache
from app.serving.identity import Identity
from app.serving.store import BundleStore
from app.telemetry import Telemetry

WITHHELD: Final = Found(None, HistoryState.WITHHELD, "none", None)
UNKNOWN: Final = Found(None, HistoryState.UNAVAILABLE, "none", None)
INVALID: Final = "invalid"


class Histories:
    """Finds the history that a call may use: inline, near, Redis, none.

    Parameters
    ----------
    cache : HistoryCache
    identity : Identity
    """

    def __init__(self, cache: HistoryCache, identity: Identity) -> None:
        self._cache = cache
        self._identity = identity

    def at_once(self, call: Call) -> Found | bytes:
        """What is known without waiting; else the key to `fetch` with.

        An inline history with an `as_of` is kept for later calls, but for one ahead of the server's clock: as the
        newest it would win over every later one. Without an identity nothing is read or written.
        """
        if call.withheld is not None:
            return WITHHELD
        key = None if call.identity is None else self._identity.of(call.identity)
        history = call.history
        if history is not None:
            if key is not None and history.as_of is not None and history.as_of <= time.time() + HOUR_S:
                self._cache.keep(key, history)
            state = HistoryState.NEW if history.empty else HistoryState.PRESENT
            return Found(history, state, "inline", history.as_of)
        return UNKNOWN if key is None else self._cache.near(key, call.ts) or key

    async def fetch(self, key: bytes, call: Call, deadline: float) -> Found:
        """Ask Redis, until the deadline at most."""
        return await self._cache.fetch(key, call.ts, deadline)


class Answers:
    """Writes answers. Numbers keep full precision: orjson writes the shortest text that reads back to the same bits.

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
        self._ttl_s = ttl_s
        self._currency = declaration.currency
        self._per = declaration.label_unit
        self._horizons = tuple(f"d{horizon}" for horizon in declaration.targets.horizons)
        self._log_mean = f"log_mean_d{declaration.targets.log_mean}"

    def encode(self, call: Call, found: Found, answer: Answer) -> bytes:
        """The bytes of a good answer, its keys in the order of the contract."""
        degraded = (*found.reasons, *answer.degraded)
        self._count(call, found, answer, degraded)
        return orjson.dumps(
            {
                "id": call.id,
                "bundle": answer.bundle,
                "currency": self._currency,
                "per": self._per,
                "ttl_s": self._ttl_s,
                "history": {"state": found.state.label, "source": found.source, "as_of": found.as_of},
                "degraded": degraded,
                "predictions": self._predictions(call, answer),
            }
        )

    def _predictions(self, call: Call, answer: Answer) -> list[dict[str, Any]]:
        predictions = [
            {
                "campaign": campaign["id"],
                "status": "ok",
                "p_buyer": p,
                "ltv": dict(zip(self._horizons, ltv, strict=True)),
                self._log_mean: log_mean,
                "multiplier": multiplier,
            }
            for campaign, p, ltv, log_mean, multiplier in zip(
                call.campaigns, answer.p_buyer, answer.ltv, answer.log_mean, answer.multiplier, strict=True
            )
        ]
        for place, (campaign_id, error) in call.refused.items():  # in rising order, so that each finds its place
            predictions.insert(place, self._refusal(campaign_id, error))
        return predictions

    def _refusal(self, campaign_id: str | None, error: InputError) -> dict[str, Any]:
        return {"campaign": campaign_id, "status": INVALID, "problem": self._problems.document(error)}

    def _count(self, call: Call, found: Found, answer: Answer, degraded: tuple[str, ...]) -> None:
        age = None if found.as_of is None else max(0.0, call.ts - found.as_of)
        self._telemetry.history(found.state.label, found.source, age)
        self._telemetry.predicted(answer.ltv)
        for reason in degraded:
            self._telemetry.degraded(reason)


@dataclass(frozen=True, slots=True)
class Line:
    """What a request passes through, one at a time or in a batch.

    Parameters
    ----------
    store : BundleStore
    readers : Readers
    histories : Histories
    answers : Answers
    batcher : Batcher
    admission : Admission
    """

    store: BundleStore
    readers: Readers
    histories: Histories
    answers: Answers
    batcher: Batcher
    admission: Admission


class Predict:
    """The call behind `POST /predict`.

    Parameters
    ----------
    line : Line
    telemetry : Telemetry
    deadline_ms : int
        For calls that name none.
    """

    def __init__(self, line: Line, *, telemetry: Telemetry, deadline_ms: int) -> None:
        self._line = line
        self._telemetry = telemetry
        self._deadline_ms = deadline_ms

    async def __call__(self, body: bytes) -> bytes:
        """Answer one BidRequest.

        Raises
        ------
        InputError
            The request as a whole is invalid.
        Overloaded, NotReady
        """
        self._line.admission.enter()
        try:
            return await self._answer(body)
        finally:
            self._line.admission.leave()

    async def _answer(self, body: bytes) -> bytes:
        received, start = asyncio.get_running_loop().time(), perf_counter()
        call = self._line.readers.of(self._line.store.live.layout).read(body, time.time())
        deadline = deadline_of(received, call.deadline_ms, call.tmax_ms, self._deadline_ms)
        parsed = perf_counter()
        found = self._line.histories.at_once(call)
        if isinstance(found, bytes):
            found = await self._line.histories.fetch(found, call, deadline)
        self._telemetry.stage("parse", parsed - start)
        self._telemetry.stage("cache", perf_counter() - parsed)
        if call.campaigns:
            answer = await self._line.batcher.submit(raw_request(call, found), deadline)
        else:
            answer = nothing_to_predict(self._line.store.live.name)
        predicted = perf_counter()
        encoded = self._line.answers.encode(call, found, answer)
        done = perf_counter()  # finer than the loop's clock, which uvloop reads in milliseconds
        self._telemetry.stage("encode", done - predicted)
        self._telemetry.slack(deadline - received - (done - start))
        return encoded


def raw_request(call: Call, found: Found) -> RawRequest:
    """The raw columns of a call and the history that was found for it."""
    return RawRequest(call.now, call.request, call.campaigns, found.history, found.state)


def nothing_to_predict(bundle: str) -> Answer:
    """The answer to a call none of whose campaigns is valid."""
    return Answer(bundle, [], [], [], [])
