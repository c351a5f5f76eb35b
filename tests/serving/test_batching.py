"""Tests of app/serving/batching.py, with a predictor whose every number can be computed here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import NotReady
from app.features.columns import Floats, Ints
from app.features.parsing import RawRequest, assemble
from app.features.spec import HistoryState
from app.inference.prior import Prior
from app.serving.batching import MAX_REQUESTS, MAX_ROWS, Answer, Batcher
from app.serving.pace import Pace
from app.serving.store import BundleStore, Live
from tests.serving.observed import LAYOUT, NOW, Recorder, asked, history, soon

FAULT = -13.0
PRIOR = Prior(
    levels=(("country", "genre", "os"), ("country",), ()),
    tables=({"us|games|ios": (0.5, 2.0, 3.0, 1.0)}, {"us": (0.25, 1.0, 1.5, 0.5)}, {"": (0.125, 0.5, 0.75, 0.25)}),
)


class Plan:
    """Features: price, spend lookup of the campaign's bundle."""

    def transform_requests(self, requests: Sequence[RawRequest]) -> tuple[Floats, Ints, dict[str, int]]:
        """Raises, as a faulty feature would, where a price is `FAULT`; unseen are campaigns of no bundle."""
        columns = assemble(LAYOUT, requests)
        price = columns.numbers[columns.owner, 0]
        if (price == FAULT).any():
            raise FloatingPointError("feature")
        unseen = sum(text is None for text in columns.campaign_texts.entries[: columns.n_rows])
        X = np.column_stack((price, np.nan_to_num(columns.row_lookups[:, 0], neginf=0.0)))
        return X, columns.row_state, {"bundle": unseen}


class Ensemble:
    """p = price, ltv = (spend, spend + price)."""

    spec = SimpleNamespace(horizons=(1, 7), multiplier=SimpleNamespace(by="bundle", horizon=7))

    def price(self, X: Floats, state: Floats, advertisers: Sequence[str | None]) -> Floats:
        """Elementwise."""
        ltv = np.column_stack((X[:, 1], X[:, 1] + X[:, 0]))
        multiplier = self.multiplier(ltv[:, 1], self.references(advertisers, len(X)))
        return np.column_stack((X[:, 0], ltv, X[:, 1] / 2, multiplier, X[:, 0] > 5))

    def references(self, advertisers: Sequence[str | None], n_rows: int) -> Floats:
        """2; app1's is a tenth more."""
        assert len(advertisers) == n_rows
        return np.array([2.2 if a == "app1" else 2.0 for a in advertisers])

    def multiplier(self, ltv: Floats, reference: Floats) -> Floats:
        """Their product."""
        return ltv * reference


class Store(BundleStore):
    """A store whose bundle a test exchanges."""

    def __init__(self) -> None:
        super().__init__(Path("nowhere"), key=None, poll_s=1, telemetry=Recorder())
        self.given: Live | None = None
        self.use("first")

    @property
    def live(self) -> Live:
        """What the test gave."""
        if self.given is None:
            raise NotReady("no bundle is live yet")
        return self.given

    def use(self, name: str) -> None:
        """Swap."""
        predictor: Any = SimpleNamespace(plan=Plan(), ensemble=Ensemble(), prior=PRIOR)
        self.given = Live(predictor, LAYOUT, name)

    def empty(self) -> None:
        """No bundle."""
        self.given = None


def request(price: float, bundles: Sequence[str | None] = ("app0",), country: str | None = "us") -> RawRequest:
    """A user who spent 1.0 in app0 and 2.0 in app1."""
    return RawRequest(
        now=NOW,
        request={"price": price, "country": country, "os": "ios"},
        campaigns=[{"bundle": b, "genre": "games" if b == "app0" else None} for b in bundles],
        history=history(),
        state=HistoryState.PRESENT,
    )


def expected(price: float, bundles: Sequence[str | None], bundle: str = "first") -> Answer:
    """The answer by hand."""
    spend = [{"app0": 1.0, "app1": 2.0}.get(b or "", 0.0) for b in bundles]
    return Answer(
        bundle=bundle,
        rows=[
            [price, s, s + price, s / 2, (s + price) * (2.2 if b == "app1" else 2.0)]
            for s, b in zip(spend, bundles, strict=True)
        ],
    )


def made() -> tuple[Batcher, Store, Recorder]:
    """A batcher with what it stands on."""
    store, recorder = Store(), Recorder()
    return Batcher(store, recorder), store, recorder


def at_once(batcher: Batcher, requests: Sequence[RawRequest]) -> list[Answer]:
    """The answers without a queue, none of which may be an exception."""
    outcomes = batcher.predict_now(requests)
    answers = [outcome for outcome in outcomes if isinstance(outcome, Answer)]
    assert len(answers) == len(outcomes)
    return answers


def test_one_turn_is_one_flush() -> None:
    """Requests of one turn are one matrix, and each gets its own rows in the order of its campaigns."""

    async def scenario() -> None:
        batcher, _, recorder = made()
        wanted = [(float(i), ["app0", "app1", None][: i % 4]) for i in range(1, 11) if i % 4]
        futures = [asked(batcher, request(p, b), soon()) for p, b in wanted]
        assert await asyncio.gather(*futures) == [expected(p, b) for p, b in wanted]
        assert recorder.rows == [sum(len(b) for _, b in wanted)]
        assert recorder.told["stage", "features"] == recorder.told["stage", "models"] == 1
        assert recorder.told["corrections",] == sum(len(b) for p, b in wanted if p > 5)
        await asyncio.sleep(0)
        assert recorder.told["unseen", "bundle"] == sum(b.count(None) for _, b in wanted)

    asyncio.run(scenario())


