"""Tests of app.api.health."""

from __future__ import annotations

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from app.application import create_app
from app.settings import Settings
from tests.api.served import TS, Served, bid, with_history

CONTRACT = {
    "pltv_requests",
    "pltv_request_duration_seconds",
    "pltv_stage_duration_seconds",
    "pltv_batch_rows",
    "pltv_in_flight",
    "pltv_deadline_slack_seconds",
    "pltv_shed",
    "pltv_degraded",
    "pltv_history",
    "pltv_history_age_seconds",
    "pltv_feature_cache",
    "pltv_unseen",
    "pltv_predicted_ltv_dollars",
    "pltv_order_corrections",
    "pltv_bundle_info",
    "pltv_bundle_age_seconds",
    "pltv_bundle_reloads",
}


def test_readiness_follows_the_bundle(service: Served) -> None:
    """Alive and ready with one."""
    assert service.get("/health/live").json() == {"status": "live"}
    assert service.get("/health/ready").json() == {"status": "ready", "bundle": "shop-1"}


def test_before_the_start_it_is_alive_but_not_ready(tmp_path: Path) -> None:
    """503, and nothing else answers."""
    import asyncio

    app = create_app(Settings(bundle=tmp_path))
    with asyncio.Runner() as runner:
        unready = Served(app, runner)
        assert unready.get("/health/live").status_code == 200
        answer = unready.get("/health/ready")
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:pltv:problem:not-ready")
        assert unready.post("/predict", bid()).status_code == 404


def test_a_scrape_has_every_metric_of_the_contract(service: Served) -> None:
    """Parsed by Prometheus' own parser, right after the answers that it counts."""
    service.predict(user=with_history(), ext={"ts": TS, "deadline_ms": 60_000, "campaigns": [{"id": "c"}] * 3})
    service.post("/predict", b"")
    text = service.get("/metrics").text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert families.keys() >= CONTRACT
    statuses = {s.labels["status"] for s in families["pltv_requests"].samples if s.labels["route"] == "/predict"}
    assert {"200", "400"} <= statuses
    stages = {s.labels["stage"] for s in families["pltv_stage_duration_seconds"].samples}
    assert stages == {"parse", "cache", "features", "models", "encode"}
    (info,) = families["pltv_bundle_info"].samples
    assert (info.labels["name"], info.value) == ("shop-1", 1.0)
