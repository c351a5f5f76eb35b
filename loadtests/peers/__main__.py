"""`make bench-peers`: measure, show, write, and exit 1 where the bound is missed or a peer can not be measured."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from rich.console import Console

from loadtests import payloads
from loadtests.benchmarks import machine, report, thresholds
from loadtests.benchmarks.__main__ import RESULTS, checked_bundle
from loadtests.benchmarks.generator import CONNECTIONS, Generator
from loadtests.benchmarks.measurements import Measurements
from loadtests.benchmarks.plan import FULL, QUICK, Bench, Pace
from loadtests.benchmarks.processes import CLIENT_CORE, ROOT, can_pin, pin
from loadtests.benchmarks.thresholds import Verdict
from loadtests.peers import environments
from loadtests.peers.catalogue import NOOP, PEERS, Peer
from loadtests.peers.competition import run
from loadtests.peers.contest import TROUBLES
from loadtests.peers.results import Result, judge
from loadtests.peers.rows import CASES, job
from loadtests.peers.table import table

BOUNDS: Final = Path(__file__).parent / "thresholds.toml"
_WIDTH: Final = 140


def main(argv: Sequence[str] | None = None) -> int:
    """Run the peers.

    Returns
    -------
    int
        1 where the bound is missed or a candidate failed, else 0.
    """
    arguments = _parser().parse_args(argv)
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    bounds = thresholds.load(BOUNDS)
    bundle = checked_bundle(arguments.bundle.resolve(), "bench-peers")
    about, start = machine.describe(), time.perf_counter()
    peers = [peer for peer in PEERS if arguments.only is None or peer.name in arguments.only]
    pythons, packages, failed = _install(console, peers)
    measurements = Measurements()
    if can_pin():
        pin(os.getpid(), CLIENT_CORE)
    else:
        measurements.note("server and load could not be given a core each: requests/s are not those of one core")
    results = [*_measure(console, arguments, bundle, pythons, measurements), *failed]
    verdicts = judge(bounds, results, arguments.rows, measurements)
    _show(console, about, results, packages, arguments.rows, measurements, verdicts)
    out = arguments.out or RESULTS / f"peers-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    content = _content(arguments, about, results, packages, measurements, time.perf_counter() - start)
    report.write(out, content, verdicts)
    failures = sum(result.failure is not None for result in results)
    missed = sum(not verdict.passed for verdict in verdicts)
    console.print(f"{len(verdicts) - missed} of {len(verdicts)} bounds hold; {failures} candidates failed; {out}")
    return 1 if missed or failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make bench-peers BENCH_ARGS=…", description="Measure what people use today to serve ready rows."
    )
    parser.add_argument("--quick", action="store_true", help="a short look: whether all run, not what they do")
    parser.add_argument("--only", nargs="+", choices=[peer.name for peer in PEERS], help="some of the peers")
    parser.add_argument("--rows", choices=CASES, default=CASES[0], help="what the peers are given (%(default)s)")
    parser.add_argument("--bundle", type=Path, default=ROOT / "models" / "current", help="what we serve (%(default)s)")
    parser.add_argument("--out", type=Path, help="the JSON file (loadtests/results/peers-TIME.json)")
    return parser


def _install(
    console: Console, peers: Sequence[Peer]
) -> tuple[dict[str, Path], dict[str, dict[str, str]], list[Result]]:
    """Python and versions by peer, and a result for each that can not be installed."""
    pythons, packages, failed = {}, {}, []
    for peer in (NOOP, *peers):
        console.print(f"{peer.title}: .venv-peers/{peer.environment}", highlight=False)
        try:
            pythons[peer.name] = environments.python_of(peer.environment)
            packages[peer.name] = environments.versions(pythons[peer.name], peer.packages)
        except TROUBLES as error:
            pythons.pop(peer.name, None)
            failed.append(Result(peer.name, peer.title, failure=str(error)))
    return pythons, packages, failed


def _measure(
    console: Console, arguments: argparse.Namespace, bundle: Path, pythons: Mapping[str, Path], out: Measurements
) -> list[Result]:
    console.print("bodies: the generator's, and full histories made of them", highlight=False)
    corpora = payloads.corpora(RESULTS)
    task = job(bundle, corpora.natural, RESULTS, arguments.rows)
    pace: Pace = QUICK if arguments.quick else FULL
    with TemporaryDirectory(prefix="pltv-peers-") as work:
        bench = Bench(bundle, pace, corpora, Path(work), Generator(Path(work) / "generator.log"))
        out.note(f"load on 127.0.0.1 by {bench.generator.name}, closed loop, {CONNECTIONS} connections")
        out.note(f"{arguments.rows} rows: {task.X.shape[1]} numbers, {task.scores.shape[1]} boosters")
        peers = [peer for peer in (NOOP, *PEERS) if peer.name in pythons]
        return run(bench, peers, pythons, task, out, lambda text: console.print(text, highlight=False))


def _show(
    console: Console,
    about: Mapping[str, Any],
    results: Sequence[Result],
    packages: Mapping[str, Mapping[str, str]],
    case: str,
    measurements: Measurements,
    verdicts: Sequence[Verdict],
) -> None:
    report.show_machine(console, about)
    for name, versions in packages.items():
        told = ", ".join(f"{package} {version}" for package, version in versions.items())
        console.print(f"{name}: {told}", highlight=False)
    console.print(table(results, case))
    console.print(report.held(verdicts))
    report.show_notes(console, measurements)


def _content(
    arguments: argparse.Namespace,
    about: Mapping[str, Any],
    results: Sequence[Result],
    packages: Mapping[str, Mapping[str, str]],
    measurements: Measurements,
    seconds: float,
) -> dict[str, Any]:
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": arguments.quick,
        "rows": arguments.rows,
        "bundle": arguments.bundle.resolve().name,
        "seed": payloads.SEED,
        "connections": CONNECTIONS,
        "seconds": round(seconds, 1),
        "machine": about,
        "versions": packages,
        "metrics": measurements.metrics,
        "notes": measurements.notes,
        "candidates": {result.name: result.as_json() for result in results},
    }


if __name__ == "__main__":
    sys.exit(main())
