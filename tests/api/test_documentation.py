"""Tests of app.api.documentation and app.api.examples."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
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
    assert {"BidRequest", "Answer", "Problem", "StoredUser", "Campaign"} <= components.keys()


def _offences(instance: Any, schema: Any, components: Any) -> list[str]:
    """What a client that was generated from the document would refuse."""
    validator = jsonschema.Draft202012Validator({**schema, "components": {"schemas": components}})
    return [f"{list(error.path)}: {error.message[:200]}" for error in validator.iter_errors(instance)]


def test_examples_follow_their_own_schemas(smadex: Declaration) -> None:
    """Bodies and answers of every path, held against what stands beside them."""
    components = schemas(smadex)
    for path, operations in paths(smadex).items():
        for operation in operations.values():
            contents = [operation.get("requestBody", {}), *operation["responses"].values()]
            for content in (c for each in contents for c in each.get("content", {}).values() if "example" in c):
                assert _offences(content["example"], content["schema"], components) == [], path


def test_a_campaign_is_documented(smadex: Declaration) -> None:
    """Its id is required, its columns are named, and a wrong type offends."""
    components, request = schemas(smadex), bid_request(smadex)
    reference = {"$ref": "#/components/schemas/BidRequest"}
    request["ext"]["campaigns"] = [{"advertiser_bundle": 5}]
    told = " ".join(_offences(request, reference, components))
    assert "'id' is a required property" in told
    assert "advertiser_bundle" in told


def test_doors_with_a_token_say_so(smadex: Declaration) -> None:
    """Every operation that may answer 401 names the scheme; a reload always needs it, and no body."""
    for operations in paths(smadex).values():
        for operation in operations.values():
            assert ("401" in operation["responses"]) == ({"token": []} in operation.get("security", []))
    reload = paths(smadex)["/models/reload"]["post"]
    assert reload["security"] == [{"token": []}]
    assert not reload["requestBody"]["required"]


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
