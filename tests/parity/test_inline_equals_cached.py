"""Inline = near cache = Redis: where a history came from is named in the answer and changes no bit of the numbers."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from app.features.spec import Declaration, Field
from tests.parity.calls import numbers, without_history
from tests.support.market import CONFIG, Json, Market
from tests.support.service_process import ServiceProcess, serving_process

DECLARATION = Declaration.from_dict(yaml.safe_load(CONFIG.read_text()))
KEYS = ["us", "08", "casino", "games", "é", "e\u0301", "", "a"]
EXAMPLES = settings(max_examples=40)
Pair = tuple[ServiceProcess, ServiceProcess]


@pytest.fixture(scope="module")
def services(trained: Market, redis_url: str) -> Iterator[Pair]:
    """Two processes that share a Redis and the identity key, and nothing else."""
    key = uuid.uuid4().hex
    with (
        serving_process(trained.bundle, PLTV_REDIS_URL=redis_url, PLTV_IDENTITY_KEY=key) as one,
        serving_process(trained.bundle, PLTV_REDIS_URL=redis_url, PLTV_IDENTITY_KEY=key) as other,
    ):
        yield one, other


@pytest.fixture(scope="module")
def bodies(trained: Market) -> list[Json]:
    """Some requests of the later day."""
    return trained.requests_parsed()[::40]


def values(field: Field) -> st.SearchStrategy[Any]:
    """What a history may hold for a field."""
    if field.kind == "category":
        return st.sampled_from(KEYS)
    if field.kind == "strings":
        return st.lists(st.sampled_from(KEYS), max_size=4)
    number = st.integers(1_600_000_000, 1_760_000_000) if field.temporal else st.floats(allow_nan=False)
    finite = number.filter(lambda x: abs(x) != float("inf"))
    if not field.ragged:
        return finite
    inner = maps(finite) if field.nested else finite
    return maps(inner)


def maps(value: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Objects, or pairs in which a key may come twice."""
    key = st.sampled_from(KEYS)
    return st.one_of(
        st.dictionaries(key, value, max_size=3),
        st.lists(st.tuples(key, st.one_of(st.none(), value)), max_size=3),
    )


def histories() -> st.SearchStrategy[Json]:
    """Any history of the declaration: fields absent, maps empty, numbers of any size."""
    optional = {field.name: values(field) for field in DECLARATION.scope("user")}
    return st.fixed_dictionaries({}, optional=optional)


def source(answer: Json) -> tuple[str, str]:
    """State and source of the history."""
    return answer["history"]["state"], answer["history"]["source"]


def check(services: Pair, body: Json, history: Json, identity: Json) -> None:
    """Inline without identity, then stored by one process and read by both: Redis first, near from then on."""
    one, other = services
    as_of = int(body["ext"]["ts"]) - 60
    expected = one.predict(body | {"user": {"ext": {"history": history}}})
    asked = without_history(body)
    user: Json = {"history": history | {"as_of": as_of}} | identity
    if "ifa" in identity:
        asked["device"]["ifa"] = identity["ifa"].upper()  # hexadecimal: its case does not matter
    else:
        asked["user"] = {"id": identity["user_id"]}
    assert one.post("/features", {"users": [user]}).json() == {"stored": 1, "older": 0, "statuses": ["stored"]}
    state = expected["history"]["state"]
    for service in (other, one):
        for where in ("redis", "near"):
            answer = service.predict(asked)
            assert source(answer) == (state, where)
            assert answer["history"]["as_of"] == as_of
            assert numbers(answer) == numbers(expected)


def test_histories_of_the_market(services: Pair, bodies: list[Json]) -> None:
    """Real histories, by ifa and by user id."""
    for i, body in enumerate(bodies):
        identity = {"ifa": str(uuid.uuid4())} if i % 2 else {"user_id": f"user {uuid.uuid4()}"}
        check(services, body, body["user"]["ext"]["history"], identity)


@EXAMPLES
@given(history=histories(), place=st.integers(0, 59))
def test_any_history(services: Pair, bodies: list[Json], history: Json, place: int) -> None:
    """Whatever the schema allows, odd shapes and odd numbers among them."""
    check(services, bodies[place], history, {"ifa": str(uuid.uuid4())})


def test_batches_read_the_same_histories(services: Pair, bodies: list[Json]) -> None:
    """/predict/batch by ifa equals /predict with the history inline, from Redis and from the near cache."""
    one, other = services
    ifas = [str(uuid.uuid4()) for _ in bodies]
    users = [
        {"ifa": ifa, "history": body["user"]["ext"]["history"] | {"as_of": body["ext"]["ts"]}}
        for ifa, body in zip(ifas, bodies, strict=True)
    ]
    assert one.post("/features", {"users": users}).json()["stored"] == len(users)
    inline = [numbers(answer) for answer in one.predict_batch(bodies)]
    asked = [without_history(body, ifa=ifa) for ifa, body in zip(ifas, bodies, strict=True)]
    for where in ("redis", "near"):
        answers = other.predict_batch(asked)
        assert {answer["history"]["source"] for answer in answers} == {where}
        assert [numbers(answer) for answer in answers] == inline


def test_an_inline_history_is_found_by_everyone(services: Pair, bodies: list[Json]) -> None:
    """Sent once with an `as_of`, it is near at once, in Redis a moment later, and the same everywhere."""
    one, other = services
    body, ifa = bodies[3], str(uuid.uuid4())
    sent = without_history(body, ifa=ifa)
    sent["user"] = {"ext": {"history": body["user"]["ext"]["history"] | {"as_of": body["ext"]["ts"]}}}
    first = one.predict(sent)
    asked = without_history(body, ifa=ifa)
    near = one.predict(asked)
    assert (source(first)[1], source(near)[1]) == ("inline", "near")
    for _ in range(1000):
        remote = other.predict(asked)
        if source(remote)[1] != "none":
            break
        time.sleep(0.01)
    assert source(remote)[1] == "redis"
    assert numbers(first) == numbers(near) == numbers(remote)
