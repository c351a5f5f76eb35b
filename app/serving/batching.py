"""Requests that arrive in one event-loop turn are predicted together: raw requests enter, answers leave.

numpy's price is a call, not a row: one flush of a turn's requests costs hardly more than one request. A row's answer
does not depend on who rode along (`Columns` and everything after it are elementwise), so joining changes no bit.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise
from time import monotonic, perf_counter
from typing import Any, Final, TypeVar

import numpy as np

from app.errors import NotReady
from app.features.encoders import normalise
from app.features.parsing import RawRequest
from app.serving.observing import Observer
from app.serving.pace import Pace
from app.serving.store import BundleStore, Live

T = TypeVar("T")

# Of one flush, together some milliseconds; then the event loop takes its turn, and the rest the next flush.
MAX_REQUESTS: Final = 64
MAX_ROWS: Final = 256


@dataclass(slots=True)
class Answer:
    """The predictions of one request.

    Parameters
    ----------
    bundle : str
        Name of the bundle that made it.
    rows : list of list of float
        One a campaign in the order they came: p_buyer (probability), an ltv a horizon (US dollars, non-decreasing),
        log_mean (expm1(E[log1p y]), US dollars), bid multiplier.
    degraded : tuple of str
        `deadline` where it is the prior's.
    """

    bundle: str
    rows: list[list[float]]
    degraded: tuple[str, ...] = ()


Done = Callable[[Answer | Exception], None]
"""Gets the answer, or what went wrong; must not raise."""
_Predict = Callable[[Sequence[RawRequest]], list[Answer]]


@dataclass(slots=True)
class _Ticket:
    request: RawRequest
    deadline: float
    done: Done


class Batcher:
    """Joins requests and predicts them with the live bundle.

    It belongs to the event loop and predicts within one turn, so that a bundle which is swapped between turns is
    used by nobody.

    Parameters
    ----------
    store : BundleStore
    telemetry : Observer
    pace : Pace or None
        Is told what flushes take; None begins with none known.
    """

    def __init__(self, store: BundleStore, telemetry: Observer, pace: Pace | None = None) -> None:
        self._store, self._observer, self._pace = store, telemetry, pace or Pace()
        self._waiting: deque[_Ticket] = deque()

    def enqueue(self, request: RawRequest, deadline: float, done: Done) -> None:
        """Queue a request for the flush at the end of this turn.

        Parameters
        ----------
        request : RawRequest
        deadline : float
            `time.monotonic()` instant. Where it would be over after the flush, the bundle's prior answers, degraded.
        done : callable
            Called in the flush with the answer, with the exception that the request's own features raise, or with
            `NotReady` without a live bundle.
        """
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._flush)
        self._waiting.append(_Ticket(request, deadline, done))

    def predict_now(self, requests: Sequence[RawRequest]) -> list[Answer | Exception]:
        """Predict at once, whatever the time; the same code as a flush.

        Returns
        -------
        list of (Answer or Exception)
            One a request; the exception is what its own features raised.

        Raises
        ------
        NotReady
            Without a live bundle.
        """
        live, outcomes = self._store.live, list[Answer | Exception]()
        if len(requests) <= MAX_REQUESTS and sum([len(r.campaigns) for r in requests]) <= MAX_ROWS:
            return [*_each(requests, partial(self._predict, live))] if requests else outcomes
        rest = deque(requests)
        while rest:
            outcomes += _each(_next_batch(rest, _rows), partial(self._predict, live))
        return outcomes

    def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        tickets = _next_batch(self._waiting, _ticket_rows)
        if self._waiting:
            loop.call_soon(self._flush)
        try:
            live = self._store.live
        except NotReady as error:
            _fail(tickets, error)
            return
        now = monotonic()
        after = now + self._pace.expected_s(len(tickets))
        if late := [t for t in tickets if t.deadline <= after]:  # first: for each of them every moment counts
            _settle(late, partial(prior_answers, live))
        if in_time := [t for t in tickets if t.deadline > after]:
            begun = monotonic()
            _settle(in_time, partial(self._predict, live))
            self._pace.took(len(in_time), monotonic() - begun)
        elif any(t.deadline > now for t in late):
            self._pace.relent(len(late))

    def _predict(self, live: Live, requests: Sequence[RawRequest]) -> list[Answer]:
        start = perf_counter()
        X, state, unseen = live.predictor.plan.transform_requests(requests)
        features = perf_counter()
        rows: list[list[float]] = live.predictor.ensemble.price(X, state, _advertisers(live, requests)).tolist()
        corrected = sum([row.pop() for row in rows])
        answers = _split(live, requests, rows)
        self._observer.stage("features", features - start)
        self._observer.stage("models", perf_counter() - features)
        self._observer.batch_rows(len(rows))
        self._observer.corrections(int(corrected))
        for field, n in unseen.items():
            self._observer.unseen(field, n)
        return answers


def prior_answers(live: Live, requests: Sequence[RawRequest]) -> list[Answer]:
    """What the bundle says of each campaign's cohort, for requests whose time is over: together, or whoever is late
    would cost more than who is in time."""
    prior, fields = live.predictor.prior, live.predictor.prior.levels[0]
    found = [prior.lookup(*(_category(r, c, f) for f in fields)) for r in requests for c in r.campaigns]
    ensemble = live.predictor.ensemble
    place = 1 + ensemble.spec.horizons.index(ensemble.spec.multiplier.horizon)
    column = np.array([values[place] for values in found])
    multipliers = ensemble.multiplier(column, ensemble.references(_advertisers(live, requests), len(column))).tolist()
    rows = [[*values, multiplier] for values, multiplier in zip(found, multipliers, strict=True)]
    return [Answer(live.name, answer.rows, ("deadline",)) for answer in _split(live, requests, rows)]


def _category(request: RawRequest, campaign: Mapping[str, Any], field: str) -> str | None:
    text = campaign.get(field, request.request.get(field))
    return None if text is None else normalise(text)


def _advertisers(live: Live, requests: Sequence[RawRequest]) -> list[str | None]:
    """Of each row: the text that the bundle keeps references by, of the campaign or of its request."""
    by = live.predictor.ensemble.spec.multiplier.by
    return [c.get(by) or r.request.get(by) for r in requests for c in r.campaigns]


def _split(live: Live, requests: Sequence[RawRequest], rows: list[list[float]]) -> list[Answer]:
    if len(requests) == 1:
        return [Answer(live.name, rows)]
    if len(requests) == len(rows):
        return [Answer(live.name, [row]) for row in rows]
    ends = list(accumulate((len(r.campaigns) for r in requests), initial=0))
    return [Answer(live.name, rows[start:end]) for start, end in pairwise(ends)]


def _next_batch(waiting: deque[T], rows: Callable[[T], int]) -> list[T]:
    """Take from the front what fits into one flush, one at least."""
    taken = [waiting.popleft()]
    total = rows(taken[0])
    while waiting and len(taken) < MAX_REQUESTS and total + rows(waiting[0]) <= MAX_ROWS:
        taken.append(waiting.popleft())
        total += rows(taken[-1])
    return taken


def _rows(request: RawRequest) -> int:
    return len(request.campaigns)


def _ticket_rows(ticket: _Ticket) -> int:
    return len(ticket.request.campaigns)


def _fail(tickets: Sequence[_Ticket], error: Exception) -> None:
    for ticket in tickets:
        ticket.done(error)


def _settle(tickets: Sequence[_Ticket], predict: _Predict) -> None:
    if tickets:
        for ticket, outcome in zip(tickets, _each([t.request for t in tickets], predict), strict=True):
            ticket.done(outcome)


def _each(requests: Sequence[RawRequest], predict: _Predict) -> Sequence[Answer | Exception]:
    """The answers; where something raises, one request's features did: it alone shall have it."""
    try:
        return predict(requests)
    except Exception as error:
        return [error] if len(requests) == 1 else [_each([request], predict)[0] for request in requests]
