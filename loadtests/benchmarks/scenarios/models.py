"""The compiled ensemble beside LightGBM on the same boosters, each in a process of its own, and equal bits."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.api.openrtb import Reader
from app.api.predict import UNKNOWN, raw_request
from app.api.privacy import Gate
from app.features.columns import Columns
from app.features.parsing import RawRequest, assemble
from app.features.spec import HistoryState
from app.inference.predictor import Predictor
from app.serving.cache import Found
from loadtests.benchmarks.measurements import Measurements
from loadtests.benchmarks.plan import Bench
from loadtests.benchmarks.processes import SERVER_CORE, worker
from loadtests.benchmarks.rounds import interleave, ratio
from loadtests.payloads import Body, encode

CANDIDATES: Final = ("compiled", "single_row_fast", "booster_predict")
_PURPOSES: Final = frozenset({1, 3, 4})
_AT_ONCE: Final = 500  # requests in one assembly


def run(bench: Bench, out: Measurements) -> None:
    """Measure both corpora on one matrix each, saved for all three."""
    predictor = Predictor.load(bench.bundle, golden=False)
    for corpus, bodies in bench.corpora.named().items():
        path = bench.work / f"X-{corpus}.npy"
        np.save(path, matrix(predictor, bodies, bench.pace.batch_rows))
        _run(bench, out, corpus, path)
    n_models = sum(len(library.outputs) for library in predictor.ensemble.spec.base)
    out.note(f"the ensemble: {n_models} models of {len(predictor.plan.names)} features, {bench.bundle.name}")


def matrix(predictor: Predictor, bodies: list[Body], rows: int) -> NDArray[np.float64]:
    """(rows, n_features) of the bodies in turn, from the first again after the last."""
    bodies = bodies[:rows]
    groups = [bodies[start : start + _AT_ONCE] for start in range(0, len(bodies), _AT_ONCE)]
    X = np.concatenate([predictor.plan.transform(columns(predictor, group)) for group in groups])
    return np.resize(X, (rows, X.shape[1]))


def columns(predictor: Predictor, bodies: Sequence[Body]) -> Columns:
    """What the service reads of bodies, a row a campaign."""
    reader = Reader(predictor.layout, Gate(None, _PURPOSES))
    return assemble(predictor.layout, [_raw(reader, body) for body in bodies])


def _raw(reader: Reader, body: Body) -> RawRequest:
    call = reader.read(encode(body), body["ext"]["ts"])
    history = call.history
    if history is None:
        return raw_request(call, UNKNOWN)
    state = HistoryState.NEW if history.empty else HistoryState.PRESENT
    return raw_request(call, Found(history, state, "inline", None))


def _run(bench: Bench, out: Measurements, corpus: str, path: Path) -> None:
    log, arguments = bench.log(f"models-{corpus}"), (str(bench.bundle), str(path))
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(worker("candidates.models", name, *arguments, core=SERVER_CORE, log=log))
            for name in CANDIDATES
        }
        rows: dict[str, Any] = {name: partial(w.ask, "row", n=bench.pace.calls) for name, w in workers.items()}
        batches: dict[str, Any] = {name: partial(workers[name].ask, "batch") for name in CANDIDATES[::2]}
        interleave(rows, 1)  # warm-up
        found = interleave(rows, bench.pace.rounds)
        many = interleave(batches, max(3, bench.pace.rounds // 3))
        digests = {name: w.ask("digest") for name, w in workers.items()}
    times = {name: [r["p50"] for r in rounds] for name, rounds in found.items()}
    out.add("models.to_single_row_fast", ratio(times["compiled"], times["single_row_fast"]), corpus)
    out.add("models.to_booster_predict", ratio(times["compiled"], times["booster_predict"]), corpus)
    out.add("models.batch_to_booster_predict", ratio(many["compiled"], many["booster_predict"]), corpus)
    out.add("models.bit_equal", float(len(set(digests.values())) == 1), corpus)
    for name, rounds in found.items():
        out.add(f"models.{name}_p50_us", median(times[name]), corpus)
        out.add(f"models.{name}_p99_us", median(r["p99"] for r in rounds), corpus)
    for name, rates in many.items():
        out.add(f"models.{name}_rows_per_s", median(rates), corpus)
    out.keep("models", corpus, {"row": found, "batch": many, "digests": digests})
