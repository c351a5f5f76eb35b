"""The open loop: schedules, and that no wait is left out of a latency."""

from __future__ import annotations

import json
import math
import selectors
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from loadtests.benchmarks.rounds import percentile
from loadtests.benchmarks.thresholds import judge, load
from loadtests.loadtest.answers import Outcome
from loadtests.loadtest.closed import BOUNDS
from loadtests.loadtest.mix import Call
from loadtests.loadtest.plan import LEVELS, OPEN_LOOP
from loadtests.loadtest.tally import Tally
from loadtests.loadtest.target import Target
from loadtests.open_loop import plot, wire
from loadtests.open_loop.generator import Load
from loadtests.open_loop.levels import Level, Measured, metrics
from loadtests.open_loop.schedule import poisson
from tests.loadtests.test_loadtest_answers import ANSWER

GOOD = json.dumps(ANSWER).encode()
CALL = Call("/predict", b"{}", ("a",))
STALL_S = 0.6


class Stalling:
    """Answers everybody from one thread; at one request that thread sleeps, and all others wait.

    Parameters
    ----------
    at : int
        Which request, counted from 0; -1 for none.
    """

    def __init__(self, at: int) -> None:
        self._at = at
        self._seen = 0
        self._stop = threading.Event()
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self.port: int = self._listener.getsockname()[1]

    def serve(self) -> None:
        """Until stopped."""
        while not self._stop.is_set():
            for key, _ in self._selector.select(0.01):
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                if sock is self._listener:
                    self._selector.register(sock.accept()[0], selectors.EVENT_READ)
                else:
                    self._answer(sock)

    def close(self) -> None:
        """Hang up."""
        self._stop.set()

    def release(self) -> None:
        """Close every socket."""
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()

    def _answer(self, sock: socket.socket) -> None:
        if not sock.recv(1 << 16):
            self._selector.unregister(sock)
            sock.close()
            return
        if self._seen == self._at:
            time.sleep(STALL_S)
        self._seen += 1
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(GOOD) + GOOD)


@contextmanager
def stalling(at: int) -> Iterator[Target]:
    """A server that stalls once."""
    server = Stalling(at)
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield Target("127.0.0.1", server.port)
    finally:
        server.close()
        thread.join()
        server.release()


@contextmanager
def hanging_up() -> Iterator[Target]:
    """A server that reads a request and hangs up."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        stop = threading.Event()
        listener.settimeout(0.01)

        def serve() -> None:
            while not stop.is_set():
                try:
                    sock = listener.accept()[0]
                except TimeoutError:
                    continue
                with sock:
                    sock.settimeout(10.0)
                    sock.recv(1 << 16)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield Target("127.0.0.1", listener.getsockname()[1])
        finally:
            stop.set()
            thread.join()


def test_a_schedule_has_its_rate_and_its_gaps() -> None:
    """As many arrivals as the rate says, gaps with the memoryless law: exp(-1) of them exceed the mean."""
    due = poisson(2000.0, 10.0, seed=3)
    gaps = [later - sooner for sooner, later in pairwise(due)]
    n = len(due)
    assert abs(n - 20_000) < 5 * math.sqrt(20_000)
    assert min(gaps) > 0.0
    assert due[-1] <= 10.0
    share = sum(gap > 1 / 2000.0 for gap in gaps) / n
    assert abs(share - math.exp(-1)) < 5 * math.sqrt(math.exp(-1) * (1 - math.exp(-1)) / n)


def test_a_schedule_is_its_seed() -> None:
    """The same seed gives the same instants, another gives others; at least one request is due."""
    assert poisson(50.0, 1.0, 1) == poisson(50.0, 1.0, 1) != poisson(50.0, 1.0, 2)
    assert len(poisson(0.001, 1.0, 1)) == 1


@pytest.mark.parametrize(("rate", "seconds"), [(0.0, 1.0), (-1.0, 1.0), (1.0, 0.0)])
def test_a_schedule_without_rate_or_time_is_refused(rate: float, seconds: float) -> None:
    """In one line."""
    with pytest.raises(ValueError, match="schedule: expected a rate and seconds above 0"):
        poisson(rate, seconds, 1)


def test_a_stall_is_in_the_latency_of_all_that_were_due_in_it() -> None:
    """The server stops at request k for 0.6 s: request j, due t after k, waits 0.6 s - t at least. So says the schedule
    alone, and so the percentiles must say, though most of them were sent late or not at all while it lasted."""
    due, k = [i / 200.0 for i in range(300)], 60
    with stalling(k) as target:
        found = Load(target, [CALL], 0).open(due, 1.5, connections=16)
    measured = sorted(found["latencies_ms"][Outcome.GOOD])
    waits = sorted(1000.0 * max(0.0, due[k] + STALL_S - at) if i >= k else 0.0 for i, at in enumerate(due))
    assert len(measured) == len(due)
    assert found["queued"] > 0
    # k + 1 requests have been sent when the server stops, so that it stops after due[k], in whatever order it met them.
    assert all(latency >= wait - 0.001 for latency, wait in zip(measured, waits, strict=True))
    assert percentile(measured, 0.99) >= 575.0  # the third of the 300 that waited most; it was due 10 ms after k


def test_a_closed_loop_leaves_the_stall_out() -> None:
    """The same stall is seen once a connection: what would have been asked meanwhile is in no latency."""
    with stalling(20) as target:
        found = Load(target, [CALL], 0).closed(1.0, connections=2)
    slow = [latency for latency in found["latencies_ms"][Outcome.GOOD] if latency >= 900.0 * STALL_S]
    assert 1 <= len(slow) <= 4  # two, and two more where the machine itself stopped as long


def test_the_generator_tells_how_late_it_is() -> None:
    """What is due all at once cannot be sent all at once: each request's own lag is kept, and it only grows."""
    with stalling(-1) as target:
        found = Load(target, [CALL], 0).open([0.0] * 400, 0.1, connections=8)
    assert len(found["lag_ms"]) == 400
    assert found["lag_ms"] == sorted(found["lag_ms"])
    assert found["lag_ms"][-1] > found["lag_ms"][0]


