"""`python -m app` as a process: started on a free port, asked over HTTP, stopped by pid, its output kept."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from tests.support.market import ROOT, clean_environment
from tests.support.redis_process import free_port

START_SECONDS = 60.0
STOP_SECONDS = 30.0
# No test asserts a time: neither this machine's load nor a slow Redis may degrade an answer.
PATIENT = {"PLTV_DEADLINE_MS": "60000", "PLTV_REDIS_TIMEOUT_MS": "10000", "PLTV_IDENTITY_KEY": "a key of the tests"}


class ServiceProcess:
    """A running service.

    Parameters
    ----------
    bundle : Path
    directory : Path
        Where its output goes.
    workers : int
    within : sequence of str
        A command that runs it, such as one that takes rights away.
    **environment : str
        Settings (`PLTV_*`) that come before `PATIENT`.
    """

    def __init__(
        self, bundle: Path, directory: Path, *, workers: int = 1, within: Sequence[str] = (), **environment: str
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._output = directory / f"service-{self.port}.log"
        place = ["--bundle", str(bundle), "--port", str(self.port), "--workers", str(workers)]
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [*within, sys.executable, "-m", "app", *place],
                env=clean_environment(**{**PATIENT, **environment}),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.client = self._client()

    def reconnect(self) -> None:
        """Ask over new connections from here on: the worker behind an old one may be gone."""
        self.client.close()
        self.client = self._client()

    @property
    def output(self) -> str:
        """All that it wrote to stdout and stderr so far."""
        return self._output.read_text()

    def wait_ready(self) -> None:
        """Until /health/ready answers 200."""
        deadline = time.monotonic() + START_SECONDS
        while not self._ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the service did not start: {self.output[-2000:]}")
            time.sleep(0.02)

    def post(self, path: str, body: Any = None, **options: Any) -> httpx.Response:
        """POST bytes as they are, anything else as JSON."""
        return self.client.post(path, content=_encoded(body), **options)

    def predict(self, body: Any) -> dict[str, Any]:
        """The answer to a bid request; it must be a good one."""
        answer = self.post("/predict", body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def predict_batch(self, bodies: Sequence[Any]) -> list[dict[str, Any]]:
        """The responses of one /predict/batch."""
        joined = b'{"requests":[' + b",".join(map(_encoded, bodies)) + b"]}"
        answer = self.post("/predict/batch", joined)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["responses"]
        return found

    def predict_at_once(self, bodies: Sequence[Any], connections: int = 16) -> list[dict[str, Any]]:
        """Answers to calls of their own, `connections` of them under way at any time."""
        answers: list[dict[str, Any]] = [{}] * len(bodies)
        places = iter(range(len(bodies)))
        with ThreadPoolExecutor(connections) as threads:
            calls = [threads.submit(self._call_in_turn, places, bodies, answers) for _ in range(connections)]
            for call in calls:
                call.result()
        return answers

    def metrics(self) -> str:
        """One scrape."""
        return self.client.get("/metrics").text

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        self.client.close()  # an idle connection would be waited for
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)

    def close(self) -> None:
        """Be gone, whatever happened."""
        self.client.close()
        if self.process.poll() is None:
            self.process.terminate()  # first by request: workers of a killed parent would live on
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def _client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60.0, trust_env=False)

    def _ready(self) -> bool:
        try:
            return self.client.get("/health/ready").status_code == 200
        except httpx.TransportError:
            return False

    def _call_in_turn(self, places: Iterator[int], bodies: Sequence[Any], answers: list[dict[str, Any]]) -> None:
        """One connection's share; `http.client`, because a client that costs more than the service joins nobody."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60.0)) as connection:
            for place in places:
                connection.request("POST", "/predict", _encoded(bodies[place]))
                answer = connection.getresponse()
                text = answer.read()
                assert answer.status == 200, text
                answers[place] = json.loads(text)


@contextlib.contextmanager
def serving_process(
    bundle: Path, *, workers: int = 1, within: Sequence[str] = (), **environment: str
) -> Iterator[ServiceProcess]:
    """A service that is ready, and gone afterwards."""
    with TemporaryDirectory(prefix="pltv-service-") as directory:
        service = ServiceProcess(bundle, Path(directory), workers=workers, within=within, **environment)
        try:
            service.wait_ready()
            yield service
        finally:
            service.close()


def samples(metrics: str, name: str) -> dict[str, float]:
    """Samples of one metric in a scrape: labels as written → value."""
    found = {}
    for line in metrics.splitlines():
        series, _, value = line.rpartition(" ")
        if series == name or series.startswith(name + "{"):
            found[series.removeprefix(name)] = float(value)
    return found


def _encoded(body: Any) -> bytes:
    if body is None:
        return b""
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def worker_pids(metrics: str) -> set[int]:
    """Process ids of the workers that say which bundle they serve."""
    live = [series for series, value in samples(metrics, "pltv_bundle_info").items() if value == 1.0]
    return {int(part.split('"')[1]) for series in live for part in series.split(",") if "pid=" in part}
