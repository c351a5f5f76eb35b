"""What identifies a person, and what a body says, stays out of the log, the metrics and every error document."""

from __future__ import annotations

import copy
import gzip
import hashlib
import json
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import redis

from tests.support.market import Json, Market
from tests.support.service_process import ServiceProcess, serving_process

TS = 1_759_881_600
# Each must be so odd that it can come from nowhere else.
SECRETS = {
    "ifa": "5ec2e7ab-cafe-4bad-8bad-feedfacebeef",
    "ip": "198.51.100.77",
    "ipv6": "2001:db8:77:77::7777",
    "user": "person-7f3a-of-the-test",
    "buyer": "buyer-9c1d-of-the-test",
    "bundle": "com.secret.habit-of-the-test",
    "model": "model-of-the-test-zq",
    "consent": "consent-of-the-test-zq",
    "campaign": "campaign-of-the-test-zq",
    "request": "request-of-the-test-zq",
    "token": "token-of-the-test-zq",
}


def personal(**changes: Any) -> Json:
    """A bid request full of them, with parts changed."""
    body: Json = {
        "id": SECRETS["request"],
        "imp": [{"id": "1"}],
        "device": {"ifa": SECRETS["ifa"], "ip": SECRETS["ip"], "ipv6": SECRETS["ipv6"], "model": SECRETS["model"]},
        "user": {
            "id": SECRETS["user"],
            "buyeruid": SECRETS["buyer"],
            "consent": SECRETS["consent"],
            "ext": {"history": {"as_of": TS, "user_bundles": [SECRETS["bundle"]], "bcat": {SECRETS["bundle"]: 1}}},
        },
        "ext": {"ts": TS, "campaigns": [{"id": SECRETS["campaign"], "advertiser_bundle": SECRETS["bundle"]}]},
    }
    return copy.deepcopy({**body, **changes})


def good_calls(service: ServiceProcess) -> Iterator[httpx.Response]:
    """Calls of every door that succeed."""
    body = personal()
    yield service.post("/predict", body)
    yield service.post("/predict", personal(regs={"gdpr": 1}))
    yield service.post("/predict/batch", {"requests": [body, personal(imp={}), {"id": SECRETS["ifa"]}]})
    yield service.post("/predict", gzip.compress(json.dumps(body).encode()), headers={"content-encoding": "gzip"})
    history = body["user"]["ext"]["history"]
    yield service.post("/features", {"users": [{"ifa": SECRETS["ifa"], "history": history}]})
    yield service.post("/features", {"users": [{"user_id": SECRETS["user"], "history": history}]})
    asked = personal(user={"id": SECRETS["user"]})
    yield service.post("/predict", asked)
    yield service.post("/features/delete", {"users": [{"ifa": SECRETS["ifa"]}, {"user_id": SECRETS["user"]}]})


def bad_calls(service: ServiceProcess) -> Iterator[httpx.Response]:
    """Calls that are refused, each for something that holds a secret."""
    body = personal()
    whole = json.dumps(body).encode()
    broken = (whole[:-30], whole[30:], SECRETS["ifa"].encode(), b'{"' + whole, whole.replace(b":", b"="))
    for path in ("/predict", "/predict/batch", "/features", "/features/delete"):
        for text in broken:
            yield service.post(path, text)
    for path in ("/predict/batch", "/features", "/features/delete"):
        yield service.post(path, whole)  # at the wrong door
    yield service.post("/predict", personal(imp=SECRETS["user"]))
    yield service.post("/predict", personal(imp=[{"id": {SECRETS["user"]: SECRETS["ip"]}}]))
    yield service.post("/predict", personal(device={"ifa": {SECRETS["ifa"]: 1}, "model": [SECRETS["model"]]}))
    yield service.post("/predict", personal(device={"geo": SECRETS["ip"]}))
    yield service.post("/predict", personal(user={"id": [SECRETS["user"]]}))
    for field in ("bcat", "user_bundles", "wifi_ratio", "user_actions_bundles_action_count", "last_buy", "as_of"):
        for value in (SECRETS["bundle"], {SECRETS["bundle"]: [SECRETS["ip"]]}, [{SECRETS["bundle"]: 1}]):
            yield service.post("/predict", personal(user={"ext": {"history": {field: value}}}))
            user = {"ifa": SECRETS["ifa"], "history": {"as_of": TS, field: value}}
            yield service.post("/features", {"users": [user]})
    yield service.post("/predict", personal(ext={"ts": SECRETS["ip"], "campaigns": [SECRETS["campaign"]]}))
    yield service.post("/predict", personal(ext={"ts": TS, "campaigns": SECRETS["campaign"]}))
    yield service.post("/features", {"users": [{"ifa": SECRETS["ifa"], "history": {}}]})
    yield service.post("/features", {"users": [{SECRETS["ifa"]: 1}]})
    yield service.post("/features/delete", {"users": [{"ifa": [SECRETS["ifa"]]}]})
    yield service.post("/predict", whole, headers={"content-type": f"text/{SECRETS['token']}"})
    yield service.post("/predict", whole, headers={"content-encoding": SECRETS["token"]})
    yield service.post("/predict", whole, headers={"content-encoding": "gzip"})
    yield service.client.get(f"/features/{SECRETS['ifa']}", params={"ip": SECRETS["ip"]})
    yield service.client.delete(f"/{SECRETS['user']}")
    yield service.post("/models/reload", headers={"authorization": f"Bearer {SECRETS['token']}"})


