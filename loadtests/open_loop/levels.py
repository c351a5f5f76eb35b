"""The capacity of a service, then levels of load below and above it. Bodies enter, what came of each level leaves."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from loadtests.benchmarks.processes import CLIENT_CORE, Worker, running
from loadtests.benchmarks.rounds import percentile
from loadtests.loadtest.answers import Outcome
from loadtests.loadtest.plan import LEVELS, OPEN_LOOP, Pace
from loadtests.loadtest.tally import Tally
from loadtests.loadtest.target import TOKEN, Target

CONNECTIONS: Final = (8, 16, 32)
"""Of the closed loops; more would wait longer than the deadline."""
ROUNDS: Final = 3
"""Runs of each load that looks for the capacity."""
_POOL: Final = 256
_TRIALS: Final = 3  # at more than the capacity that is known so far
_SEED: Final = 20_251_008


@dataclass(frozen=True, slots=True)
class Level:
    """One load.

    Parameters
    ----------
    share : float
        Of the capacity; 0 for a closed loop.
    offered : float
        Requests a second on average; of a closed loop as many as were answered.
    seconds : float
        From the start to the end of the schedule or the last answer, whichever was later.
    tally : Tally
        Latencies from when a request was due.
    lag_ms : list of float
        How late the generator itself was with each request.
    queued : int
        Requests that found all connections busy and waited for one.
    """

    share: float
    offered: float
    seconds: float
    tally: Tally
    lag_ms: list[float]
    queued: int

    @property
    def goodput(self) -> float:
        """Good answers a second."""
        return self.tally.count(Outcome.GOOD) / self.seconds

    @property
    def lag_p99_ms(self) -> float | None:
        """How late the generator was, p99; None for a closed loop, which has no schedule."""
        return percentile(self.lag_ms, 0.99) if self.lag_ms else None

    def as_json(self) -> dict[str, Any]:
        """A row of the results."""
        return {
            "share": self.share,
            "offered_per_s": self.offered,
            "seconds": self.seconds,
            "good_per_s": self.goodput,
            **self.tally.as_json(),
            "lag_p99_ms": self.lag_p99_ms,
            "queued": self.queued,
        }


@dataclass(frozen=True, slots=True)
class Measured:
    """A corpus measured.

    Parameters
    ----------
    capacity : float
        Good answers a second, of `capacity_of`.
    search : tuple of Level
        The loads that found it.
    levels : tuple of Level
        At `LEVELS` of it.
    """

    capacity: float
    search: tuple[Level, ...]
    levels: tuple[Level, ...]

    def at(self, share: float) -> Level:
        """The level of a share."""
        return next(level for level in self.levels if level.share == share)

    def as_json(self) -> dict[str, Any]:
        """All of it, latencies as percentiles."""
        told = {name: [level.as_json() for level in getattr(self, name)] for name in ("search", "levels")}
        return {"capacity_per_s": self.capacity, **told}


class Generator:
    """The load generator's process, asked for loads.

    Parameters
    ----------
    worker : Worker
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._seed = _SEED

    def closed(self, seconds: float, connections: int) -> Level:
        """Each connection asks again as soon as it is answered."""
        found = self._worker.ask("closed", seconds=seconds, connections=connections)
        level = _level(0.0, 0.0, found)
        return _level(0.0, level.tally.total / level.seconds, found)

    def open(self, share: float, capacity: float, seconds: float) -> Level:
        """An open loop at a share of the capacity; other arrivals at every call."""
        self._seed += 1
        rate = share * capacity
        # All take turns, and the server hangs up on one that is idle for seconds.
        connections = max(8, min(_POOL, int(2.0 * rate)))
        arguments = {"rate": rate, "seconds": seconds, "seed": self._seed, "connections": connections}
        return _level(share, rate, self._worker.ask("open", **arguments))


@contextlib.contextmanager
def generator(target: Target, bodies: Path, log: Path) -> Iterator[Generator]:
    """A generator on the core that the service does not use.

    Parameters
    ----------
    target : Target
    bodies : Path
        Of `mix.write`, one a line.
    log : Path
    """
    command = [sys.executable, "-m", "loadtests.open_loop.generator", target.url, str(bodies)]
    environment = {TOKEN: target.token} if target.token else {}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with running(command, core=CLIENT_CORE, log=log, environment=environment, **pipes) as process, process:
        yield Generator(Worker(process))


def capacity_of(load: Generator, pace: Pace) -> tuple[float, list[Level]]:
    """Good answers a second at the load that gets most of them, each load in the median of `ROUNDS` runs, and the runs.

    Closed loops come first, in rounds. They wait for each other, and so find less than there is: half as much again is
    then offered in an open loop, and where more of that is answered, the capacity was more.

    Raises
    ------
    RuntimeError
        Nothing was answered well.
    """
    load.closed(pace.warm_s, CONNECTIONS[0])
    search = [load.closed(pace.capacity_s, connections) for _ in range(ROUNDS) for connections in CONNECTIONS]
    best = max(_typical(search[place :: len(CONNECTIONS)]) for place in range(len(CONNECTIONS)))
    if best == 0.0:
        raise RuntimeError(f"no good answer to /predict: {dict(search[0].tally.reasons)}")
    for _ in range(_TRIALS):
        runs = [load.open(LEVELS[-1], best, pace.capacity_s) for _ in range(ROUNDS)]
        search += runs
        before, best = best, max(best, _typical(runs))
        if best < 1.05 * before:
            break
    return best, search


def _typical(runs: Sequence[Level]) -> float:
    return median(run.goodput for run in runs)


def measure(load: Generator, pace: Pace) -> Measured:
    """The capacity, then every level of `LEVELS`."""
    capacity, search = capacity_of(load, pace)
    levels = [load.open(share, capacity, pace.level_s) for share in LEVELS]
    return Measured(capacity, tuple(search), tuple(levels))


def metrics(measured: Measured) -> dict[str, float]:
    """What the bounds of the open loop are about; what never happened is absent, and its bound fails.

    Returns
    -------
    dict of str to float
        `open_loop.METRIC` → value.
    """
    most, some = measured.at(1.5), measured.at(0.7)
    found = {
        "capacity_per_s": measured.capacity,
        "p99_ms_at_70": some.tally.percentile_ms(Outcome.GOOD, 0.99),
        "failed_at_70": some.tally.count(Outcome.FAILED),
        "shed_share_at_70": some.tally.share(Outcome.SHED),
        "degraded_share_at_70": some.tally.share(Outcome.DEGRADED),
        "goodput_at_150": most.goodput / measured.capacity,
        "shed_p99_ms_at_150": most.tally.percentile_ms(Outcome.SHED, 0.99),
        "failed": sum(level.tally.count(Outcome.FAILED) for level in measured.levels),
        "lag_p99_ms": max((level.lag_p99_ms or 0.0 for level in measured.levels if level.lag_ms), default=None),
    }
    return {f"{OPEN_LOOP}.{name}": float(value) for name, value in found.items() if value is not None}


def _level(share: float, offered: float, found: dict[str, Any]) -> Level:
    latencies = {outcome: found["latencies_ms"][outcome] for outcome in Outcome}
    tally = Tally(latencies, Counter(found["reasons"]))
    return Level(share, offered, found["seconds"], tally, found["lag_ms"], found["queued"])
