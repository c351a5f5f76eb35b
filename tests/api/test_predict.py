"""Tests of app.api.predict through the whole application."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from pathlib import Path
from typing import Any

import pytest

from app.features.parsing import request_from_json
from tests.api.served import HISTORY, IFA, TS, Served, bid, serving, with_history
from tests.api.test_privacy import NO


def test_an_answer_has_the_contract_s_shape(service: Served) -> None:
    """Keys and their order, text and numbers."""
    answer = service.post("/predict", bid(user=with_history()))
    assert answer.headers["content-type"] == "application/json"
    found = answer.json()
    assert list(found) == ["id", "bundle", "currency", "per", "ttl_s", "history", "degraded", "predictions"]
    assert (found["id"], found["bundle"], found["currency"], found["per"]) == ("r1", "shop-1", "USD", "visit")
    assert (found["ttl_s"], found["degraded"]) == (300, [])
    assert found["history"] == {"state": "present", "source": "inline", "as_of": TS - 3600}
    (prediction,) = found["predictions"]
    assert list(prediction) == ["campaign", "status", "p_buyer", "ltv", "log_mean_d7", "multiplier"]
    assert list(prediction["ltv"]) == ["d1", "d7", "d14"]
    assert 0 <= prediction["ltv"]["d1"] <= prediction["ltv"]["d7"] <= prediction["ltv"]["d14"]


def test_numbers_are_the_predictor_s_to_the_last_bit(service: Served) -> None:
    """What the wire says is what the predictor says of the same raw columns."""
    (prediction,) = service.predict(user=with_history())["predictions"]
    live = service.app.store.live
    raw: dict[str, Any] = {
        "now": TS // 3600 * 3600,
        "request": {"browser": "a", "price": 499.0},
        "campaigns": [{"shelf": "toys"}],
        "history": HISTORY,
        "state": "present",
    }
    assert request_from_json(live.layout, raw).history is not None
    alone = live.predictor.answer(raw)
    assert prediction["p_buyer"] == alone.p_buyer[0]
    assert list(prediction["ltv"].values()) == alone.ltv[0].tolist()
    assert prediction["log_mean_d7"] == alone.log_mean[0]


def test_campaigns_are_answered_in_order(service: Served) -> None:
    """A bad one in its place with its own problem, the others as if it were not there."""
    shelves = [{"id": "a", "shelf": "toys"}, {"id": "b", "shelf": 5}, {"id": "c", "shelf": "books"}, "d"]
    found = service.predict(ext={"ts": TS, "deadline_ms": 60_000, "campaigns": shelves})["predictions"]
    assert [(p["campaign"], p["status"]) for p in found] == [
        ("a", "ok"),
        ("b", "invalid"),
        ("c", "ok"),
        (None, "invalid"),
    ]
    assert found[1]["problem"]["field"] == "ext.campaigns.1.shelf"
    alone = service.predict(ext={"ts": TS, "deadline_ms": 60_000, "campaigns": [shelves[2]]})["predictions"]
    assert found[2] == alone[0]


def test_no_valid_campaign_is_still_an_answer(service: Served) -> None:
    """Each entry says what is wrong with it."""
    found = service.predict(ext={"ts": TS, "campaigns": [1, {}]})
    assert found["bundle"] == "shop-1"
    assert [p["status"] for p in found["predictions"]] == ["invalid", "invalid"]


def test_history_states(sealed: Path) -> None:
    """Inline, near, new, unavailable and withheld; without an identity nothing is kept."""
    with serving(sealed) as service:
        device = bid()["device"]
        known = {**device, "ifa": IFA}
        nothing = {"state": "unavailable", "source": "none", "as_of": None}
        assert service.predict(device=known)["history"] == nothing
        inline = service.predict(device=known, user=with_history())
        assert inline["history"] == {"state": "present", "source": "inline", "as_of": TS - 3600}
        near = service.predict(device={**known, "ifa": IFA.upper()})
        assert near["history"] == {"state": "present", "source": "near", "as_of": TS - 3600}
        assert near["predictions"] == inline["predictions"]
        new = service.predict(user=with_history({"as_of": TS - 60}, id="u1"))
        assert new["history"] == {"state": "new", "source": "inline", "as_of": TS - 60}
        assert service.predict(user={"id": "u1"})["history"]["state"] == "new"
        assert service.predict(user=with_history({"as_of": TS - 60}))["history"]["state"] == "new"
        assert (
            service.predict(device={**device, "ifa": "0000-0000"}, user=with_history())["history"]["state"] == "present"
        )
        assert service.predict(device={**device, "ifa": "0000-0000"})["history"] == nothing
        without_as_of = {key: value for key, value in HISTORY.items() if key != "as_of"}
        assert service.predict(user=with_history(without_as_of, id="u2"))["history"]["as_of"] is None
        assert service.predict(user={"id": "u2"})["history"] == nothing
        late = {"ts": TS + 90 * 86_400, "campaigns": [{"id": "c"}], "deadline_ms": 60_000}
        assert service.predict(device=known, ext=late)["history"] == nothing


def test_a_history_ahead_of_the_server_s_clock_is_used_but_not_kept(sealed: Path) -> None:
    """One caller's wrong clock must not win over every later history of the user."""
    ahead = int(time.time()) + 3 * 86_400
    device = {**bid()["device"], "ifa": IFA}
    ext = {"ts": ahead, "campaigns": [{"id": "c"}], "deadline_ms": 60_000}
    with serving(sealed) as service:
        inline = service.predict(device=device, user=with_history({**HISTORY, "as_of": ahead}), ext=ext)
        assert inline["history"] == {"state": "present", "source": "inline", "as_of": ahead}
        assert service.predict(device=device)["history"]["state"] == "unavailable"
        service.predict(device=device, user=with_history())
        assert service.predict(device=device)["history"]["as_of"] == HISTORY["as_of"]


