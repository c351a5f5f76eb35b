"""Load: what counts as throughput, and what does not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from loadtests.benchmarks.client import Client
from loadtests.benchmarks.generator import Load, good
from loadtests.benchmarks.plan import short_of

FOUND = {"answers": 100, "refused": 40, "broken": 3, "seconds": 2.0, "p50_ms": 1.0, "p95_ms": 2.0, "p99_ms": 3.0}
LOAD = Load(rate=100.0, refused=0, broken=0, p50_ms=1.0, p95_ms=2.0, p99_ms=3.0)


class _Handler(BaseHTTPRequestHandler):
    """Answers 503 to bodies that are odd numbers, in two pieces."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(503 if int(body) % 2 else 200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"do")
        self.wfile.flush()
        self.wfile.write(b"ne")

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def _server() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def test_an_answer_other_than_200_is_no_throughput() -> None:
    """Refused answers leave the rate, those that never came were never in it."""
    load = good(FOUND)
    assert load.rate == (100 - 40) / 2.0
    assert (load.refused, load.broken, load.lost) == (40, 3, 43)


def test_latencies_of_the_bundled_client_become_percentiles() -> None:
    """Single latencies are summed up by nearest rank; without a good answer there are none."""
    found = {key: value for key, value in FOUND.items() if not key.startswith("p")}
    load = good({**found, "latencies_ms": [float(i) for i in range(1, 101)]})
    assert (load.p50_ms, load.p95_ms, load.p99_ms) == (50.0, 95.0, 99.0)
    assert good({**found, "answers": 40, "latencies_ms": []}).rate == 0.0


def test_answers_from_the_prior_are_no_throughput() -> None:
    """A request whose time was over got 200 and no prediction: its share leaves the rate."""
    counted = {
        'pltv_history_total{state="present",source="inline"}': 80.0,
        'pltv_degraded_total{reason="deadline"}': 20.0,
    }
    load = short_of(LOAD, counted, None)
    assert load.rate == pytest.approx(75.0)
    assert load.lost == 20


def test_histories_from_elsewhere_are_no_throughput() -> None:
    """Where hits of Redis are measured, an answer without its history counts nowhere."""
    counted = {
        'pltv_history_total{state="present",source="redis"}': 90.0,
        'pltv_history_total{state="unavailable",source="none"}': 10.0,
    }
    assert short_of(LOAD, counted, "redis").rate == pytest.approx(90.0)
    assert short_of(LOAD, counted, None).rate == pytest.approx(100.0)


def test_rows_per_flush_is_their_mean() -> None:
    """Rows through flushes of the same seconds; unknown where nothing was predicted."""
    assert short_of(LOAD, {"pltv_batch_rows_sum": 30.0, "pltv_batch_rows_count": 10.0}, None).rows_per_flush == 3.0
    assert short_of(LOAD, {}, None).rows_per_flush is None


def test_the_bundled_client_rotates_and_counts_by_status(tmp_path: Path) -> None:
    """At a fixed pace every body is sent in turn; of two that are refused none has a latency that counts."""
    bodies = tmp_path / "bodies.jsonl"
    bodies.write_text("\n".join(map(str, range(8))) + "\n")
    with _server() as port:
        found = asyncio.run(Client(port, "/predict", bodies).paced(rate=400.0, seconds=0.04))
    assert (found["answers"], found["refused"], found["broken"]) == (16, 8, 0)
    assert len(found["latencies_ms"]) == 8


def test_the_bundled_client_counts_connections_that_break(tmp_path: Path) -> None:
    """A server that hangs up gives no answer; the closed loop of that connection ends."""
    bodies = tmp_path / "bodies.jsonl"
    bodies.write_text("0\n")

    async def run() -> dict[str, Any]:
        async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            return await Client(port, "/predict", bodies).closed(connections=3, seconds=5.0)

    found = asyncio.run(run())
    assert (found["answers"], found["broken"]) == (0, 3)
    assert json.dumps(found)
