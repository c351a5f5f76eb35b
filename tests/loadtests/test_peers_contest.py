"""The contest, with peers that need no network: who is measured, who is out and why, and that nobody outlives it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from loadtests.benchmarks.generator import Generator, Load
from loadtests.benchmarks.plan import Bench, Pace
from loadtests.payloads import Corpora
from loadtests.peers import family
from loadtests.peers.catalogue import Launch, Peer, Place
from loadtests.peers.contest import best_setting, compete, serving
from loadtests.peers.results import Result
from loadtests.peers.rows import Job
from loadtests.peers.wire import ROW

PYTHON: Final = Path(sys.executable)
# Answers sum and product of a row. `wrong` gives other numbers, `sheds` refuses most rows, `dies` never starts.
SERVER: Final = """
import json, subprocess, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
setting, port = sys.argv[1:]
if setting == "dies":
    sys.exit("no such booster")
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
asked = 0
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.say(200, b"")
    def do_POST(self):
        global asked
        asked += 1
        a, b = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["features"]
        if setting == "sheds" and asked > 50:
            self.say(503, b"later")
        else:
            self.say(200, json.dumps({"scores": [a + b + (setting == "wrong"), a * b]}).encode())
    def say(self, status, text):
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    def log_message(self, *_):
        pass
class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
Server(("127.0.0.1", int(port)), Handler).serve_forever()
"""


def _launch(setting: str, place: Place) -> Launch:
    return Launch([str(place.python), "-c", SERVER, setting, str(place.port)])


def _peer(name: str, *settings: str) -> Peer:
    return Peer(name, f"the peer that {name}", "none", (), dict.fromkeys(settings, ROW), _launch)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Loads as short as can be."""
    pace = Pace(rounds=1, loads=1, seconds=0.2, calls=1, batch_rows=1, warm=0)
    return Bench(tmp_path, pace, Corpora([], []), tmp_path, Generator(tmp_path / "generator.log"))


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """Forty rows of two numbers."""
    X = np.arange(80.0).reshape(40, 2)
    return Job(tmp_path, X, np.column_stack([X.sum(axis=1), X.prod(axis=1)]))


def test_a_peer_is_checked_loaded_and_ended(bench: Bench, job: Job) -> None:
    """Its good answers are its rate, its memory is that of all its processes, and none of them outlives it."""
    with serving(bench, _peer("answers", "right"), PYTHON, "right", job) as candidate:
        own = family.members(candidate.root)
        (result,) = compete(bench, [candidate], {})
    assert result.failure is None
    assert result.rates[0] > 0.0
    assert result.loads[0].lost == 0
    assert result.checked.right >= 40
    assert (result.processes, len(own)) == (2, 2)
    assert result.rss_mb > 5.0
    assert 0.0 < result.cpu_us[0] < 1e6 / result.rates[0] * 10.0
    assert _all_gone(own)


def test_a_peer_that_answers_wrong_numbers_is_refused(bench: Bench, job: Job) -> None:
    """Before any load: what it is fast at is not the job."""
    with (
        pytest.raises(RuntimeError, match="of LightGBM, received"),
        serving(bench, _peer("errs", "wrong"), PYTHON, "wrong", job),
    ):
        pytest.fail("a wrong answer was let pass")


def test_a_peer_that_does_not_start_says_why(bench: Bench, job: Job) -> None:
    """The reason is the last line of what it said."""
    with (
        pytest.raises(RuntimeError, match="did not start: no such booster"),
        serving(bench, _peer("dies", "dies"), PYTHON, "dies", job),
    ):
        pytest.fail("it can not have started")


def test_the_setting_that_works_is_taken_and_the_other_told(bench: Bench, job: Job) -> None:
    """A setting in which a peer does not run costs it that setting only."""
    setting, trials = best_setting(bench, _peer("mixed", "dies", "right"), PYTHON, job)
    assert setting == "right"
    assert trials["dies"] == "did not start: no such booster"
    assert isinstance(trials["right"], Load)


def test_a_peer_that_runs_in_no_setting_fails_with_every_reason(bench: Bench, job: Job) -> None:
    """Each setting is named with what went wrong."""
    with pytest.raises(RuntimeError, match="dies: did not start: no such booster; wrong: expected"):
        best_setting(bench, _peer("hopeless", "dies", "wrong"), PYTHON, job)


def test_refused_answers_are_no_throughput(bench: Bench, job: Job) -> None:
    """A server that refuses nearly all is not fast, however fast it refuses."""
    with serving(bench, _peer("sheds", "sheds"), PYTHON, "sheds", job) as candidate:
        (result,) = compete(bench, [candidate], {})
    good = sum(load.rate for load in result.loads)
    assert good < 20.0
    assert result.failure is not None or result.loads[0].refused > 10


def test_a_candidate_that_dies_under_load_is_out_and_the_others_go_on(bench: Bench, job: Job) -> None:
    """It has a reason instead of a number; the one beside it has its number."""
    with (
        serving(bench, _peer("first", "right"), PYTHON, "right", job) as first,
        serving(bench, _peer("second", "right"), PYTHON, "right", job) as second,
    ):
        first.server.process.kill()
        first.server.process.wait()
        results: list[Result] = compete(bench, [first, replace(second, questions=())], {})
    assert results[0].failure is not None
    assert results[0].loads == []
    assert results[1].failure is None
    assert results[1].rates[0] > 0.0


def _all_gone(pids: Iterable[int]) -> bool:
    """Whether they end within a while: a signal takes its time on a busy machine."""
    end = time.monotonic() + 30.0
    while left := [pid for pid in pids if pid in family.members(pid)]:
        if time.monotonic() > end:
            pytest.fail(f"still running: {left}")
        time.sleep(0.02)
    return True
