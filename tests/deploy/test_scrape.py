"""A real Prometheus scrapes a real service of two workers, with the rules and the monitor's own paths."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.api.served import TS, bid, shop_bundle, with_history
from tests.deploy.files import PROMETHEUS, ROOT, program, rules
from tests.support.redis_process import free_port

CALLS = 25


@contextlib.contextmanager
def process(command: list[str], log: Path, **environment: str) -> Iterator[None]:
    """A running process, ended as an operator would."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    with log.open("wb") as out, subprocess.Popen(command, cwd=ROOT, env=env, stdout=out, stderr=out) as running:
        try:
            yield
        finally:
            running.terminate()
            try:
                running.wait(timeout=30)
            except subprocess.TimeoutExpired:
                running.kill()


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prometheus that scrapes a service which has been asked `CALLS` times."""
    binary = program("prometheus", "prometheus")
    folder = tmp_path_factory.mktemp("scrape")
    service, server = free_port(), free_port()
    target = f"127.0.0.1:{service}"
    config = {
        "global": {"scrape_interval": "500ms", "evaluation_interval": "500ms"},
        "rule_files": [str(PROMETHEUS / "*.rules.yml")],
        "scrape_configs": [{"job_name": "pltv", "static_configs": [{"targets": [target]}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    bundle = shop_bundle(folder)
    serve = [sys.executable, "-m", "app", "--bundle", str(bundle), "--port", str(service), "--workers", "2"]
    scrape = [
        binary,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{server}",
    ]
    with process(serve, folder / "service.log", PLTV_IDENTITY_KEY="k"):
        until(lambda: get(f"http://{target}/health/ready"), folder / "service.log")
        with process(scrape, folder / "prometheus.log"):
            address = f"http://127.0.0.1:{server}"
            until(lambda: get(f"{address}/-/ready"), folder / "prometheus.log")
            until(lambda: query(address, 'up{job="pltv"} == 1'), folder / "prometheus.log")
            for _ in range(CALLS):
                predict(target)
            yield address


def get(url: str) -> bytes:
    """The body of a good answer."""
    with urllib.request.urlopen(url, timeout=5) as answer:
        return bytes(answer.read())


def predict(target: str) -> None:
    """One call for two campaigns."""
    campaigns = [{"id": "c", "shelf": "toys"}, {"id": "d", "shelf": "books"}]
    body = bid(user=with_history(), ext={"ts": TS, "deadline_ms": 60_000, "campaigns": campaigns})
    headers = {"Content-Type": "application/json"}
    asked = urllib.request.Request(f"http://{target}/predict", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(asked, timeout=5) as answer:
        assert answer.status == 200


def query(address: str, expression: str) -> list[dict[str, Any]]:
    """The result of an instant query."""
    asked = urllib.parse.urlencode({"query": expression})
    found: list[dict[str, Any]] = json.loads(get(f"{address}/api/v1/query?{asked}"))["data"]["result"]
    return found


def until(found: Callable[[], Any], log: Path | None = None) -> Any:
    """What `found` gives once it gives something."""
    for _ in range(300):
        with contextlib.suppress(OSError):
            if result := found():
                return result
        time.sleep(0.1)
    pytest.fail(log.read_text() if log else "it did not happen")


def test_both_workers_are_in_one_scrape(prometheus: str) -> None:
    """Counters add up over the workers; each tells the bundle that it serves."""
    asked = f'sum(pltv_requests_total{{route="/predict",status="200"}}) == {CALLS}'
    assert until(lambda: query(prometheus, asked))
    assert until(lambda: query(prometheus, f"sum(pltv_batch_rows_sum) == {2 * CALLS}"))
    assert len(query(prometheus, "pltv_bundle_info == 1")) == 2
    assert query(prometheus, 'pltv_request_duration_seconds_bucket{route="/predict",le="0.008"}')


def test_rules_are_loaded_and_healthy(prometheus: str) -> None:
    """Prometheus evaluates every rule of the repository without an error, and no alert fires."""

    def evaluated() -> list[dict[str, Any]]:
        groups = json.loads(get(f"{prometheus}/api/v1/rules"))["data"]["groups"]
        found = [rule for group in groups for rule in group["rules"]]
        return found if all(rule["health"] != "unknown" for rule in found) else []

    told = until(evaluated)
    assert len(told) == len(rules("recording.rules.yml")) + len(rules("alerts.rules.yml"))
    assert [(rule["name"], rule.get("lastError")) for rule in told if rule["health"] != "ok"] == []
    assert query(prometheus, 'ALERTS{alertstate="firing"}') == []
