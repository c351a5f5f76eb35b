"""`make loadtest`: put a service under load, show, write, and exit 1 where a bound is missed."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from app.errors import PltvError
from app.inference.predictor import Predictor
from loadtests import payloads
from loadtests.benchmarks import machine, report, thresholds
from loadtests.benchmarks.processes import CLIENT_CORE, ROOT, can_pin, pin
from loadtests.benchmarks.thresholds import Verdict
from loadtests.loadtest import closed, mix, target
from loadtests.loadtest import report as told
from loadtests.loadtest.curves import CURVES
from loadtests.loadtest.plan import BODIES, FULL, OPEN_LOOP, QUICK, RESULTS, Pace
from loadtests.loadtest.target import TOKEN, Target
from loadtests.open_loop import levels, plot
from loadtests.open_loop.levels import Measured

SHAPES: Final = (OPEN_LOOP, *CURVES)
_CORPORA: Final = ("natural", "full")
_WIDTH: Final = 132


@dataclass
class Run:
    """One run, as it goes on.

    Parameters
    ----------
    out : Path
        Directory of its files.
    pace : Pace
    console : Console
    """

    out: Path
    pace: Pace
    console: Console
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    levels: dict[str, Measured] = field(default_factory=dict)
    shapes: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        """Progress."""
        self.console.print(text, highlight=False, soft_wrap=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the load test.

    Returns
    -------
    int
        1 where a bound is missed, 2 where there is nothing to put under load, else 0.
    """
    arguments = _parser().parse_args(argv)
    start, at = time.perf_counter(), datetime.now(UTC)
    about = {"at": at.isoformat(timespec="seconds"), **machine.describe()}
    run = _begin(arguments, at, about)
    try:
        with _target(arguments, run) as found:
            about |= {"target": "the service that this run started" if arguments.host is None else found.url}
            _measure(run, found, arguments.shape or list(SHAPES))
    except (ValueError, PltvError, RuntimeError, OSError) as error:
        print(f"loadtest: {error}", file=sys.stderr)
        return 2
    about |= {"bundle": "of its own" if arguments.host else arguments.bundle.resolve().name}
    return _conclude(run, about, arguments.shape or list(SHAPES), time.perf_counter() - start)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make loadtest LOADTEST_ARGS=…", description="Put the service under load.")
    parser.add_argument("--quick", action="store_true", help="a minute: whether all runs, not what it bears")
    parser.add_argument("--shape", nargs="+", choices=SHAPES, help="some of the shapes")
    parser.add_argument("--host", help=f"http://NAME[:PORT] of a running service; ${TOKEN} is its bearer token")
    parser.add_argument("--bundle", type=Path, default=ROOT / "models" / "current", help="what to serve (%(default)s)")
    parser.add_argument("--out", type=Path, help="directory for the results (loadtests/results/loadtest-TIME)")
    return parser


def _begin(arguments: argparse.Namespace, at: datetime, about: dict[str, Any]) -> Run:
    out = arguments.out or RESULTS / f"loadtest-{at:%Y%m%dT%H%M%SZ}"
    out.mkdir(parents=True, exist_ok=True)
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    run = Run(out, QUICK if arguments.quick else FULL, console)
    if about["load_at_start"] > 0.5 * (about["cores"] or 1):
        run.notes.append(f"the machine was busy (load {about['load_at_start']}) when this began")
    if can_pin():
        pin(os.getpid(), CLIENT_CORE)
    else:
        run.notes.append("service and load could not be given a core each: they took from each other")
    return run


@contextmanager
def _target(arguments: argparse.Namespace, run: Run) -> Iterator[Target]:
    if arguments.host is not None:
        with target.given(arguments.host, os.environ.get(TOKEN, "")) as found:
            yield found
        return
    bundle = arguments.bundle.resolve()
    Predictor.load(bundle).close()  # a bundle that the service would refuse is told in one line
    with target.own(bundle, run.out / "service.log") as found:
        yield found


def _measure(run: Run, found: Target, shapes: Sequence[str]) -> None:
    run.say(f"{found.url}: bodies, then the capacity in a closed loop")
    mix.write(payloads.corpora(RESULTS), BODIES)
    if OPEN_LOOP in shapes:
        for corpus in _CORPORA:
            _open_loop(run, found, corpus)
        capacity = run.levels["natural"].capacity
    else:
        with levels.generator(found, mix.path_of(BODIES, "natural"), run.out / "generator.log") as load:
            capacity, _ = levels.capacity_of(load, run.pace)
        run.say(f"capacity: {capacity:,.0f} good answers a second")
    if capacity > closed.MOST and set(shapes) & set(CURVES):
        run.notes.append(f"locust: a load of 1 is {closed.MOST:,.0f} calls a second, what a core of it makes undelayed")
    for shape in (shape for shape in CURVES if shape in shapes):
        _closed(run, found, shape, capacity)


def _open_loop(run: Run, found: Target, corpus: str) -> None:
    with levels.generator(found, mix.path_of(BODIES, corpus), run.out / "generator.log") as load:
        measured = levels.measure(load, run.pace)
    run.levels[corpus] = measured
    for metric, value in levels.metrics(measured).items():
        run.metrics.setdefault(metric, {})[corpus] = value
    run.say(f"\nopen loop, {corpus}: capacity {measured.capacity:,.0f}/s\n{told.level_table(measured)}")


def _closed(run: Run, found: Target, shape: str, capacity: float) -> None:
    summary = closed.run(shape, found, capacity, run.pace.stretch, BODIES, run.out)
    run.shapes[shape] = summary
    run.metrics |= summary["metrics"]
    if summary["busy"]:
        run.notes.append(f"{shape}: locust had too little of a core: its latencies hold its own waits")
    run.say(f"\nlocust, {shape}, {summary['seconds']:.0f} s\n{told.call_table(summary)}")


def _conclude(run: Run, about: dict[str, Any], shapes: Sequence[str], seconds: float) -> int:
    verdicts = thresholds.judge(thresholds.load(closed.BOUNDS), run.metrics, shapes)
    if run.levels:
        picture = f"{about['target']}, bundle {about['bundle']}, {about['cpu']}, {about['cores']} cores, {about['at']}"
        plot.draw(run.levels, picture, run.out / OPEN_LOOP)
    told.write_markdown(run.out / "report.md", about, run.shapes, run.levels, verdicts, run.notes)
    report.write(run.out / "report.json", _content(run, about, seconds), verdicts)
    run.say(f"\n{told.held(verdicts)}")
    for note in run.notes:
        run.say(f"- {note}")
    return _verdict(run, verdicts, seconds)


def _verdict(run: Run, verdicts: Sequence[Verdict], seconds: float) -> int:
    missed = sum(not verdict.passed for verdict in verdicts)
    run.say(f"{len(verdicts) - missed} of {len(verdicts)} bounds hold; {seconds:.0f} s; {run.out}/report.md")
    failed = [shape for shape, summary in run.shapes.items() if summary["exit_code"]]
    return 1 if missed or failed else 0


def _content(run: Run, about: dict[str, Any], seconds: float) -> dict[str, Any]:
    return {
        "machine": about,
        "seconds": round(seconds, 1),
        "metrics": run.metrics,
        "notes": run.notes,
        "open_loop": {corpus: measured.as_json() for corpus, measured in run.levels.items()},
        "locust": run.shapes,
    }


if __name__ == "__main__":
    sys.exit(main())