def test_a_server_that_hangs_up_gives_failures() -> None:
    """Every request is accounted for, none is good, and the pool goes on."""
    with hanging_up() as target:
        found = Load(target, [CALL], 0).open([i / 100.0 for i in range(30)], 0.3, connections=1)
    assert {outcome: len(found["latencies_ms"][outcome]) for outcome in Outcome} == {
        Outcome.GOOD: 0, Outcome.DEGRADED: 0, Outcome.SHED: 0, Outcome.FAILED: 30,
    }  # fmt: skip
    assert found["reasons"] == {"no answer": 30}


def test_an_answer_is_read_when_it_is_whole() -> None:
    """Not a byte earlier; its headers in any case of letters."""
    raw = b"HTTP/1.1 503 Service Unavailable\r\nRETRY-AFTER: 1\r\nContent-length: 4\r\nConnection: close\r\n\r\nbusy"
    assert all(wire.read(raw[:n]) is None for n in range(len(raw)))
    assert wire.read(raw) == (503, True, True, b"busy")
    with pytest.raises(ValueError, match="expected an HTTP/1 answer"):
        wire.read(b"220 mail\r\n\r\n")
    with pytest.raises(ValueError, match="Content-Length"):
        wire.read(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")


def test_a_request_is_rendered_whole() -> None:
    """Path, host, token and length, then the body."""
    head, _, body = wire.render(Target("::1", 81, "secret"), "/predict", b"{}").partition(b"\r\n\r\n")
    assert body == b"{}"
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /predict HTTP/1.1"
    assert set(lines[1:]) == {
        "Host: [::1]:81", "Content-Type: application/json", "Authorization: Bearer secret", "Content-Length: 2",
    }  # fmt: skip


def _measured(shed: int = 40, failed: int = 0, lag_ms: float = 0.1) -> Measured:
    """Levels of 10 s each: 100 good at most a second."""
    levels = []
    for share in LEVELS:
        over = share > 1.0
        tally = Tally(
            {
                Outcome.GOOD: [float(i) / 100.0 for i in range(1, 1 + int(1000 * min(share, 0.9)))],
                Outcome.DEGRADED: [],
                Outcome.SHED: [2.0] * shed if over else [],
                Outcome.FAILED: [9.0] * failed if over else [],
            },
            Counter(),
        )
        levels.append(Level(share, 100.0 * share, 10.0, tally, [lag_ms] * 100, 0))
    return Measured(100.0, (), tuple(levels))


def _held(measured: Measured) -> dict[str, bool]:
    both = {metric: {"natural": value, "full": value} for metric, value in metrics(measured).items()}
    return {v.threshold.metric: v.passed for v in judge(load(BOUNDS), both, [OPEN_LOOP])}


def test_goodput_is_good_answers_only() -> None:
    """900 good and 40 shed in 10 s at a capacity of 100/s: 0.9 of it; the percentiles are those of the good."""
    found = metrics(_measured())
    assert found["open_loop.goodput_at_150"] == pytest.approx(0.9)
    assert found["open_loop.shed_p99_ms_at_150"] == 2.0
    assert found["open_loop.p99_ms_at_70"] == pytest.approx(6.93)
    assert all(_held(_measured()).values())


def test_a_generator_that_was_late_fails_the_run() -> None:
    """Its lag is held to a bound of its own, whatever the latencies look like."""
    assert [metric for metric, passed in _held(_measured(lag_ms=1.5)).items() if not passed] == ["open_loop.lag_p99_ms"]


def test_a_failure_or_a_missing_refusal_misses_a_bound() -> None:
    """One failure is too many; where nothing was refused at 150 % there was no overload to judge."""
    assert not _held(_measured(failed=1))["open_loop.failed"]
    assert not _held(_measured(shed=0))["open_loop.shed_p99_ms_at_150"]


def test_a_run_is_drawn(tmp_path: Path) -> None:
    """As PNG and SVG, levels without a good answer included."""
    nothing = Tally({outcome: [] for outcome in Outcome}, Counter())
    silent = Level(0.3, 30.0, 10.0, nothing, [], 0)
    measured = _measured()
    png, svg = plot.draw(
        {"natural": measured, "full": Measured(100.0, (), (silent, *measured.levels[1:]))}, "x", tmp_path / "run"
    )
    assert png.read_bytes().startswith(b"\x89PNG")
    assert "<svg" in svg.read_text()


def test_the_drawn_curve_is_the_sorted_latencies() -> None:
    """Latency i of n stands where i / n of them are below it; the extremes are not thinned out."""
    nines, values = plot.quantiles([float(i) for i in range(5000, 0, -1)])
    assert (values[0], values[-1]) == (1.0, 5000.0)
    assert nines[-1] == pytest.approx(math.log10(5000.0))
    assert nines == pytest.approx([-math.log10(1 - (value - 1) / 5000.0) for value in values])
