"""What a worker costs: memory, start, and what a batch takes from those who ask beside it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

from loadtests.benchmarks import services
from loadtests.benchmarks.measurements import Measurements
from loadtests.benchmarks.plan import Bench
from loadtests.benchmarks.processes import CLIENT_CORE, Worker, worker
from loadtests.benchmarks.rounds import interleave, percentile, ratio
from loadtests.benchmarks.services import Server
from loadtests.payloads import Body, batch_bodies, encode

BATCH: Final = 1_000
_PROBES_PER_S: Final = 200.0
_STARTS: Final = 3
_BATCHES: Final = 4  # different ones in rotation
_PROC: Final = Path("/proc")


def run(bench: Bench, out: Measurements) -> None:
    """Memory and batches by corpus, start and shared pages once."""
    log = bench.log("cost")
    starts = []
    for _ in range(_STARTS):
        with services.ours(bench.bundle, log) as server:
            starts.append(server.ready_s)
    out.add("cost.ready_s", median(starts))
    with services.ours(bench.bundle, log, workers=2) as server:
        _shared(bench, server, out)
    for corpus, bodies in bench.corpora.named().items():
        with services.ours(bench.bundle, log) as server:
            _batches(bench, out, corpus, bodies, server)
            out.add("cost.rss_mb", server.rss_mb(), corpus)


def _batches(bench: Bench, out: Measurements, corpus: str, bodies: list[Body], server: Server) -> None:
    whole = batch_bodies([encode(body) for body in bodies[: BATCH * _BATCHES]], BATCH)
    _check(server, whole[0])
    singles, batches = bench.file(f"cost-{corpus}-singles", list(bodies)), bench.file(f"cost-{corpus}-batches", whole)
    port, log, seconds = str(server.port), bench.log(f"cost-{corpus}"), bench.pace.seconds
    with (
        worker("client", port, "/predict/batch", str(batches), core=CLIENT_CORE, log=log) as batching,
        worker("client", port, "/predict", str(singles), core=CLIENT_CORE, log=log) as probing,
    ):
        candidates: dict[str, Any] = {
            "single": partial(_rows_of_singles, bench, server, singles),
            "batch": partial(_rows_of_batches, batching, seconds),
            "alone": partial(probing.ask, "paced", rate=_PROBES_PER_S, seconds=seconds),
            "beside": partial(_beside, batching, probing, seconds),
        }
        interleave(candidates, bench.pace.warm)
        found = interleave(candidates, bench.pace.loads)
    out.add("cost.batch_to_single", ratio(found["batch"], found["single"]), corpus)
    out.add("cost.batch_rows_per_s", median(found["batch"]), corpus)
    out.add("cost.single_rows_per_s", median(found["single"]), corpus)
    tails = {name: median(_tail(r) for r in found[name]) for name in ("alone", "beside")}
    out.add("cost.probe_alone_p99_ms", tails["alone"], corpus)
    out.add("cost.probe_beside_p99_ms", tails["beside"], corpus)
    out.add("cost.batch_delay_p99_ms", tails["beside"] - tails["alone"], corpus)
    out.keep("cost", corpus, found)


def _check(server: Server, batch: bytes) -> None:
    """Every request of a batch must be a good one."""
    answers = server.post("/predict/batch", batch)["responses"]
    bad = sum("predictions" not in answer for answer in answers)
    if len(answers) != BATCH or bad:
        raise RuntimeError(f"/predict/batch: {len(answers)} answers to {BATCH} requests, {bad} of them problems")


def _rows_of_singles(bench: Bench, server: Server, bodies: Path) -> float:
    return bench.load_ours(server, bodies).rate


def _rows_of_batches(batching: Worker, seconds: float) -> float:
    found = batching.ask("closed", connections=1, seconds=seconds)
    return float(BATCH * (found["answers"] - found["refused"]) / found["seconds"])


def _beside(batching: Worker, probing: Worker, seconds: float) -> dict[str, Any]:
    """The probe while one caller sends batch after batch; the batches start first and end last."""
    batching.send("closed", connections=1, seconds=seconds + 0.5)
    found: dict[str, Any] = probing.ask("paced", rate=_PROBES_PER_S, seconds=seconds)
    batching.receive()
    return found


def _tail(found: dict[str, Any]) -> float:
    """p99 of a round, so that one second of a neighbour's noise moves one round only."""
    if found["refused"] or found["broken"]:
        raise RuntimeError("cost: a probe was not answered 200")
    return percentile(found["latencies_ms"], 0.99)


def _shared(bench: Bench, server: Server, out: Measurements) -> None:
    """Resident and proportional size of the bundle's files in each of two workers."""
    if not (_PROC / "self/smaps").exists():
        out.note("cost: this system does not tell whether pages are shared")
        return
    bodies = bench.file("cost-warm", list(bench.corpora.natural))
    bench.load(server, bodies)
    sizes = [_mapped(pid, str(bench.bundle)) for pid in _descendants(server.process.pid)]
    sizes = [(rss, pss) for rss, pss in sizes if rss]
    if sizes:
        out.add("cost.bundle_pss_to_rss", sum(pss for _, pss in sizes) / sum(rss for rss, _ in sizes))
        out.add("cost.bundle_rss_kb", median(rss for rss, _ in sizes))
        out.keep("cost", "bundle_pages", sizes)


def _descendants(pid: int) -> Iterator[int]:
    yield pid
    children = _PROC / str(pid) / "task" / str(pid) / "children"
    for child in children.read_text().split():
        yield from _descendants(int(child))


def _mapped(pid: int, place: str) -> tuple[int, int]:
    """(Rss, Pss) in kB of what a process has mapped of the files below a directory."""
    rss = pss = 0
    inside = False
    for line in (_PROC / str(pid) / "smaps").read_text().splitlines():
        name, _, rest = line.partition(" ")
        if not name.endswith(":"):
            inside = place in line
        elif inside and name == "Rss:":
            rss += int(rest.split()[0])
        elif inside and name == "Pss:":
            pss += int(rest.split()[0])
    return rss, pss
