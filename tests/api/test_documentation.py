"""Tests of app.api.documentation and app.api.examples."""

from __future__ import annotations

import json

import pytest

from app.api.documentation import paths, schemas
from app.api.examples import answer, bid_request
from app.api.openrtb import Reader
from app.api.privacy import Gate
from app.features.layout import Layout
from app.features.spec import Declaration
from tests.api.served import Served


def test_the_worked_request_is_answered(service: Served) -> None:
    """Whoever copies it from the document gets an answer of the documented shape."""
    document = service.get("/openapi.json").json()
    operation = document["paths"]["/predict"]["post"]
    request = operation["requestBody"]["content"]["application/json"]["example"]
    documented = operation["responses"]["200"]["content"]["application/json"]["example"]
    request["ext"]["deadline_ms"] = 60_000
    given = service.post("/predict", request).json()
    assert list(given) == list(documented)
    assert [list(p) for p in given["predictions"]] == [list(p) for p in documented["predictions"]]
    assert given["history"] == documented["history"]


def test_every_documented_path_exists(service: Served) -> None:
    """With its method, and no other endpoint is left out."""
    document = service.get("/openapi.json").json()["paths"]
    assert document.keys() == service.app._endpoints.keys()
    for path, operations in document.items():
        assert list(operations) == [service.app._endpoints[path].method.lower()]
        operation = next(iter(operations.values()))
        body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
        answer = service.post(path, body) if "post" in operations else service.get(path)
        assert answer.status_code in (200, 401)


def test_the_document_page_is_served(service: Served) -> None:
    """Swagger's page."""
    assert "/openapi.json" in service.get("/docs").text


def test_references_resolve(smadex: Declaration) -> None:
    """Every schema that is named is there."""
    components = schemas(smadex)
    text = json.dumps([paths(smadex), components])
    named = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert named <= components.keys()
    assert {"BidRequest", "Answer", "Problem", "User"} <= components.keys()


def test_examples_follow_the_declaration(smadex: Declaration, layout: Layout) -> None:
    """The example of the real declaration is valid by it, and fills every request column."""
    call = Reader(layout, Gate(None, frozenset({1}))).read(json.dumps(bid_request(smadex)).encode(), 0.0)
    assert call.request.keys() == {column.name for column in smadex.scope("request")}
    assert call.history is not None
    assert not call.history.empty
    assert answer(smadex)["predictions"][0]["ltv"].keys() == {"d1", "d7", "d14"}


@pytest.mark.parametrize("word", ["per install, not per impression"])
def test_the_unit_is_said_in_bold(smadex: Declaration, word: str) -> None:
    """Whoever reads the document sees what the numbers are conditional on."""
    description = paths(smadex)["/predict"]["post"]["description"]
    assert word in description.split("**")[1].replace(", ", ", ")
