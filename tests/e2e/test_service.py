"""The service as a process, in front of its callers: swaps, stops, workers that share their numbers."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.pltv import pltv
from tests.parity.calls import numbers
from tests.support.callers import ADMIN, ADMIN_DIGEST, Callers
from tests.support.market import Json, Market, second_bundle
from tests.support.service_process import STOP_SECONDS, ServiceProcess, samples, serving_process


@pytest.fixture
def models(trained: Market, tmp_path: Path) -> Path:
    """A folder of bundles: `first`, `second`, which multiplies otherwise, and `current`, a link to the first."""
    shutil.copytree(trained.bundle, tmp_path / "first")
    second_bundle(tmp_path / "first", tmp_path / "second")
    (tmp_path / "current").symlink_to("first")
    return tmp_path


def point(models: Path, name: str) -> None:
    """Move `current` in one step."""
    aside = models / "aside"
    aside.symlink_to(name)
    aside.replace(models / "current")


def swapping(models: Path, workers: int, poll_s: str) -> contextlib.AbstractContextManager[ServiceProcess]:
    """A service of models/current that an operator may reload."""
    link = models / "current"
    return serving_process(link, workers=workers, PLTV_ADMIN_TOKEN=ADMIN_DIGEST, PLTV_BUNDLE_POLL_S=poll_s)


def test_a_reload_swaps_under_load(trained: Market, models: Path) -> None:
    """No call fails, and each answer's numbers are those of the bundle that it names."""
    bodies = trained.bodies()[:200]
    expected: dict[tuple[str, str], str] = {}
    for name in ("first", "second"):
        with serving_process(models / name) as alone:
            expected |= {(name, a["id"]): numbers(a) for a in alone.predict_batch(bodies)}
    assert [p for p in bodies if expected["first", json.loads(p)["id"]] != expected["second", json.loads(p)["id"]]]

    with swapping(models, workers=1, poll_s="3600") as service, Callers(service, bodies) as callers:
        for target, previous in (("second", "first"), ("first", "second"), ("second", "first")):
            callers.more(50)
            point(models, target)
            told = service.post("/models/reload", headers=ADMIN)
            assert (told.status_code, told.json()["outcome"]) == (200, "swapped")
            assert (told.json()["bundle"], told.json()["previous"]) == (target, previous)
            assert service.predict(bodies[0])["bundle"] == target
        assert service.client.get("/models").json()["live"]["name"] == "second"
    assert callers.dropped == []
    assert {answer["bundle"] for answer in callers.answers} == {"first", "second"}
    assert [a for a in callers.answers if numbers(a) != expected[a["bundle"], a["id"]]] == []


def test_a_reload_needs_the_operator_s_token(models: Path) -> None:
    """Anyone else is refused, and nothing moves."""
    with swapping(models, workers=1, poll_s="3600") as service:
        point(models, "second")
        assert service.post("/models/reload").status_code == 401
        assert service.post("/models/reload", headers={"authorization": "Bearer other"}).status_code == 401
        assert service.client.get("/health/ready").json()["bundle"] == "first"