def test_answers_are_plain_python() -> None:
    """They go to the encoder as they are: no numpy number hides in them."""
    answer = at_once(made()[0], [request(1.0, ["app0", "app1"])])[0]
    assert json.loads(json.dumps(answer.rows))
    assert {type(x) for row in answer.rows for x in row} == {float}


@given(st.lists(st.integers(1, 64), min_size=1, max_size=150))
def test_flushes_are_bounded_and_keep_the_order(sizes: list[int]) -> None:
    """No flush exceeds its bounds, none splits a request, and the first come are answered first."""

    async def scenario() -> None:
        batcher, _, recorder = made()
        done: list[float] = []
        futures = [asked(batcher, request(float(i), ["app0"] * size), soon()) for i, size in enumerate(sizes)]
        for future in futures:
            future.add_done_callback(lambda f: done.append(f.result().rows[0][0]))
        answers = await asyncio.gather(*futures)
        assert [len(a.rows) for a in answers] == sizes
        assert done == [a.rows[0][0] for a in answers] == list(range(len(sizes)))
        assert max(recorder.rows) <= MAX_ROWS
        assert sum(recorder.rows) == sum(sizes)
        assert len(recorder.rows) >= len(sizes) / MAX_REQUESTS

    asyncio.run(scenario())


def test_a_request_larger_than_a_flush_is_answered() -> None:
    """The bound closes a flush to further requests, never to the first."""
    answers = at_once(made()[0], [request(1.0, ["app0"] * (MAX_ROWS + 1)), request(2.0)])
    assert [len(a.rows) for a in answers] == [MAX_ROWS + 1, 1]


def test_alone_and_joined_are_the_same() -> None:
    """`predict_now` and a flush give the same answers."""

    async def scenario() -> None:
        batcher, _, _ = made()
        requests = [request(float(i), ["app1", "app0"]) for i in range(5)]
        joined = await asyncio.gather(*(asked(batcher, r, soon()) for r in requests))
        assert joined == batcher.predict_now(requests) == [batcher.predict_now([r])[0] for r in requests]

    asyncio.run(scenario())


def test_a_fault_spoils_one_request_only() -> None:
    """The request whose features raise gets the exception, its neighbours their answers."""

    async def scenario() -> None:
        batcher, _, _ = made()
        prices = [1.0, FAULT, 3.0]
        results = await asyncio.gather(*(asked(batcher, request(p), soon()) for p in prices), return_exceptions=True)
        assert results[0::2] == [expected(1.0, ["app0"]), expected(3.0, ["app0"])]
        assert isinstance(results[1], FloatingPointError)
        outcomes = batcher.predict_now([request(p) for p in prices])
        assert outcomes[0::2] == results[0::2]
        assert isinstance(outcomes[1], FloatingPointError)

    asyncio.run(scenario())


def test_references_may_be_the_requests_own() -> None:
    """The bundle says by which column; a campaign's text goes before the request's."""
    batcher, store, _ = made()
    live: Any = store.given
    live.predictor.ensemble.spec = SimpleNamespace(horizons=(1, 7), multiplier=SimpleNamespace(by="app", horizon=7))
    own = [replace(request(1.0), request={"price": 1.0, "app": app}) for app in ("app1", "app2")]
    answers = at_once(batcher, own)
    assert [answer.rows[0][-1] for answer in answers] == [2.0 * 2.2, 2.0 * 2.0]


def test_late_requests_get_the_prior() -> None:
    """Whose time is over at the flush is answered by cohort, most specific first, and says so; others are not."""

    async def scenario() -> None:
        batcher, _, recorder = made()
        late = asked(batcher, request(1.0, ["app0", "app1"]), soon(-0.001))
        abroad = asked(batcher, request(1.0, ["app0"], country=None), soon(-0.001))
        in_time = asked(batcher, request(2.0), soon())
        assert await late == Answer(
            bundle="first",
            rows=[[0.5, 2.0, 3.0, 1.0, 6.0], [0.25, 1.0, 1.5, 0.5, 1.5 * 2.2]],
            degraded=("deadline",),
        )
        assert [row[0] for row in (await abroad).rows] == [0.125]
        assert await in_time == expected(2.0, ["app0"])
        assert recorder.rows == [1]

    asyncio.run(scenario())


def test_who_would_be_late_gets_the_prior_until_it_is_tried_again() -> None:
    """Where flushes are known to take a minute nobody can wait for one; the belief wears off, and models answer."""

    async def scenario() -> None:
        pace = Pace()
        for _ in range(300):
            pace.took(1, 60.0)
        batcher = Batcher(Store(), Recorder(), pace)
        told = [await asked(batcher, request(2.0), soon()) for _ in range(60)]
        assert [answer.degraded for answer in told] == sorted((answer.degraded for answer in told), reverse=True)
        assert told[0].degraded == ("deadline",)
        assert told[-1] == expected(2.0, ["app0"])

    asyncio.run(scenario())


def test_the_answer_names_its_bundle() -> None:
    """A swap between two turns changes who answers from there on, and nobody gets half of each."""

    async def scenario() -> None:
        batcher, store, _ = made()
        before = await asked(batcher, request(1.0), soon())
        store.use("second")
        after = await asked(batcher, request(1.0), soon())
        assert (before, after) == (expected(1.0, ["app0"]), expected(1.0, ["app0"], "second"))

    asyncio.run(scenario())


def test_without_a_bundle_nobody_is_answered() -> None:
    """Before a bundle is live every request gets `NotReady`."""

    async def scenario() -> None:
        batcher, store, _ = made()
        store.empty()
        with pytest.raises(NotReady):
            await asked(batcher, request(1.0), soon())
        with pytest.raises(NotReady):
            batcher.predict_now([request(1.0)])

    asyncio.run(scenario())
