"""Tests of app.api.features, with the near tier alone and with a real Redis."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.api.served import HISTORY, IFA, TS, Served, bid, serving


def state(service: Served, **who: Any) -> tuple[str, str]:
    """State and source of the history that a prediction finds."""
    found = service.predict(**who)["history"]
    return found["state"], found["source"]


def test_the_newest_history_wins(sealed: Path) -> None:
    """An older one is told apart, an empty one makes a known new user."""
    with serving(sealed) as service:
        user = {"ifa": IFA, "history": HISTORY}
        older = {"ifa": IFA.upper(), "history": {**HISTORY, "as_of": TS - 7200}}
        new = {"user_id": "u1", "history": {"as_of": TS - 7200}}
        answer = service.post("/features", {"users": [user, older, new]})
        assert answer.json() == {"stored": 2, "older": 1, "statuses": ["stored", "older", "stored"]}
        assert state(service, device={"ifa": IFA}) == ("present", "near")
        assert state(service, user={"buyeruid": "u1"}) == ("new", "near")


def test_deleting_erases(sealed: Path) -> None:
    """Under every name that is given."""
    with serving(sealed) as service:
        users = [{"ifa": IFA, "history": HISTORY}, {"user_id": "u1", "history": HISTORY}]
        service.post("/features", {"users": users})
        assert service.post("/features/delete", {"users": [{"ifa": IFA, "user_id": "u1"}]}).json() == {"deleted": 1}
        assert state(service, device={"ifa": IFA}) == ("unavailable", "none")
        assert state(service, user={"id": "u1"}) == ("unavailable", "none")


def test_stored_histories_answer_like_inline_ones(sealed: Path, redis_url: str) -> None:
    """Through a real Redis: the same numbers to the last bit."""
    with serving(sealed, redis_url=redis_url, redis_timeout_ms=2000) as service:
        service.post("/features", {"users": [{"user_id": "api-features", "history": HISTORY}]})
        found = service.predict(user={"id": "api-features"})
        inline = service.predict(user={"ext": {"history": HISTORY}})
        assert found["history"]["source"] == "redis"
        assert found["predictions"] == inline["predictions"]
        assert service.post("/features/delete", {"users": [{"user_id": "api-features"}]}).status_code == 200
        assert state(service, user={"id": "api-features"}) == ("unavailable", "none")


def test_without_redis_predictions_go_on_and_writes_are_not_confirmed(sealed: Path) -> None:
    """Degraded answers, and 503 for what could not be stored or erased."""
    with serving(sealed, redis_url="redis://127.0.0.1:1/0") as service:
        found = service.predict(user={"id": "u"})
        assert (found["degraded"], found["history"]["state"]) == (["redis"], "unavailable")
        for path, user in (("/features", {"user_id": "u", "history": HISTORY}), ("/features/delete", {"user_id": "u"})):
            answer = service.post(path, {"users": [user]})
            assert (answer.status_code, answer.json()["type"]) == (503, "urn:pltv:problem:store-unavailable")


@pytest.mark.parametrize(
    ("field", "users"),
    [
        ("users", []),
        ("users", None),
        ("users.0", [{"ifa": "0000-0000", "history": HISTORY}]),
        ("users.1", [{"ifa": IFA, "history": HISTORY}, {"history": HISTORY}]),
        ("users.0.ifa", [{"ifa": 5, "history": HISTORY}]),
        ("users.0.history", [{"ifa": IFA}]),
        ("users.0.history.as_of", [{"ifa": IFA, "history": {}}]),
        ("users.0.history.as_of", [{"ifa": IFA, "history": {"as_of": int(time.time()) + 7200}}]),
        ("users.0.history.spend", [{"ifa": IFA, "history": {**HISTORY, "spend": {"toys": "12"}}}]),
    ],
)
def test_an_invalid_user_refuses_the_whole(service: Served, field: str, users: Any) -> None:
    """Before anything is stored."""
    answer = service.post("/features", {"users": users})
    assert (answer.status_code, answer.json()["field"]) == (400, field)
    assert state(service, device=bid()["device"] | {"ifa": IFA})[0] == "unavailable"
