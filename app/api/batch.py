"""`POST /predict/batch`: many BidRequests in one body, each answered as if it had come alone.

The requests of a group are predicted together, groups are small, and other callers have their turn between them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final

import orjson

from app.api import problems
from app.api.failures import log_unexpected, unexpected
from app.api.openrtb import Call, Reader
from app.api.predict import Line, nothing_to_predict, raw_request
from app.api.problems import Kind, Problems
from app.api.slices import Pace, entries, scan_of
from app.errors import BodyTooLarge, PltvError
from app.serving.batching import Answer
from app.serving.cache import Found

ROUTE: Final = "/predict/batch"
_GROUP: Final = 32  # requests
_GROUP_ROWS: Final = 64  # campaigns; either is predicted in a millisecond


class PredictBatch:
    """The call behind `POST /predict/batch`.

    Parameters
    ----------
    line : Line
    told : Problems
    failed : Kind
        How an error that nobody raised on purpose is told.
    most : int
        Requests in a body.
    max_bytes : int
        Of one request.
    wait_s : float
        For Redis, a group.
    """

    def __init__(self, line: Line, *, told: Problems, failed: Kind, most: int, max_bytes: int, wait_s: float) -> None:
        self._line = line
        self._told = told
        self._failed = failed
        self._most = most
        self._max_bytes = max_bytes
        self._wait_s = wait_s

    async def __call__(self, body: bytes) -> bytes:
        """Answer all requests of a body, in order; a bad one gets its problem document, with the request's own `id`.

        Raises
        ------
        InputError
            The body is not an object with 1 to `most` requests.
        Overloaded, NotReady
        """
        self._line.admission.enter()
        try:
            ranges = await entries(body, "requests", self._most, scan_of(self._line.store.live.layout))
            responses = await self._respond(body, ranges)
        finally:
            self._line.admission.leave()
        return b'{"responses":[' + b",".join(responses) + b"]}"

    async def _respond(self, body: bytes, ranges: list[tuple[int, int]]) -> list[bytes]:
        line, responses, pace = self._line, [b""] * len(ranges), Pace()
        reader = line.readers.of(line.store.live.layout)
        group: list[int] = []  # places
        calls: list[Call] = []
        rows = 0
        for place, (start, end) in enumerate(ranges):
            try:
                call = self._read(reader, body[start:end])
            except Exception as error:
                responses[place] = self._unread(error, body[start:end])
            else:
                group.append(place)
                calls.append(call)
                rows += len(call.campaigns)
                if len(calls) == _GROUP or rows >= _GROUP_ROWS:
                    await self._answer(group, calls, responses)
                    reader = line.readers.of(line.store.live.layout)
                    group, calls, rows = [], [], 0
            if pace.is_over:
                await pace.rest()
        await self._answer(group, calls, responses)
        return responses

    def _read(self, reader: Reader, part: bytes) -> Call:
        if len(part) > self._max_bytes:
            raise BodyTooLarge(f"expected a request of at most {self._max_bytes} bytes, received more")
        return reader.read(part, time.time())

    async def _answer(self, group: list[int], calls: list[Call], responses: list[bytes]) -> None:
        """Answer the calls of a group, each in its place."""
        found = await self._find(calls)
        outcomes = self._predict(calls, found)
        good = [i for i, outcome in enumerate(outcomes) if isinstance(outcome, Answer)]
        answers = [outcome for outcome in outcomes if isinstance(outcome, Answer)]
        if len(good) < len(calls):
            for place, call, outcome in zip(group, calls, outcomes, strict=True):
                if isinstance(outcome, Exception):
                    responses[place] = self._refuse(outcome, call.id)
            group, calls, found = [group[i] for i in good], [calls[i] for i in good], [found[i] for i in good]
        for place, written in zip(group, self._line.answers.encode_all(calls, found, answers), strict=True):
            responses[place] = written

    def _predict(self, calls: list[Call], found: list[Found]) -> Sequence[Answer | Exception]:
        asked = [raw_request(call, one) for call, one in zip(calls, found, strict=True) if call.campaigns]
        outcomes = self._line.batcher.predict_now(asked)
        if len(asked) == len(calls):
            return outcomes
        nothing, rest = nothing_to_predict(self._line.store.live.name), iter(outcomes)
        return [next(rest) if call.campaigns else nothing for call in calls]

    async def _find(self, calls: list[Call]) -> list[Found]:
        found = [self._line.histories.at_once(call) for call in calls]
        keys = {i: key for i, key in enumerate(found) if isinstance(key, bytes)}
        if keys:
            deadline = asyncio.get_running_loop().time() + self._wait_s
            fetches = (self._line.histories.fetch(key, calls[i], deadline) for i, key in keys.items())
            for i, one in zip(keys, await asyncio.gather(*fetches), strict=True):
                found[i] = one
        return [one for one in found if not isinstance(one, bytes)]

    def _unread(self, error: Exception, part: bytes) -> bytes:
        """What is refused for its size is not parsed for its name."""
        return self._refuse(error, None if isinstance(error, BodyTooLarge) else _id_of(part))

    def _refuse(self, error: Exception, request_id: str | None) -> bytes:
        return self._problem(error, request_id) if isinstance(error, PltvError) else self._failure(error, request_id)

    def _problem(self, error: PltvError, request_id: str | None) -> bytes:
        return problems.encode({"id": request_id, **self._told.document(error)})

    def _failure(self, error: Exception, request_id: str | None) -> bytes:
        log_unexpected(error, ROUTE)
        return unexpected(self._failed, id=request_id)


def _id_of(part: bytes) -> str | None:
    """The name of a request that is otherwise invalid; None where it has none that is a text."""
    try:
        found = orjson.loads(part)
    except orjson.JSONDecodeError:
        return None
    name = found.get("id") if isinstance(found, dict) else None
    return name if isinstance(name, str) else None
