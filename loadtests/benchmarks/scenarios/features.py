"""Features in bulk, as training builds them: rows a second of one core from Arrow's buffers to X, and parquet apart.

What counts is processor time, so that a neighbour on the machine does not slow it. Rows come in partitions of the size
that a million rows have in the 144 hours of `pltv generate`: what a column costs, however few its rows, is in it.
"""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import Any, Final

from loadtests.benchmarks.measurements import Measurements
from loadtests.benchmarks.plan import Bench
from loadtests.benchmarks.processes import SERVER_CORE, worker
from loadtests.benchmarks.rounds import interleave
from loadtests.payloads import SEED
from training.data.synthetic import generate

_PARTITION_ROWS: Final = 7_000
_PARTITIONS: Final = 7
_MICRO: Final = 1e6


def run(bench: Bench, out: Measurements) -> None:
    """Generate rows, and measure them in a process of its own."""
    hours = max(2, min(_PARTITIONS, bench.pace.batch_rows // 1_000))
    data = bench.work / "features-rows"
    generate(hours * _PARTITION_ROWS, data, seed=SEED, hours=hours)
    log, arguments = bench.log("features"), (str(bench.bundle), str(data))
    with worker("candidates.features", *arguments, core=SERVER_CORE, log=log) as bulk:
        candidates: dict[str, Any] = {name: partial(bulk.ask, name) for name in ("features", "parquet")}
        interleave(candidates, 1)  # warm-up
        found = interleave(candidates, bench.pace.rounds)
    each = [one["columns"] + one["matrix"] for one in found["features"]]
    out.add("features.rows_per_s", _MICRO / median(each))
    for step in ("columns", "matrix"):
        out.add(f"features.{step}_us", median(one[step] for one in found["features"]))
    out.add("features.parquet_us", median(found["parquet"]))
    out.keep("features", "rows", found)
