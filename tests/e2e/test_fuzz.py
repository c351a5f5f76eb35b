"""Whatever comes, at every door: an answer or a problem document, never a 5xx and never a hang."""

from __future__ import annotations

from tests.support.fuzzing import ask_by_the_document, ask_hostile_bodies
from tests.support.service_process import ServiceProcess

CASES = 2000


def test_the_grammar(shop_service: ServiceProcess) -> None:
    """Hostile bodies, at the doors in turn, bare or in the envelope of the door."""
    assert ask_hostile_bodies(shop_service, CASES) >= CASES
    assert "unexpected error" not in shop_service.output


def test_the_openapi_document(shop_service: ServiceProcess) -> None:
    """Cases that schemathesis draws from it, for every operation."""
    assert ask_by_the_document(shop_service, CASES // 80) >= 8
    assert "unexpected error" not in shop_service.output