@pytest.mark.parametrize("spoil", ["byte", "missing", "declaration", "platform"])
def test_a_bad_bundle_is_refused_and_the_live_one_stays(trained: Market, models: Path, spoil: str) -> None:
    """One line to the operator, 409, and every later call is answered by the bundle that was live."""
    second = models / "second"
    if spoil == "byte":
        content = bytearray((second / "base.so").read_bytes())
        content[len(content) // 2] ^= 1
        (second / "base.so").write_bytes(content)
    elif spoil == "missing":
        (second / "prior.json").unlink()
    else:
        manifest = json.loads((second / "manifest.json").read_text())
        change: Json = {"declaration_fingerprint": "0" * 64} if spoil == "declaration" else {"platform": {}}
        (second / "manifest.json").write_text(json.dumps({**manifest, **change}))
    body = trained.bodies()[0]
    with swapping(models, workers=1, poll_s="3600") as service:
        before = service.predict(body)
        point(models, "second")
        refused = service.post("/models/reload", headers=ADMIN)
        assert (refused.status_code, refused.json()["type"]) == (409, "urn:pltv:problem:bundle-refused")
        assert service.predict(body) == before
        assert samples(service.metrics(), "pltv_bundle_reloads_total")['{outcome="refused"}'] == 1.0


def test_two_workers_follow_the_link_and_one_scrape_tells_of_both(trained: Market, models: Path) -> None:
    """Sums are right whichever worker is asked; a moved link moves both; every call is counted once."""
    bodies = trained.bodies()[:300]
    with swapping(models, workers=2, poll_s="0.05") as service:
        deadline = time.monotonic() + STOP_SECONDS
        while live_bundles(service.metrics()) != {"first"} and time.monotonic() < deadline:
            time.sleep(0.05)  # ready is said by the first of them
        service.predict_at_once(bodies, connections=12)
        service.predict_batch(bodies[:100])
        bad = service.post("/predict", b"{}")
        assert bad.status_code == 400
        expected = {
            '{route="/predict",status="200"}': 300.0,
            '{route="/predict",status="400"}': 1.0,
            '{route="/predict/batch",status="200"}': 1.0,
        }
        for found in settled(service, "pltv_requests_total", expected):
            assert {series: found.get(series) for series in expected} == expected
        text = service.metrics()
        assert sum(samples(text, "pltv_history_total").values()) == 400.0
        assert sum(samples(text, "pltv_predicted_ltv_dollars_count").values()) == 3 * 400.0
        assert samples(text, "pltv_batch_rows_sum")[""] == 400.0
        assert live_bundles(text) == {"first"}
        point(models, "second")
        deadline = time.monotonic() + STOP_SECONDS
        while live_bundles(service.metrics()) != {"second"} and time.monotonic() < deadline:
            time.sleep(0.05)
        assert live_bundles(service.metrics()) == {"second"}
        assert {a["bundle"] for a in service.predict_at_once(bodies[:60], connections=12)} == {"second"}
        assert service.stop() == 0
        assert "Traceback" not in service.output


def settled(service: ServiceProcess, name: str, expected: dict[str, float]) -> Iterator[dict[str, float]]:
    """Scrapes over new connections, which either worker may take, once the slower worker has told what it counted."""
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline:
        found = samples(service.metrics(), name)
        if all(found.get(series) == value for series, value in expected.items()):
            break
        time.sleep(0.05)
    for _ in range(8):
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60.0)
        with contextlib.closing(connection):
            connection.request("GET", "/metrics")
            yield samples(connection.getresponse().read().decode(), name)


def live_bundles(metrics: str) -> set[str]:
    """Names of the bundles that workers say are live; both workers must have said so."""
    live = [series for series, value in samples(metrics, "pltv_bundle_info").items() if value == 1.0]
    assert len(live) <= 2
    return {part.split('"')[1] for series in live for part in series.split(",") if "name=" in part and len(live) == 2}


@pytest.mark.parametrize("workers", [1, 2])
def test_what_has_begun_is_answered_after_a_stop(trained: Market, workers: int) -> None:
    """SIGTERM while eight callers are in the middle of their bodies: all get their answer, then the process is gone."""
    body = trained.bodies()[0]
    head = f"POST /predict HTTP/1.1\r\nHost: pltv\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with serving_process(trained.bundle, workers=workers) as service:
        alone = service.predict(body)
        callers = [socket.create_connection(("127.0.0.1", service.port), timeout=60.0) for _ in range(8)]
        for caller in callers:
            caller.sendall(head + body[:100])
        service.client.get("/health/live")  # behind them in the queue of what is read
        time.sleep(0.2)  # the other worker's too
        service.process.send_signal(signal.SIGTERM)
        wait_refused(service.port)
        for caller in callers:
            caller.sendall(body[100:])
        for caller in callers:
            with caller:
                answer = http.client.HTTPResponse(caller)
                answer.begin()
                assert (answer.status, json.loads(answer.read())) == (200, alone)
        assert service.process.wait(STOP_SECONDS) == 0
        assert "Traceback" not in service.output


def wait_refused(port: int) -> None:
    """Until nobody listens any more."""
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=60.0):
                time.sleep(0.01)
        except OSError:
            return
    pytest.fail("the service still takes connections")


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_stop_under_load_drops_no_call(trained: Market, workers: int, keep: bool) -> None:
    """Every call that was sent is answered, over old connections and new; later ones find nobody listening."""
    with serving_process(trained.bundle, workers=workers) as service:
        with Callers(service, trained.bodies()[:200], keep=keep) as callers:
            callers.more(200)
            assert service.stop() == 0
        assert callers.dropped == []
        assert all(answer["degraded"] == [] for answer in callers.answers)
        assert "Traceback" not in service.output


def test_promoting_is_what_the_command_line_and_the_service_agree_on(
    models: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """`pltv inspect` and /models tell the same of a bundle."""
    code, out, _ = pltv(capfd, "inspect", "--bundle", models / "current", "--json")
    assert code == 0
    manifest = json.loads(out)
    with serving_process(models / "current") as service:
        live = service.client.get("/models").json()["live"]
    assert live.pop("features") == len(manifest["feature_names"])
    assert live == {key: manifest[key] for key in live}
