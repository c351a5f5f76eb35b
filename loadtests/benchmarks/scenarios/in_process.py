"""Bytes to bytes: one campaign alone, sixteen, and sixty-four requests joined."""

from __future__ import annotations

import random
from functools import partial
from statistics import median
from typing import Any, Final

from loadtests.benchmarks.measurements import Measurements
from loadtests.benchmarks.plan import Bench
from loadtests.benchmarks.processes import SERVER_CORE, Worker, worker
from loadtests.benchmarks.rounds import interleave, ratio, spread
from loadtests.payloads import SEED, Body, with_campaigns

JOINED: Final = 64
CAMPAIGNS: Final = 16
_MOST: Final = 2_000  # bodies that rotate
_CALM: Final = 1.15


def run(bench: Bench, out: Measurements) -> None:
    """Measure both corpora, each in a process of its own."""
    for corpus, bodies in bench.corpora.named().items():
        _run(bench, out, corpus, bodies[:_MOST])


def _run(bench: Bench, out: Measurements, corpus: str, bodies: list[Body]) -> None:
    one = bench.file(f"in-process-{corpus}-one", bodies)
    many = bench.file(f"in-process-{corpus}-many", with_campaigns(bodies, CAMPAIGNS, random.Random(SEED)))
    log, arguments = bench.log(f"in-process-{corpus}"), (str(bench.bundle), str(one), str(many))
    with worker("candidates.in_process", *arguments, core=SERVER_CORE, log=log) as calls:
        candidates = _candidates(calls, bench.pace.calls)
        interleave(candidates, 1)  # warm-up
        found = interleave(candidates, bench.pace.rounds)
    singles, sixteen = found["one"], found["sixteen"]
    for share in ("p50", "p95", "p99"):
        out.add(f"in_process.{share}_us", median(r[share] for r in singles), corpus)
    out.add("in_process.sixteen_to_one", ratio([r["p50"] for r in sixteen], [r["p50"] for r in singles]), corpus)
    out.add("in_process.joined_us", median(r["each"] for r in found["joined"]), corpus)
    for stage in found["stages"][0]:
        out.add(f"in_process.stage_{stage}_us", median(r[stage] for r in found["stages"]), corpus)
    moved = spread([r["p50"] for r in singles])
    if moved > _CALM:
        out.note(f"in_process, {corpus}: rounds differ by {moved:.2f} ×: other work ran, measure again")
    out.keep("in_process", corpus, found)


def _candidates(calls: Worker, n: int) -> dict[str, Any]:
    return {
        "one": partial(calls.ask, "single", which="one", n=n),
        "sixteen": partial(calls.ask, "single", which="many", n=n // 2),
        "joined": partial(calls.ask, "joined", n=max(1, n // JOINED), together=JOINED),
        "stages": partial(calls.ask, "stages", n=n),
    }
