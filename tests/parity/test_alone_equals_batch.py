"""Alone = in any batch: whoever rides along, in whatever order, a row's answer keeps its bits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.application import create_app
from app.features.parsing import RawRequest, assemble
from app.inference.predictor import Predictor
from app.settings import Settings
from tests.parity.calls import numbers, raw, reader, variants
from tests.support.market import Json, Market
from tests.support.service_process import ServiceProcess, samples

POOL = 320
EXAMPLES = settings(max_examples=60)


@pytest.fixture(scope="module")
def bodies(trained: Market) -> list[Json]:
    """Requests from all hours of the later day, in every shape."""
    parsed = trained.requests_parsed()
    return variants(parsed[:: len(parsed) // POOL][:POOL])


@pytest.fixture(scope="module")
def predictor(trained: Market) -> Iterator[Predictor]:
    """The bundle itself."""
    loaded = Predictor.load(trained.bundle)
    yield loaded
    loaded.close()


class Pool:
    """Raw requests, each with the bits of the answer that it gets alone."""

    def __init__(self, predictor: Predictor, bodies: list[Json]) -> None:
        self.predictor = predictor
        read = reader(predictor.layout)
        self.requests = [raw(read, body) for body in bodies]
        self.alone = [self.answers([request])[0] for request in self.requests]

    def answers(self, requests: list[RawRequest]) -> list[bytes]:
        """The bits of every number of each request's campaigns, predicted as one batch."""
        p = self.predictor.predict(assemble(self.predictor.layout, requests))
        rows = np.column_stack([p.p_buyer, p.ltv, p.log_mean, p.corrected])
        ends = np.cumsum([len(request.campaigns) for request in requests])
        return [part.tobytes() for part in np.split(rows, ends[:-1])]


@pytest.fixture(scope="module")
def pool(predictor: Predictor, bodies: list[Json]) -> Pool:
    """All the requests, alone."""
    return Pool(predictor, bodies)


@EXAMPLES
@given(data=st.data())
def test_any_batch_gives_the_bits_of_each_alone(pool: Pool, data: st.DataObject) -> None:
    """Random requests of every shape, in random order, some of them several times."""
    chosen = data.draw(st.lists(st.integers(0, len(pool.requests) - 1), min_size=1, max_size=100))
    assert pool.answers([pool.requests[i] for i in chosen]) == [pool.alone[i] for i in chosen]


def test_all_at_once_gives_the_bits_of_each_alone(pool: Pool) -> None:
    """The largest batch there is here."""
    assert pool.answers(pool.requests) == pool.alone


@EXAMPLES
@given(data=st.data())
def test_a_campaign_alone_has_the_bits_it_has_among_others(pool: Pool, data: st.DataObject) -> None:
    """The campaigns of one request do not know of each other."""
    several = [i for i, request in enumerate(pool.requests) if len(request.campaigns) > 1]
    place = data.draw(st.sampled_from(several))
    request = pool.requests[place]
    order = data.draw(st.permutations(range(len(request.campaigns))))
    whole = np.frombuffer(pool.alone[place]).reshape(len(order), -1)
    mixed = pool.answers([replace(request, campaigns=[request.campaigns[i] for i in order])])[0]
    assert mixed == whole[order].tobytes()
    single = pool.answers([replace(request, campaigns=[request.campaigns[order[0]]])])[0]
    assert single == whole[order[0]].tobytes()


def test_one_call_a_batch_and_crowds_agree(bodies: list[Json], service_process: ServiceProcess) -> None:
    """Over HTTP: one after the other, in /predict/batch, and from sixty-four connections at once."""
    alone = [service_process.predict(body) for body in bodies]
    assert service_process.predict_batch(bodies) == alone
    assert service_process.predict_at_once(bodies, connections=64) == alone
    assert {answer["history"]["state"] for answer in alone} == {"present", "new", "unavailable", "withheld"}


def test_requests_joined_in_one_turn_agree(
    trained: Market, bodies: list[Json], service_process: ServiceProcess
) -> None:
    """All calls of one turn of the event loop are predicted together, and nobody can tell."""
    chosen = bodies[-64:]
    alone = [numbers(service_process.predict(body)) for body in chosen]

    async def together() -> tuple[list[str], str]:
        app = create_app(Settings(bundle=trained.bundle, identity_key="k", deadline_ms=60_000))
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://pltv") as client,
        ):
            calls = [client.post("/predict", content=json.dumps(body)) for body in chosen]
            answers = [numbers(answer.json()) for answer in await asyncio.gather(*calls)]
            return answers, (await client.get("/metrics")).text

    joined, metrics = asyncio.run(together())
    assert joined == alone
    flushes, rows = samples(metrics, "pltv_batch_rows_count"), samples(metrics, "pltv_batch_rows_sum")
    assert rows[""] == sum(len(body["ext"]["campaigns"]) for body in chosen)
    assert flushes[""] < len(chosen) / 4
