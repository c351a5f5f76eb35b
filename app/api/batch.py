"""`POST /predict/batch`: many BidRequests in one body, each answered as if it had come alone.

The requests of a group are predicted together, groups are small, and other callers have their turn between them.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import Final

import orjson

from app.api import problems
from app.api.failures import log_unexpected, unexpected
from app.api.openrtb import Call, Reader
from app.api.predict import Line, nothing_to_predict, raw_request
from app.api.problems import Kind, Problems
from app.api.slices import Pace, entries
from app.errors import BodyTooLarge, PltvError
from app.serving.batching import Answer
from app.serving.cache import Found

ROUTE: Final = "/predict/batch"
_GROUP: Final = 16  # requests
_GROUP_ROWS: Final = 32  # campaigns; either is a flush of one or two milliseconds


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
            ranges = await entries(body, "requests", self._most)
            responses = await self._respond(body, ranges)
        finally:
            self._line.admission.leave()
        return b'{"responses":[' + b",".join(responses) + b"]}"

    async def _respond(self, body: bytes, ranges: list[tuple[int, int]]) -> list[bytes]:
        responses: list[bytes] = [b""] * len(ranges)
        pace = Pace()
        group: dict[int, Call] = {}
        rows = 0
        for place, (start, end) in enumerate(ranges):
            reader = self._line.readers.of(self._line.store.live.layout)
            read = self._read(reader, body[start:end])
            if isinstance(read, bytes):
                responses[place] = read
            else:
                group[place] = read
                rows += len(read.campaigns)
            if len(group) == _GROUP or rows >= _GROUP_ROWS:
                await self._predict(group, responses)
                group, rows = {}, 0
            await pace.rest()
        await self._predict(group, responses)
        return responses

    def _read(self, reader: Reader, part: bytes) -> Call | bytes:
        try:
            if len(part) > self._max_bytes:
                raise BodyTooLarge(f"expected a request of at most {self._max_bytes} bytes, received more")
            return reader.read(part, time.time())
        except BodyTooLarge as error:
            return self._problem(error, None)  # what is refused for its size is not parsed for its name
        except PltvError as error:
            return self._problem(error, _id_of(part))
        except Exception as error:
            return self._failure(error, _id_of(part))

    async def _predict(self, group: dict[int, Call], responses: list[bytes]) -> None:
        if not group:
            return
        found = await self._find(group)
        futures = {
            place: self._line.batcher.submit(raw_request(call, found[place]), math.inf)
            for place, call in group.items()
            if call.campaigns
        }
        settled = await asyncio.gather(*futures.values(), return_exceptions=True)
        answers: dict[int, Answer | BaseException] = dict(zip(futures, settled, strict=True))
        for place, call in group.items():
            answer = answers.get(place) or nothing_to_predict(self._line.store.live.name)
            responses[place] = self._response(call, found[place], answer)

    async def _find(self, group: dict[int, Call]) -> dict[int, Found]:
        found = {place: self._line.histories.at_once(call) for place, call in group.items()}
        keys = {place: key for place, key in found.items() if isinstance(key, bytes)}
        if keys:
            deadline = asyncio.get_running_loop().time() + self._wait_s
            fetches = (self._line.histories.fetch(key, group[place], deadline) for place, key in keys.items())
            found.update(zip(keys, await asyncio.gather(*fetches), strict=True))
        return {place: one for place, one in found.items() if isinstance(one, Found)}

    def _response(self, call: Call, found: Found, answer: Answer | BaseException) -> bytes:
        if isinstance(answer, PltvError):
            return self._problem(answer, call.id)
        if isinstance(answer, BaseException):
            return self._failure(answer, call.id)
        return self._line.answers.encode(call, found, answer)

    def _problem(self, error: PltvError, request_id: str | None) -> bytes:
        return problems.encode({"id": request_id, **self._told.document(error)})

    def _failure(self, error: BaseException, request_id: str | None) -> bytes:
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
