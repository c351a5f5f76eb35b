"""`make bench`: measure, show, write, and exit 1 where a bound is missed."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from rich.console import Console

from app.errors import PltvError
from app.inference.predictor import Predictor
from loadtests import payloads
from loadtests.benchmarks import machine, report, thresholds
from loadtests.benchmarks.generator import CONNECTIONS, Generator
from loadtests.benchmarks.measurements import Measurements
from loadtests.benchmarks.plan import FULL, QUICK, Bench, Pace
from loadtests.benchmarks.processes import CLIENT_CORE, ROOT, can_pin, pin
from loadtests.benchmarks.scenarios import cost, features, histories, http, in_process, models

RESULTS: Final = ROOT / "loadtests" / "results"
SCENARIOS: Final[dict[str, Callable[[Bench, Measurements], None]]] = {
    "in_process": in_process.run,
    "http": http.run,
    "models": models.run,
    "histories": histories.run,
    "cost": cost.run,
    "features": features.run,
}
_LINUX_ONLY: Final = ("cost.bundle_pss_to_rss",)
_WIDTH: Final = 128


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmarks.

    Returns
    -------
    int
        1 where a bound is missed, else 0.
    """
    arguments = _parser().parse_args(argv)
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    bounds = thresholds.load()
    names = arguments.only or list(SCENARIOS)
    about = machine.describe()
    if about["load_at_start"] > 0.5 * (about["cores"] or 1):
        console.print(f"[yellow]the machine is busy (load {about['load_at_start']}): these numbers will say so[/]")
    measurements, seconds = _measure(console, arguments.bundle, QUICK if arguments.quick else FULL, names)
    verdicts = thresholds.judge(bounds, measurements.metrics, names, () if sys.platform == "linux" else _LINUX_ONLY)
    report.show(console, about, measurements, verdicts)
    out = arguments.out or RESULTS / f"bench-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    report.write(out, _content(arguments, about, measurements, seconds), verdicts)
    missed = sum(not verdict.passed for verdict in verdicts)
    console.print(f"{len(verdicts) - missed} of {len(verdicts)} bounds hold; {seconds:.0f} s; {out}")
    return 1 if missed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench BENCH_ARGS=…", description="Measure what a prediction costs.")
    parser.add_argument("--quick", action="store_true", help="a minute: whether all runs, not what it costs")
    parser.add_argument("--only", nargs="+", choices=list(SCENARIOS), help="some of the scenarios")
    parser.add_argument("--bundle", type=Path, default=ROOT / "models" / "current", help="what to serve (%(default)s)")
    parser.add_argument("--out", type=Path, help="the JSON file (loadtests/results/bench-TIME.json)")
    return parser


def _measure(console: Console, bundle: Path, pace: Pace, names: Sequence[str]) -> tuple[Measurements, float]:
    start = time.perf_counter()
    measurements = Measurements()
    bundle = checked_bundle(bundle.resolve(), "bench")
    if can_pin():
        pin(os.getpid(), CLIENT_CORE)
    else:
        measurements.note("server and load could not be given a core each: requests/s are not those of one core")
    console.print("bodies: the generator's, and full histories made of them", highlight=False)
    corpora = payloads.corpora(RESULTS)
    with TemporaryDirectory(prefix="pltv-bench-") as work:
        bench = Bench(bundle, pace, corpora, Path(work), Generator(Path(work) / "generator.log"))
        for name in names:
            began = time.perf_counter()
            _run(name, bench, measurements)
            console.print(f"{name}: {time.perf_counter() - began:.0f} s", highlight=False)
    return measurements, time.perf_counter() - start


def checked_bundle(bundle: Path, verb: str) -> Path:
    """A bundle that the service would refuse is told in one line."""
    try:
        Predictor.load(bundle).close()
    except PltvError as error:
        print(f"{verb}: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    return bundle


def _run(name: str, bench: Bench, measurements: Measurements) -> None:
    """A scenario that fails leaves its bounds unmeasured, which is a miss, and the others run."""
    try:
        SCENARIOS[name](bench, measurements)
    except (RuntimeError, OSError, PltvError) as error:
        logs = bench.work.glob(f"{name.replace('_', '-')}*.log")
        said = "\n".join(path.read_text(errors="replace")[-1500:] for path in logs)
        measurements.note(f"{name} failed: {error}\n{said}")


def _content(
    arguments: argparse.Namespace, about: dict[str, Any], measurements: Measurements, seconds: float
) -> dict[str, Any]:
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": arguments.quick,
        "bundle": arguments.bundle.resolve().name,
        "seed": payloads.SEED,
        "connections": CONNECTIONS,
        "seconds": round(seconds, 1),
        "machine": about,
        "metrics": measurements.metrics,
        "notes": measurements.notes,
        "rounds": measurements.details,
    }


if __name__ == "__main__":
    sys.exit(main())
