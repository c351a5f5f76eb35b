"""Whatever comes, at every door: an answer or a problem document, never a 5xx and never a hang."""

from __future__ import annotations

import json
import os
from typing import Any

import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok

from tests.support.hostile import bodies
from tests.support.service_process import ServiceProcess

CASES = int(os.environ.get("PLTV_FUZZ_CASES", "2000"))
_ASKED = settings(deadline=None, suppress_health_check=list(HealthCheck), database=None)
DOORS = ("/predict", "/predict", "/predict", "/predict/batch", "/features", "/features/delete")
WRAPPED = {
    "/predict/batch": b'{"requests":[%b]}',
    "/features": b'{"users":[%b]}',
    "/features/delete": b'{"users":[%b]}',
}


def test_the_grammar(shop_service: ServiceProcess) -> None:
    """Hostile bodies, at the doors in turn, bare or in the envelope of the door."""
    asked = 0

    @settings(_ASKED, max_examples=CASES)
    @given(bodies())
    def fuzz(body: bytes) -> None:
        nonlocal asked
        door = DOORS[asked % len(DOORS)]
        asked += 1
        sent = WRAPPED[door] % body if door in WRAPPED and asked % 2 else body
        answer = shop_service.post(door, sent)
        assert answer.status_code in (200, 400, 413), (door, sent, answer.text)
        if answer.status_code != 200:
            assert answer.headers["content-type"] == "application/problem+json"
            assert json.loads(answer.content)["status"] == answer.status_code

    fuzz()
    assert asked >= CASES
    assert "unexpected error" not in shop_service.output


def test_the_openapi_document(shop_service: ServiceProcess) -> None:
    """Cases that schemathesis draws from it, for every operation."""
    schema = schemathesis.openapi.from_url(f"{shop_service.url}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    assert len(operations) >= 8
    for operation in operations:

        @settings(_ASKED, max_examples=max(10, CASES // 80))
        @given(case=operation.as_strategy())
        def fuzz(case: Any) -> None:
            response = case.call(timeout=60.0)
            case.validate_response(response, checks=[not_a_server_error])

        fuzz()
    assert "unexpected error" not in shop_service.output
