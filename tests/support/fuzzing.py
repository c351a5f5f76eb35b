"""Drives hostile cases at a service; each must be answered, within a minute, and by no 5xx."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok

from tests.support.hostile import bodies
from tests.support.service_process import ServiceProcess

DOORS = ("/predict", "/predict", "/predict", "/predict/batch", "/features", "/features/delete")
WRAPPED = {
    "/predict/batch": b'{"requests":[%b]}',
    "/features": b'{"users":[%b]}',
    "/features/delete": b'{"users":[%b]}',
}
_ASKED = settings(deadline=None, suppress_health_check=list(HealthCheck), database=None)


def ask_hostile_bodies(service: ServiceProcess, cases: int, after: Callable[[int], None] = lambda _: None) -> int:
    """Bodies of the grammar, at the doors in turn, bare or in the envelope of the door.

    Parameters
    ----------
    service : ServiceProcess
    cases : int
    after : callable
        Told how many have been asked, after each.

    Returns
    -------
    int
        How many were asked.
    """
    asked = 0

    @settings(_ASKED, max_examples=cases)
    @given(bodies())
    def fuzz(body: bytes) -> None:
        nonlocal asked
        door = DOORS[asked % len(DOORS)]
        asked += 1
        sent = WRAPPED[door] % body if door in WRAPPED and asked % 2 else body
        answer = service.post(door, sent)
        assert answer.status_code in (200, 400, 413), (door, sent, answer.text)
        if answer.status_code != 200:
            assert answer.headers["content-type"] == "application/problem+json"
            assert json.loads(answer.content)["status"] == answer.status_code
        after(asked)

    fuzz()
    return asked


def ask_by_the_document(service: ServiceProcess, cases: int) -> int:
    """Cases that schemathesis draws from the OpenAPI document, so many for each operation.

    Returns
    -------
    int
        Operations that were asked.
    """
    schema = schemathesis.openapi.from_url(f"{service.url}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    for operation in operations:

        @settings(_ASKED, max_examples=max(10, cases))
        @given(case=operation.as_strategy())
        def fuzz(case: Any) -> None:
            response = case.call(timeout=60.0)
            case.validate_response(response, checks=[not_a_server_error])

        fuzz()
    return len(operations)
