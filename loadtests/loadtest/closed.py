"""A locust run from outside: started as a process, its report files left in place, its figures and exit code read."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import orjson

from loadtests.benchmarks.measurements import NO_CORPUS
from loadtests.benchmarks.processes import CLIENT_CORE, ROOT, running
from loadtests.benchmarks.rounds import percentile
from loadtests.loadtest.answers import Outcome
from loadtests.loadtest.curves import CURVES
from loadtests.loadtest.mix import KINDS
from loadtests.loadtest.tally import Tally
from loadtests.loadtest.target import TOKEN, Target

BOUNDS: Final = ROOT / "loadtests" / "loadtest.toml"
USER_RATE: Final = 10.0
"""Calls a second that a user makes when answers take no time."""
TASKS: Final = {"natural": 60, "full": 20, "known": 19, "batch": 1}
"""How often each kind is asked, of 100."""
MOST: Final = 2_000.0
"""Calls a second that are a load of 1 at most. A call costs locust 0.2 ms of its core: past half of that core it sends
in clumps, and its latencies are its own."""
_LOCUSTFILE: Final = ROOT / "loadtests" / "locustfile.py"
_GRACE_S: Final = 60.0
_SINGLE: Final = tuple(kind for kind in KINDS if kind != "batch")
_MISSED: Final = 1


@dataclass
class Kept:
    """What the users of one run saw.

    Parameters
    ----------
    tallies : dict of str to Tally
        Kind → its tally.
    last : Tally
        Of all kinds but batches in the last third of the time: after the spike, where there is one.
    found : int
        Good answers to `known` whose stored history was used.
    seconds : float
        From the first call to the last.
    """

    tallies: dict[str, Tally] = field(default_factory=lambda: {kind: Tally() for kind in KINDS})
    last: Tally = field(default_factory=Tally)
    found: int = 0
    seconds: float = 0.0
    _begin: float = 0.0
    _last_from: float = 0.0

    def begin(self, seconds: float) -> None:
        """The clock runs, for as long as the curve lasts, and nothing has been seen."""
        self.tallies, self.last, self.found = {kind: Tally() for kind in KINDS}, Tally(), 0
        self._begin = perf_counter()
        self._last_from = self._begin + 2.0 * seconds / 3.0

    def end(self) -> None:
        """The clock stops."""
        self.seconds = perf_counter() - self._begin

    def add(self, kind: str, outcome: Outcome, latency_ms: float, reason: str, found: bool) -> None:
        """One call, when its answer is here."""
        self.tallies[kind].add(outcome, latency_ms, reason)
        self.found += found
        if kind in _SINGLE and perf_counter() >= self._last_from:
            self.last.add(outcome, latency_ms)

    def as_json(self) -> dict[str, Any]:
        """The tallies told."""
        return {"seconds": self.seconds, "kinds": {kind: tally.as_json() for kind, tally in self.tallies.items()}}


def seen(kind: str, outcome: Outcome, body: bytes) -> bool:
    """Whether a good answer was made with the stored history that it asked for."""
    if kind != "known" or outcome is not Outcome.GOOD:
        return False
    history = orjson.loads(body)["history"]
    return bool(history["state"] == "present" and history["source"] in ("near", "redis"))


def metrics(curve: str, kept: Kept) -> dict[str, dict[str, float]]:
    """What the bounds of a shape are about, by `SHAPE.metric`.

    Parameters
    ----------
    curve : str
    kept : Kept

    Returns
    -------
    dict of str to dict of str to float
        As `Measurements.metrics`. A share of nothing is absent, and its bound fails.
    """
    tallies = kept.tallies
    calls = sum(tally.total for tally in tallies.values())
    counts = {outcome: sum(tally.count(outcome) for tally in tallies.values()) for outcome in Outcome}
    single = [ms for kind in _SINGLE for ms in tallies[kind].latencies_ms[Outcome.GOOD]]
    values = {
        "failed_share": _share(counts[Outcome.FAILED], calls),
        "shed_share": _share(counts[Outcome.SHED], calls),
        "shed_share_last": kept.last.share(Outcome.SHED),
        "p99_ms_last": kept.last.percentile_ms(Outcome.GOOD, 0.99),
        "degraded_share": _share(counts[Outcome.DEGRADED], calls),
        "p99_ms": percentile(single, 0.99) if single else None,
        "found_share": _share(kept.found, tallies["known"].count(Outcome.GOOD)),
        "good_per_s": _share(counts[Outcome.GOOD], kept.seconds),
    }
    return {f"{curve}.{name}": {NO_CORPUS: value} for name, value in values.items() if value is not None}


def run(curve: str, target: Target, capacity: float, stretch: float, bodies: Path, out: Path) -> dict[str, Any]:
    """Run one shape.

    Parameters
    ----------
    curve : str
        Of `CURVES`.
    target : Target
    capacity : float
        Calls a second that are a load of 1, `MOST` at most.
    stretch : float
        Of the curve's time.
    bodies : Path
        Directory that `mix.write` filled.
    out : Path
        Directory for `CURVE.html`, `CURVE_*.csv`, `CURVE.json` and `CURVE.log`.

    Returns
    -------
    dict
        The summary that the locustfile wrote, with the `exit_code`.

    Raises
    ------
    RuntimeError
        Locust ended otherwise than by its verdict.
    """
    seconds = CURVES[curve].seconds * stretch
    summary, log = out / f"{curve}.json", out / f"{curve}.log"
    command = [sys.executable, "-m", "locust", "-f", str(_LOCUSTFILE), "--headless", "--only-summary"]
    command += ["--host", target.url, "--html", str(out / f"{curve}.html"), "--csv", str(out / curve)]
    command += ["--stop-timeout", "10", "--curve", curve, "--curve-seconds", str(seconds), "--summary", str(summary)]
    command += ["--capacity", str(min(capacity, MOST)), "--bodies", str(bodies)]
    environment = {TOKEN: target.token} if target.token else {}
    with running(command, core=CLIENT_CORE, log=log, environment=environment) as process:
        code = _wait(process, seconds + _GRACE_S)
    if code not in (0, _MISSED) or not summary.exists():
        raise RuntimeError(f"locust ended with {code}: {log.read_text(errors='replace')[-600:].strip()}")
    return {**json.loads(summary.read_text()), "exit_code": code}


def table(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row a kind, for the report."""
    return [{"kind": kind, **told} for kind, told in summary["kinds"].items()]


def _wait(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None
