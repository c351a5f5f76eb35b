"""Requests a second of one worker on one core, beside an endpoint that only validates and one that only echoes."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

from loadtests.benchmarks import services
from loadtests.benchmarks.generator import Load
from loadtests.benchmarks.measurements import Measurements
from loadtests.benchmarks.plan import Bench
from loadtests.benchmarks.rounds import interleave, ratio, spread
from loadtests.benchmarks.services import Server
from loadtests.payloads import encode

_CALM: Final = 1.2


def run(bench: Bench, out: Measurements) -> None:
    """Start all three, load one at a time."""
    log = bench.log("http")
    with ExitStack() as stack:
        ours = stack.enter_context(services.ours(bench.bundle, log))
        peers = {name: stack.enter_context(services.peer(name, bench.bundle, log)) for name in ("fastapi", "echo")}
        _check(ours, peers, encode(bench.corpora.natural[0]))
        for corpus, bodies in bench.corpora.named().items():
            _run(bench, out, corpus, bench.file(f"http-{corpus}", list(bodies)), ours, peers)
    out.note(f"load on 127.0.0.1 by {bench.generator.name}, closed loop")


def _check(ours: Server, peers: dict[str, Server], body: bytes) -> None:
    """All three answer, and the two that validate do."""
    for name, server in {"ours": ours, **peers}.items():
        server.post("/predict", body)
        if name != "echo" and not server.refuses(body.replace(b'"imp"', b'"no"')):
            raise RuntimeError(f"{name} does not validate")


def _run(bench: Bench, out: Measurements, corpus: str, bodies: Path, ours: Server, peers: dict[str, Server]) -> None:
    candidates = {
        "ours": partial(bench.load_ours, ours, bodies),
        **{name: partial(bench.load, server, bodies) for name, server in peers.items()},
    }
    interleave(candidates, bench.pace.warm)
    found = interleave(candidates, bench.pace.loads)
    rates = {name: [load.rate for load in loads] for name, loads in found.items()}
    out.add("http.to_fastapi", ratio(rates["ours"], rates["fastapi"]), corpus)
    out.add("http.to_echo", ratio(rates["ours"], rates["echo"]), corpus)
    for name, loads in found.items():
        _tell(out, corpus, name, loads)
    moved = spread(rates["echo"])
    if moved > _CALM:
        out.note(f"http, {corpus}: rounds of echo differ by {moved:.2f} ×: other work ran, measure again")
    own = found["ours"]
    out.add("http.p99_to_p50", median(load.p99_ms / load.p50_ms for load in own), corpus)
    out.keep("http", corpus, {name: [load.as_json() for load in loads] for name, loads in found.items()})


def _tell(out: Measurements, corpus: str, name: str, loads: list[Load]) -> None:
    out.add(f"http.{name}_requests_per_s", median(load.rate for load in loads), corpus)
    for share in ("p50_ms", "p95_ms", "p99_ms"):
        out.add(f"http.{name}_{share}", median(getattr(load, share) for load in loads), corpus)
    joined = [load.rows_per_flush for load in loads if load.rows_per_flush is not None]
    if joined:
        out.add(f"http.{name}_rows_per_flush", median(joined), corpus)
    lost = sum(load.lost for load in loads)
    if lost:
        out.note(f"http, {corpus}, {name}: {lost} requests got no good answer and count nowhere")