@pytest.mark.parametrize(
    "closed",
    [{"device": {"lmt": 1, "ifa": IFA}}, {"regs": {"coppa": 1}}, {"regs": {"ext": {"gdpr": 1}}}, {"consent": NO}],
)
def test_the_gate_withholds_and_keeps_nothing(sealed: Path, closed: dict[str, Any]) -> None:
    """The same answer with and without the history, and no trace of it afterwards."""
    changes = dict(closed)
    device = {"browser": "a", "ifa": IFA, **changes.pop("device", {})}
    user = {"consent": changes.pop("consent", None)}
    with serving(sealed) as service:
        withheld = service.predict(device=device, user=with_history(**user), **changes)
        assert withheld["history"] == {"state": "withheld", "source": "none", "as_of": None}
        assert withheld == service.predict(device=device, user=user, **changes)
        assert service.predict(device={"ifa": IFA})["history"]["state"] == "unavailable"


def test_a_deadline_that_is_over_is_answered_by_the_prior(service: Served) -> None:
    """Degraded, and said so; a zero tmax is none."""
    found = service.predict(ext={"ts": TS, "deadline_ms": 0, "campaigns": [{"id": "c"}]})
    assert found["degraded"] == ["deadline"]
    assert found["predictions"][0]["ltv"] == {"d1": 1.0, "d7": 2.0, "d14": 3.0}
    assert service.predict(tmax=0)["degraded"] == []


def test_requests_of_one_turn_are_joined_and_answered_apart(service: Served) -> None:
    """Each gets its own id and its own numbers."""
    bodies = [
        bid(id=str(i), ext={"ts": TS, "deadline_ms": 60_000, "campaigns": [{"id": "c"}] * (i + 1)}) for i in range(5)
    ]

    async def all_at_once() -> list[Any]:
        calls = (service._client.post("/predict", content=json.dumps(body).encode()) for body in bodies)
        return [answer.json() for answer in await asyncio.gather(*calls)]

    answers = service._runner.run(all_at_once())
    assert [answer["id"] for answer in answers] == [str(i) for i in range(5)]
    assert [len(answer["predictions"]) for answer in answers] == [1, 2, 3, 4, 5]


def test_gzip_is_read(service: Served) -> None:
    """The same answer."""
    body = json.dumps(bid()).encode()
    answer = service.post("/predict", gzip.compress(body), headers={"content-encoding": "gzip"})
    assert answer.json() == service.post("/predict", body).json()


def test_above_the_limit_calls_are_shed(sealed: Path) -> None:
    """503 with Retry-After, counted; health and metrics answer all the same."""
    with serving(sealed, max_in_flight=1) as service:
        service.app.admission.enter()
        answer = service.post("/predict", bid())
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["type"] == "urn:pltv:problem:overloaded"
        assert service.get("/health/live").status_code == 200
        metrics = service.get("/metrics").text
        assert 'pltv_shed_total{reason="in_flight"} 1.0' in metrics
        assert "pltv_in_flight 1.0" in metrics
        service.app.admission.leave()
        assert service.post("/predict", bid()).status_code == 200
        assert service.app.admission.in_flight == 0


def test_tokens_open_the_doors(sealed: Path) -> None:
    """Where they are configured, callers need one; health does not."""
    digest = "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8"  # of "password"
    with serving(sealed, api_tokens=digest) as service:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "password"}):
            answer = service.post("/predict", bid(), headers=headers)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert service.post("/predict", bid(), headers={"authorization": "Bearer password"}).status_code == 200
        assert service.get("/health/ready").status_code == 200
        assert service.get("/models").status_code == 401
