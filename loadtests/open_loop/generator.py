"""The process that makes the load. Bodies and commands enter; outcomes, latencies and its own lag leave.

`python -m loadtests.open_loop.generator URL BODIES [TOKEN]` answers the commands `closed` and `open`, a line of JSON
each. Answers are kept as bytes while the clock runs and judged after it.
"""

from __future__ import annotations

import gc
import os
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from loadtests.benchmarks.processes import answer_commands
from loadtests.loadtest import answers
from loadtests.loadtest.mix import Call, read_calls
from loadtests.loadtest.tally import Tally
from loadtests.loadtest.target import TOKEN, Target
from loadtests.open_loop import schedule, wire
from loadtests.open_loop.connections import Pool
from loadtests.open_loop.wire import Response

_LEAD_S: Final = 0.02
_GRACE_S: Final = 5.0
_BURST: Final = 16  # sent before answers are looked at again


class Load:
    """One load on a target.

    Parameters
    ----------
    target : Target
    calls : sequence of Call
        Sent in turn.
    first : int
        The place in `calls` to begin at.
    """

    def __init__(self, target: Target, calls: Sequence[Call], first: int) -> None:
        self._target = target
        self._calls = calls
        self._requests = [wire.render(target, call.path, call.body) for call in calls]
        self._sent = first
        self._kept: list[tuple[int, float, Response]] = []
        self._waiting: deque[float] = deque()
        self._end = 0.0
        self.lag_s: list[float] = []
        self.queued = 0

    def closed(self, seconds: float, connections: int) -> dict[str, Any]:
        """Ask again on every connection as soon as it answered."""
        self._pool = self._connect(connections)
        begin = perf_counter()
        self._end = begin + seconds
        while self._pool.free:
            self._send(perf_counter())
        self._drain(self._end + _GRACE_S)
        return self._found(perf_counter() - begin)

    def open(self, due: Sequence[float], seconds: float, connections: int) -> dict[str, Any]:
        """Send each request when it is due.

        Parameters
        ----------
        due : sequence of float
            Seconds after the start, rising.
        seconds : float
            Length of the schedule.
        connections : int
            A request that finds them all busy waits for one, and its wait is latency.
        """
        self._pool = self._connect(connections)
        begin, i, n = perf_counter() + _LEAD_S, 0, len(due)
        while i < n:
            i = self._send_due(due, i, begin)
            if i < n:
                self._pool.turn(begin + due[i] - perf_counter())
        self._drain(perf_counter() + _GRACE_S)
        return self._found(max(seconds, perf_counter() - begin))

    def _connect(self, connections: int) -> Pool:
        return Pool(self._target.host, self._target.port, connections, self._answered)

    def _send_due(self, due: Sequence[float], i: int, begin: float) -> int:
        """Send what is due, a burst at most; where the schedule goes on."""
        for at in due[i : i + _BURST]:
            lag = perf_counter() - begin - at
            if lag < 0.0:
                break
            self.lag_s.append(lag)
            if self._pool.free:
                self._send(begin + at)
            else:
                self._waiting.append(begin + at)
                self.queued += 1
            i += 1
        return i

    def _send(self, due: float) -> None:
        place, self._sent = self._sent % len(self._requests), self._sent + 1
        self._pool.send(place, due, self._requests[place])

    def _answered(self, place: int, due: float, response: Response) -> None:
        now = perf_counter()
        self._kept.append((place, now - due, response))
        if self._pool.free and (self._waiting or now < self._end):
            self._send(self._waiting.popleft() if self._waiting else now)

    def _drain(self, until: float) -> None:
        """Wait for what is under way; what has no answer by then never gets one."""
        while (self._pool.under_way or self._waiting) and (left := until - perf_counter()) > 0.0:
            self._pool.turn(left)
        waiting, self._waiting, self._end = self._waiting, deque(), 0.0
        self._pool.give_up()
        for due in waiting:
            self._kept.append((0, perf_counter() - due, wire.NONE))
        self._pool.close()

    def _found(self, seconds: float) -> dict[str, Any]:
        tally = Tally()
        for place, latency_s, response in self._kept:
            ids = self._calls[place].ids
            outcome, reason = answers.judge(response.status, response.retry_after, response.body, ids)
            tally.add(outcome, round(1000.0 * latency_s, 4), reason)
        return {
            "seconds": seconds,
            "latencies_ms": tally.latencies_ms,
            "reasons": tally.reasons,
            "lag_ms": [round(1000.0 * lag, 4) for lag in self.lag_s],
            "queued": self.queued,
            "next": self._sent,
        }


def main(url: str, bodies: str) -> None:
    """Be a worker with the commands `closed` and `open`."""
    target, calls, sent = Target.of(url, os.environ.get(TOKEN, "")), read_calls(Path(bodies)), 0

    def closed(seconds: float, connections: int) -> dict[str, Any]:
        return run(lambda load: load.closed(seconds, connections))

    def open_(rate: float, seconds: float, seed: int, connections: int) -> dict[str, Any]:
        due = schedule.poisson(rate, seconds, seed)
        return run(lambda load: load.open(due, seconds, connections))

    def run(command: Any) -> dict[str, Any]:
        nonlocal sent
        gc.collect()
        gc.disable()  # a pause of ours would pass for one of the service
        found: dict[str, Any] = command(Load(target, calls, sent))
        gc.enable()
        sent = found.pop("next")
        return found

    answer_commands({"closed": closed, "open": open_})


if __name__ == "__main__":
    main(*sys.argv[1:])
