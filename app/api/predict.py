"""`POST /predict`: one BidRequest in, one prediction a campaign out.

Between the body and the batch nothing is awaited unless Redis has to be asked, so that all the requests of one turn of
the event loop reach the batcher within that turn.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from time import monotonic, perf_counter
from typing import Final

from app.api.answers import Answers
from app.api.openrtb import HOUR_S, Call, Readers
from app.errors import Overloaded
from app.features.parsing import RawRequest
from app.features.spec import HistoryState
from app.serving.admission import Admission, deadline_of
from app.serving.batching import Answer, Batcher
from app.serving.cache import Found, HistoryCache
from app.serving.identity import Identity
from app.serving.store import BundleStore
from app.telemetry import Telemetry

WITHHELD: Final = Found(None, HistoryState.WITHHELD, "none", None)
UNKNOWN: Final = Found(None, HistoryState.UNAVAILABLE, "none", None)

_PRESENT, _NEW = HistoryState.PRESENT, HistoryState.NEW  # an enumeration's attribute costs a search


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
        history = call.history
        if history is not None:
            as_of = history.as_of
            if as_of is not None and call.identity is not None and as_of <= time.time() + HOUR_S:
                self._cache.keep(self._identity.of(call.identity), history)
            return Found(history, _NEW if history.empty else _PRESENT, "inline", as_of)
        if call.identity is None:
            return UNKNOWN
        key = self._identity.of(call.identity)
        return self._cache.near(key, call.ts) or key

    def look(self, key: bytes, call: Call, deadline: float, done: Callable[[Found], None]) -> None:
        """Ask Redis, until the deadline at most; `done` is called once, now or later, and must not raise."""
        self._cache.look(key, call.ts, deadline, done)

    async def fetch(self, key: bytes, call: Call, deadline: float) -> Found:
        """The same for a caller who awaits."""
        return await self._cache.fetch(key, call.ts, deadline)


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


Done = Callable[[bytes | Exception], None]
"""Gets the bytes of a good answer, or what went wrong; must not raise."""


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
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.start(body, partial(_resolve, answer))
        return await answer

    def start(self, body: bytes, done: Done) -> None:
        """Answer one BidRequest without a task: all but the batch, and Redis where it has to be asked, happens here.

        Parameters
        ----------
        body : bytes
        done : callable
            Called once, now or in a later turn of the event loop.
        """
        line = self._line
        try:
            line.admission.enter()
        except Overloaded as error:
            done(error)
            return
        try:
            received, start = line.admission.received(), perf_counter()
            call = line.readers.of(line.store.live.layout).read(body, time.time())
            deadline = deadline_of(received, call.deadline_ms, call.tmax_ms, self._deadline_ms)
            parsed = perf_counter()
            found = line.histories.at_once(call)
            under_way = _UnderWay(self, call, done, start, parsed, deadline)
            if isinstance(found, bytes):
                line.histories.look(found, call, _on_the_loops_clock(deadline), under_way.found)
            else:
                under_way.predict(found)
        except Exception as error:
            self.finish(done, error)

    def finish(self, done: Done, outcome: bytes | Exception) -> None:
        """Count the call out and tell its caller."""
        self._line.admission.leave()
        done(outcome)


class _UnderWay:
    """A call between its parsing and its answer."""

    __slots__ = ("_cache_s", "_call", "_deadline", "_done", "_found", "_owner", "_parsed", "_start")

    def __init__(self, owner: Predict, call: Call, done: Done, start: float, parsed: float, deadline: float) -> None:
        self._owner, self._call, self._done = owner, call, done
        self._start, self._parsed, self._deadline = start, parsed, deadline
        self._found, self._cache_s = UNKNOWN, 0.0

    def found(self, found: Found) -> None:
        """Go on with what Redis said; called from its connection, which no exception may reach."""
        try:
            self.predict(found)
        except Exception as error:
            self._owner.finish(self._done, error)

    def predict(self, found: Found) -> None:
        """Join the batch; where no campaign is valid there is nothing to wait for."""
        line = self._owner._line
        self._found = found
        self._cache_s = perf_counter() - self._parsed
        if self._call.campaigns:
            line.batcher.enqueue(raw_request(self._call, found), self._deadline, self._answer)
        else:
            self._answer(nothing_to_predict(line.store.live.name))

    def _answer(self, outcome: Answer | Exception) -> None:
        owner = self._owner
        if isinstance(outcome, Exception):
            owner.finish(self._done, outcome)
            return
        try:
            predicted = perf_counter()
            encoded = owner._line.answers.encode(self._call, self._found, outcome)
            done, slack = perf_counter(), self._deadline - monotonic()
            owner._telemetry.answered(self._parsed - self._start, self._cache_s, done - predicted, slack)
        except Exception as error:
            owner.finish(self._done, error)
            return
        owner.finish(self._done, encoded)


def _on_the_loops_clock(deadline: float) -> float:
    """Deadlines are told by a finer clock than the loop's, which uvloop reads in milliseconds once a turn."""
    return asyncio.get_running_loop().time() + deadline - monotonic()


def _resolve(future: asyncio.Future[bytes], outcome: bytes | Exception) -> None:
    if future.done():  # the caller is gone
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def raw_request(call: Call, found: Found) -> RawRequest:
    """The raw columns of a call and the history that was found for it."""
    return RawRequest(call.now, call.request, call.campaigns, found.history, found.state)


def nothing_to_predict(bundle: str) -> Answer:
    """The answer to a call none of whose campaigns is valid."""
    return Answer(bundle, [])
