"""Tests of app.telemetry, against prometheus_client's own calls and parser."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.parser import text_string_to_metric_families

from app.telemetry import Series, Telemetry, configure_logging

MANIFEST = {
    "name": "one",
    "created": "2025-10-01T00:00:00+00:00",
    "declaration_fingerprint": "d" * 64,
    "feature_fingerprint": "f" * 64,
    "horizons": (1, 7),
}
WORKER = """
import os, sys
from app.telemetry import Telemetry
telemetry = Telemetry()
telemetry.bundle({"name": "one", "horizons": [1]})
for _ in range(int(sys.argv[1])):
    telemetry.request("/predict", 200, 0.001)
telemetry.in_flight(2)
telemetry.flush()
if sys.argv[2] == "scrape":
    sys.stdout.buffer.write(telemetry.exposition()[0])
    sys.stdout.flush()
os._exit(0)  # killed, as it were
"""


def samples(telemetry: Telemetry) -> dict[str, float]:
    """Name with labels → value, of one scrape."""
    return parsed(telemetry.exposition()[0].decode())


def parsed(text: str) -> dict[str, float]:
    """Name with labels → value."""
    return {
        s.name + json.dumps(s.labels, sort_keys=True): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }


@given(
    st.lists(st.floats(0, 2) | st.sampled_from([0.1, 0.5, 1.0]), max_size=30), st.lists(st.integers(0, 29), max_size=3)
)
def test_counting_in_bulk_is_observing_one_by_one(values: list[float], flushes: list[int]) -> None:
    """The same buckets, edges included, whenever it is flushed."""
    bounds = (0.1, 0.5, 1.0)
    registries = CollectorRegistry(), CollectorRegistry()
    bulk, single = (Histogram("h", "text", registry=registry, buckets=bounds) for registry in registries)
    series = Series(bulk, bounds)
    for i, value in enumerate(values):
        series.add(value)
        single.observe(value)
        if i in flushes:
            series.flush()
    series.flush()
    for name, labels in [("h_bucket", {"le": le}) for le in ("0.1", "0.5", "1.0", "+Inf")] + [("h_count", {})]:
        assert registries[0].get_sample_value(name, labels) == registries[1].get_sample_value(name, labels)
    total = registries[0].get_sample_value("h_sum")
    assert total == pytest.approx(registries[1].get_sample_value("h_sum"))


def test_what_was_observed_is_scraped() -> None:
    """Every method, once."""
    telemetry = Telemetry()
    telemetry.bundle(MANIFEST)
    telemetry.request("/predict", 200, 0.0003)
    telemetry.stage("models", 0.00005)
    telemetry.batch_rows(3)
    telemetry.answered(0.00005, 0.00001, 0.00002, -0.001)
    telemetry.cache("near", "hit", 2)
    telemetry.histories([("present", "near"), ("withheld", "none")], [7200.0])
    telemetry.degraded("deadline")
    telemetry.shed("in_flight")
    telemetry.unseen("browser", 2)
    telemetry.unseen("browser", 0)
    telemetry.predicted([[0.5, 1.5], [0.0, 2000.0]])
    telemetry.corrections(4)
    telemetry.reload("swapped")
    telemetry.in_flight(5)
    telemetry.breaker(True)
    found = samples(telemetry)
    expected = {
        'pltv_requests_total{"route": "/predict", "status": "200"}': 1,
        'pltv_request_duration_seconds_bucket{"le": "0.0005", "route": "/predict"}': 1,
        'pltv_request_duration_seconds_bucket{"le": "0.00025", "route": "/predict"}': 0,
        'pltv_stage_duration_seconds_count{"stage": "parse"}': 1,
        "pltv_batch_rows_sum{}": 3,
        'pltv_deadline_slack_seconds_bucket{"le": "0.0"}': 1,
        'pltv_feature_cache_total{"outcome": "hit", "tier": "near"}': 2,
        'pltv_history_total{"source": "near", "state": "present"}': 1,
        'pltv_history_total{"source": "none", "state": "withheld"}': 1,
        "pltv_history_age_seconds_count{}": 1,
        'pltv_degraded_total{"reason": "deadline"}': 1,
        'pltv_shed_total{"reason": "in_flight"}': 1,
        'pltv_unseen_total{"field": "browser"}': 2,
        'pltv_predicted_ltv_dollars_sum{"horizon": "d1"}': 0.5,
        'pltv_predicted_ltv_dollars_count{"horizon": "d7"}': 2,
        "pltv_order_corrections_total{}": 4,
        'pltv_bundle_reloads_total{"outcome": "swapped"}': 1,
        "pltv_in_flight{}": 5,
        "pltv_redis_breaker_open{}": 1,
    }
    assert {key: found[key] for key in expected} == expected
    assert found["pltv_bundle_age_seconds{}"] > 0


def test_the_objective_is_a_bucket_edge() -> None:
    """So that the share within it can be read."""
    telemetry = Telemetry(0.0123)
    telemetry.request("/predict", 200, 0.0123)
    assert samples(telemetry)['pltv_request_duration_seconds_bucket{"le": "0.0123", "route": "/predict"}'] == 1


def test_after_a_swap_only_the_new_bundle_is_live() -> None:
    """The old one's info is 0."""
    telemetry = Telemetry()
    telemetry.bundle(MANIFEST)
    telemetry.bundle({**MANIFEST, "name": "two"})
    infos = {key: value for key, value in samples(telemetry).items() if key.startswith("pltv_bundle_info")}
    assert {('"two"' in key): value for key, value in infos.items()} == {True: 1, False: 0}


def test_observations_that_are_never_scraped_take_bounded_memory() -> None:
    """A series counts them itself before they are too many."""
    telemetry = Telemetry()
    for _ in range(20_000):
        telemetry.stage("parse", 0.001)
    assert len(telemetry._series["stage", "parse"]._waiting) < 10_000
    assert samples(telemetry)['pltv_stage_duration_seconds_count{"stage": "parse"}'] == 20_000


def test_one_scrape_tells_of_all_workers(tmp_path: Path) -> None:
    """Counters of the dead remain, their gauges go."""
    environment = {
        **os.environ,
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path),
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }

    def worker(n: int, then: str) -> str:
        command = [sys.executable, "-c", WORKER, str(n), then]
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    worker(3, "die")
    found = parsed(worker(4, "scrape"))
    assert found['pltv_requests_total{"route": "/predict", "status": "200"}'] == 7
    assert found['pltv_request_duration_seconds_count{"route": "/predict"}'] == 7
    assert found["pltv_in_flight{}"] == 2
    assert sum(value for key, value in found.items() if key.startswith("pltv_bundle_info")) == 1


def test_logs_are_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """Those of libraries too; below the level there is nothing."""
    import logging

    import structlog

    configure_logging("warning")
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("bundle", name="one")
    logging.getLogger("uvicorn.error").error("broken %s", "pipe")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["event"], line["level"]) for line in lines] == [("bundle", "warning"), ("broken pipe", "error")]
    assert lines[0]["name"] == "one"
