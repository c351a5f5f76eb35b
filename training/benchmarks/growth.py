"""How `pltv train` grows with its rows: data sets enter; seconds, microseconds a row and peak memory a stage leave.

    python -m training.benchmarks.growth --config config/smadex.yaml --data data/d100k data/d1m --out growth.json

Each data set is measured in a process of its own, up to the matrix that the learners train on: rows read, features
written, features binned. The peak is that of the process (Linux counts KB, macOS bytes), so that a stage's is never
below the one before it. Time is the processor's, of all threads, beside the clock's.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from app.errors import InputError, PltvError
from training.commands.options import writable
from training.config import TrainingConfig, load
from training.data.dataset import Dataset
from training.data.sampling import spread
from training.data.splits import temporal_split
from training.learning.boosting import Matrix, Runtime
from training.scale.finished import Finished
from training.scale.loading import Loader
from training.scale.workers import LocalWorkers

T = TypeVar("T")
_MB = 1e6 if sys.platform == "darwin" else 1e3
"""Units of the system's peak that make a megabyte."""


@dataclass(frozen=True)
class Stage:
    """A stage's cost: rows it went through, seconds of processor and clock, the process's peak in MB at its end."""

    name: str
    rows: int
    cpu_s: float
    clock_s: float
    peak_mb: float


def measure(declaration_path: Path, data: Path, sampling: dict[str, float | int | None]) -> list[Stage]:
    """Run the stages once, in this process, and leave nothing on disk.

    Parameters
    ----------
    declaration_path : Path
        YAML with a section `training:`.
    data : Path
    sampling : dict
        As of `TrainingConfig.sampled`.
    """
    declaration, config = load(declaration_path)
    config = config.sampled(**sampling)
    dataset = Dataset(data, declaration, config.weighting)
    parts = temporal_split(spread(dataset.partitions, config.sampling.max_partitions), config.split.options())
    loader = Loader(dataset, config, LocalWorkers(config.threads), Finished.temporary())
    stages: list[Stage] = [Stage("start", 0, 0.0, 0.0, _peak_mb())]

    def timed(name: str, work: Callable[[], T], rows: Callable[[T], int]) -> T:
        cpu, clock = time.process_time(), time.perf_counter()
        found = work()
        spent = time.process_time() - cpu, time.perf_counter() - clock
        stages.append(Stage(name, rows(found), *spent, _peak_mb()))
        return found

    rows = timed("read", lambda: loader.training(parts.train, None, _ignore), lambda found: len(found.labels))
    held = {"calibration": parts.calibration, "validation": parts.validation}
    samples = timed(
        "held out",
        lambda: [loader.held_out(name, part, None, _ignore) for name, part in held.items()],
        lambda found: sum(map(len, found)),
    )
    prepared = timed("features", lambda: loader.features(rows, None, _ignore), lambda found: len(found.labels))
    matrix = timed("bins", lambda: _binned(prepared.X, config), lambda _: len(prepared.labels))
    del samples, matrix  # in memory until here, as in a training
    return stages


def table(found: dict[str, list[dict[str, Any]]]) -> str:
    """Lines for people: a data set's stages, then what the peak grows by, in bytes a training row."""
    lines = [f"{'data':24} {'stage':10} {'rows':>10} {'cpu s':>8} {'µs/row':>8} {'clock s':>8} {'peak MB':>8}"]
    for data, stages in found.items():
        for s in stages:
            each = f"{1e6 * s['cpu_s'] / s['rows']:8.1f}" if s["rows"] else " " * 8
            cells = f"{s['rows']:10,} {s['cpu_s']:8.1f} {each} {s['clock_s']:8.1f} {s['peak_mb']:8.0f}"
            lines.append(f"{Path(data).name:24} {s['name']:10} {cells}")
    lines += [f"{name}: peak grows by {slope:,.0f} bytes a training row" for name, slope in slopes(found).items()]
    return "\n".join(lines)


def slopes(found: dict[str, list[dict[str, Any]]]) -> dict[str, float]:
    """Bytes of peak a row of the training part, by stage: least squares over the data sets, where there are two."""
    if len(found) < 2:
        return {}
    runs = [{s["name"]: s for s in stages} for stages in found.values()]
    rows = np.array([run["features"]["rows"] for run in runs], dtype=np.float64)
    peaks = {name: np.array([run[name]["peak_mb"] for run in runs]) * 1e6 for name in runs[0] if name != "start"}
    return {name: float(np.polyfit(rows, peak, 1)[0]) for name, peak in peaks.items()}


def _binned(X: Any, config: TrainingConfig) -> Matrix:
    return Matrix(X, Runtime(config.seed, config.threads))


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MB


def _ignore(rows: int) -> None:
    """Nobody watches."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.benchmarks.growth", description=__doc__.split("\n")[0])
    parser.add_argument("--config", type=Path, required=True, help="declaration with a section `training:`")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders of hourly partitions")
    parser.add_argument("--train-frac", type=float, help="share of the training rows")
    parser.add_argument("--max-partitions", type=int, help="hours to read at most")
    parser.add_argument("--heldout-rows", type=int, help="rows of each held-out part at most")
    parser.add_argument("--out", type=Path, help="JSON file; nothing is written unless given")
    parser.add_argument("--here", action="store_true", help="measure one data set in this process, and print JSON")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Measure every data set, and show them; a mistake is one line and exit code 2."""
    arguments = _parser().parse_args(argv)
    try:
        if arguments.here:
            sampling = {name: getattr(arguments, name) for name in ("train_frac", "max_partitions", "heldout_rows")}
            print(json.dumps([asdict(stage) for stage in measure(arguments.config, arguments.data[0], sampling)]))
            return 0
        if arguments.out is not None:  # before anything long begins
            writable(arguments.out.parent)
            if arguments.out.is_dir():
                raise InputError("expected a file to write to, received a folder", str(arguments.out))
    except PltvError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    found: dict[str, list[dict[str, Any]]] = {}
    for data in arguments.data:
        done = subprocess.run(_command(arguments, data), stdout=subprocess.PIPE, check=False)
        if done.returncode:
            return done.returncode
        found[str(data)] = json.loads(done.stdout)
    print(table(found))
    if arguments.out is not None:
        arguments.out.write_text(
            json.dumps({"data": found, "slopes": slopes(found)}, indent=1) + "\n", encoding="utf-8"
        )
    return 0


def _command(arguments: argparse.Namespace, data: Path) -> list[str]:
    """The same for one data set, in a process of its own."""
    command = [sys.executable, "-m", __spec__.name, "--here", "--config", str(arguments.config), "--data", str(data)]
    for name in ("train_frac", "max_partitions", "heldout_rows"):
        if (value := getattr(arguments, name)) is not None:
            command += [f"--{name.replace('_', '-')}", str(value)]
    return command


if __name__ == "__main__":
    sys.exit(main())