def leaked(text: str) -> list[str]:
    """Which secrets a text holds, in whatever case."""
    return [name for name, secret in SECRETS.items() if secret.lower() in text.lower()]


@pytest.fixture(scope="module")
def talkative(trained: Market, redis_url: str) -> Iterator[ServiceProcess]:
    """The service with a Redis and the most that it ever logs."""
    key = uuid.uuid4().hex
    with serving_process(
        trained.bundle, PLTV_REDIS_URL=redis_url, PLTV_LOG_LEVEL="debug", PLTV_IDENTITY_KEY=key
    ) as service:
        yield service


def test_good_calls_leave_no_trace(talkative: ServiceProcess) -> None:
    """Neither in the log nor in a label; the problem of one in a batch does not quote it."""
    for answer in good_calls(talkative):
        assert answer.status_code == 200, answer.text
        for response in answer.json().get("responses", []):
            response.pop("id")  # of the request, as its caller named it
            assert "status" not in response or leaked(json.dumps(response)) == []
    assert leaked(talkative.metrics()) == []
    assert leaked(talkative.output) == []


def test_who_it_is_can_not_be_read_from_redis(talkative: ServiceProcess, redis_url: str) -> None:
    """Histories lie under digests by the service's key: neither keys nor values hold a name or an address."""
    assert talkative.post("/features", {"users": [{"ifa": SECRETS["ifa"], "history": {"as_of": TS}}]}).is_success
    assert talkative.post("/predict", personal()).is_success
    with redis.Redis.from_url(redis_url) as client:
        stored = {key: client.dump(key) or b"" for key in client.scan_iter(count=1000)}
    assert stored
    for key, value in stored.items():
        held = (key + value).lower()
        names = [SECRETS[name].lower().encode() for name in ("ifa", "ip", "ipv6", "user", "buyer", "request")]
        names += [hashlib.sha256(name).digest() for name in names]  # a digest without a key could be tried out
        assert [name for name in names if name in held or name.hex().encode() in held] == []


def test_error_documents_quote_nothing(talkative: ServiceProcess) -> None:
    """They name the field and the kind of thing that came, never a value or a key of the caller's."""
    statuses = set()
    for answer in bad_calls(talkative):
        statuses.add(answer.status_code)
        if answer.status_code == 200:  # a bad campaign is told in its place, beside the echoed `id`s
            answers = answer.json()
            assert leaked(json.dumps([p.get("problem") for p in answers["predictions"]])) == []
            continue
        assert answer.headers["content-type"] == "application/problem+json"
        assert leaked(answer.text) == []
        assert leaked(str(answer.headers)) == []
    assert statuses >= {400, 401, 404, 415}
    assert not [status for status in statuses if status >= 500]
    assert leaked(talkative.metrics()) == []
    assert leaked(talkative.output) == []


def test_a_store_that_fails_is_told_without_names(trained: Market) -> None:
    """No Redis answers: predictions go on, writes are refused, and still nothing personal is said."""
    with serving_process(trained.bundle, PLTV_REDIS_URL="redis://127.0.0.1:9/0", PLTV_LOG_LEVEL="debug") as service:
        statuses = [answer.status_code for answer in good_calls(service)]
        assert statuses == [200, 200, 200, 200, 503, 503, 200, 503]
        assert leaked(service.metrics()) == []
        assert leaked(service.output) == []
