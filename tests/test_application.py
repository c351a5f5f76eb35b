"""Tests of app.application."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest

from app import errors
from app.application import KINDS, create_app
from app.errors import PltvError
from app.settings import Settings
from tests.api.served import IFA, Served, bid, serving, shop_bundle, with_history


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small real bundle."""
    return shop_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def service(sealed: Path) -> Iterator[Served]:
    """The application."""
    with serving(sealed) as served:
        yield served


def error_types(root: type[PltvError] = PltvError) -> Iterator[type[PltvError]]:
    """The error tree."""
    yield root
    for child in root.__subclasses__():
        yield from error_types(child)


def test_every_error_has_a_status() -> None:
    """Each type of the tree is in the table, or told as a base class other than the root."""
    tree = [kind for kind in error_types() if kind.__module__ == errors.__name__]
    assert len(tree) == 13
    for kind in tree:
        told = next(base for base in kind.__mro__ if base in KINDS)
        assert told is not PltvError or kind is PltvError, kind
    assert {KINDS[kind].status for kind in KINDS} == {400, 401, 409, 413, 415, 500, 503}


def test_what_is_not_there_is_a_problem_document(service: Served) -> None:
    """Unknown paths and methods too."""
    for answer, status in (
        (service.get("/nowhere"), 404),
        (service.post("/predict/", b"{}"), 404),
        (service.get("/predict"), 405),
        (service.post("/health/live"), 405),
    ):
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert list(answer.json()) == ["type", "title", "status", "detail", "field"]


def test_an_unexpected_error_is_told_and_logged_without_its_text(
    sealed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its text may quote what the caller sent."""

    def broken(*_: Any) -> None:
        raise ValueError(f"could not read {IFA}")

    monkeypatch.setattr("app.api.openrtb.parse_history", broken)
    requests = {"requests": [bid(user=with_history()), bid()]}
    with serving(sealed) as service:
        alone, batch = service.post("/predict", bid(user=with_history())), service.post("/predict/batch", requests)
        assert (alone.status_code, alone.json()["type"]) == (500, "urn:pltv:problem:unexpected")
        assert [response.get("status") for response in batch.json()["responses"]] == [500, None]
        assert service.app.admission.in_flight == 0
    logged = capsys.readouterr().err
    assert "openrtb.py" in logged
    assert "ValueError" in logged
    assert IFA not in alone.text + batch.text + logged


def test_an_error_of_the_framework_s_own_pages_is_told_too(service: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The document's page fails like everything else."""

    def broken() -> None:
        raise ValueError("secret")

    monkeypatch.setattr(service.app, "openapi", broken)
    answer = service.get("/openapi.json")
    assert (answer.status_code, answer.json()["type"]) == (500, "urn:pltv:problem:unexpected")
    assert "secret" not in answer.text


def test_nothing_personal_reaches_logs_or_metrics(sealed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither from good requests nor from bad ones."""
    with serving(sealed, log_level="debug") as service:
        device = {"ifa": IFA, "ip": "198.51.100.7"}
        personal = bid(id="caller-7", device=device, user=with_history(id="user-7"))
        for body in (personal, {**personal, "imp": IFA}, {**personal, "device": {"ifa": 5, "make": IFA}}):
            service.post("/predict", body)
        service.post("/features/delete", {"users": [{"ifa": IFA}]})
        service.get(f"/users/{IFA}")
        metrics = service.get("/metrics").text
    logged = "".join(line for line in capsys.readouterr().err.splitlines() if "HTTP Request" not in line)
    for word in (IFA, "198.51.100.7", "user-7", "caller-7"):
        assert word not in metrics
        assert word not in logged


def test_a_start_that_fails_says_why_in_one_line(tmp_path: Path) -> None:
    """No traceback for a bundle that is not there."""
    told: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        told.append(message)

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "lifespan.startup"}

    app = create_app(Settings(bundle=tmp_path / "absent", identity_key="k"))
    with pytest.raises(errors.BundleError):
        asyncio.run(app({"type": "lifespan", "state": {}}, receive, send))
    (message,) = told
    assert message["type"] == "lifespan.startup.failed"
    assert "absent" in message["message"]
    assert "\n" not in message["message"]


def test_a_random_identity_key_is_warned_of(sealed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Once, at the start."""
    app = create_app(Settings(bundle=sealed))

    async def start_and_stop() -> None:
        async with app.router.lifespan_context(app):
            pass

    asyncio.run(start_and_stop())
    warnings = [line for line in map(json.loads, capsys.readouterr().err.splitlines()) if line["level"] == "warning"]
    assert ["identity key" in line["event"] for line in warnings] == [True]
