"""`POST /predict/batch`: many BidRequests in one body, each answered as if it had come alone.

The requests of a group are predicted together, groups are small, and other callers have their turn between them.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
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


@dataclass(slots=True)
class _Group:
    """Requests that are predicted together, by their places in the body."""

    calls: dict[int, Call] = field(default_factory=dict)
    rows: int = 0

    def add(self, place: int, call: Call) -> bool:
        """Whether the group is full with it."""
        self.calls[place] = call
        self.rows += len(call.campaigns)
        return len(self.calls) == _GROUP or self.rows >= _GROUP_ROWS


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
        responses: list[bytes] = [b""] * len(ranges)
        pace, group = Pace(), _Group()
        for place, (start, end) in enumerate(ranges):
            reader = self._line.readers.of(self._line.store.live.layout)
            read = self._read(reader, body[start:end])
            if isinstance(read, bytes):
                responses[place] = read
            elif group.add(place, read):
                await self._predict(group.calls, responses)
                group = _Group()
            if pace.is_over:
                await pace.rest()
        await self._predict(group.calls, responses)
        return responses

    def _read(self, reader: Reader, part: bytes) -> Call | bytes:
        try:
            if len(part) > self._max_bytes:
                raise BodyTooLarge(f"expected a request of at most {self._max_bytes} bytes, received more")
            return reader.read(part, time.time())
        except BodyTooLarge as error:
            return self._problem(error, None)  # what is refused for its size is not parsed for its name
        except Exception as error:
            return self._refuse(error, _id_of(part))

    async def _predict(self, group: dict[int, Call], responses: list[bytes]) -> None:
        found = await self._find(group)
        asked = [place for place, call in group.items() if call.campaigns]
        settled = self._line.batcher.predict_now([raw_request(group[place], found[place]) for place in asked])
        outcomes: dict[int, Answer | Exception] = dict.fromkeys(group, nothing_to_predict(self._line.store.live.name))
        outcomes.update(zip(asked, settled, strict=True))
        good = {place: answer for place, answer in outcomes.items() if isinstance(answer, Answer)}
        written = self._line.answers.encode_all([(group[p], found[p], answer) for p, answer in good.items()])
        for place, response in zip(good, written, strict=True):
            responses[place] = response
        for place, error in outcomes.items():
            if isinstance(error, Exception):
                responses[place] = self._refuse(error, group[place].id)

    async def _find(self, group: dict[int, Call]) -> dict[int, Found]:
        found = {place: self._line.histories.at_once(call) for place, call in group.items()}
        keys = {place: key for place, key in found.items() if isinstance(key, bytes)}
        if keys:
            deadline = asyncio.get_running_loop().time() + self._wait_s
            fetches = (self._line.histories.fetch(key, group[place], deadline) for place, key in keys.items())
            found.update(zip(keys, await asyncio.gather(*fetches), strict=True))
        return {place: one for place, one in found.items() if isinstance(one, Found)}

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
