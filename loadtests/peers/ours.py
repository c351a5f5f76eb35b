"""Our service among the peers: bid requests go in, and what must come out is computed by LightGBM."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from app.inference.ensemble import blend, calibrate, meta_features
from app.inference.ordering import project
from app.inference.predictor import Predictor
from app.inference.specification import EnsembleSpec
from app.inference.stage import extended
from loadtests.benchmarks import services
from loadtests.benchmarks.plan import Bench
from loadtests.benchmarks.scenarios.models import columns
from loadtests.payloads import Body, encode
from loadtests.peers.answers import Question
from loadtests.peers.contest import CHECKED, Candidate, resting
from loadtests.peers.results import OURS
from loadtests.peers.rows import Floats, Job, scores_of
from loadtests.peers.wire import ECHO, Wire
from training.publishing.compilation import load_models

ECHO_TITLE: Final = "bare uvicorn echo (reference)"


def _numbers(answer: Any) -> list[float]:
    """p_buyer, ltv by horizon, and E[log1p y] turned back, of an answer with one campaign."""
    (prediction,) = answer["predictions"]
    log_mean = next(value for key, value in prediction.items() if key.startswith("log_mean"))
    return [prediction["p_buyer"], *prediction["ltv"].values(), log_mean]


ANSWER: Final = Wire(lambda body: body, _numbers)


def expected(bundle: Path, bodies: Sequence[Body]) -> Floats:
    """The numbers of each body's answer, the trees walked by LightGBM.

    Parameters
    ----------
    bundle : Path
    bodies : sequence of dict
        With one campaign each and their history inline.

    Returns
    -------
    ndarray of shape (n_bodies, 1 + n_horizons + 1), float64
        Probability; US dollars.
    """
    predictor = Predictor.load(bundle, golden=False)
    spec, rows = predictor.ensemble.spec, columns(predictor, bodies)
    X = predictor.plan.transform(rows)
    predictor.close()
    raw = _raw(bundle, spec, X)
    raw_meta = None
    if spec.meta is not None:
        raw_meta = scores_of(load_models(bundle, spec.meta), meta_features(raw, spec), raw=True)
    mix = calibrate(blend(raw, raw_meta, spec), rows.row_state, spec.calibration)
    ltv, _ = project(np.ascontiguousarray(mix.ltv.T), spec.weights)
    return np.column_stack([mix.p_buyer, ltv, np.expm1(mix.log_mean)])


def _raw(bundle: Path, spec: EnsembleSpec, X: Floats) -> Floats:
    """Raw scores of the base stage, each library fed with what those before it answered."""
    parts: list[Floats] = []
    for library in spec.base:
        boosters = load_models(bundle, library)
        columns = [spec.columns[name] for name in library.inputs]
        own = extended(X, np.column_stack(parts)[:, columns]) if columns else X
        parts.append(scores_of(boosters, own, raw=True))
    return np.column_stack([*parts, *(one.score(X) for one in spec.linear)])


def title(corpus: str) -> str:
    """The same, for people."""
    return f"pltv: the whole job, {corpus} bodies"


@contextlib.contextmanager
def service(bench: Bench, corpus: str, bodies: list[Body]) -> Iterator[Candidate]:
    """Our service with its defaults, ready, checked, asleep."""
    asked = bodies[:CHECKED]
    right = expected(bench.bundle, asked)
    questions = [Question(encode(body), numbers) for body, numbers in zip(asked, right.tolist(), strict=True)]
    with services.ours(bench.bundle, bench.log(OURS[corpus])) as server:
        candidate = Candidate(
            OURS[corpus], title(corpus), "", server, "/predict", bench.file(OURS[corpus], list(bodies)), questions,
            ANSWER, whole=True,
        )  # fmt: skip
        with resting(candidate):
            yield candidate


@contextlib.contextmanager
def echo(bench: Bench, job: Job) -> Iterator[Candidate]:
    """uvicorn alone: the row comes back."""
    encoded = [ECHO.encode(row) for row in job.X.tolist()]
    questions = [Question(*pair) for pair in zip(encoded[:CHECKED], job.X[:CHECKED].tolist(), strict=True)]
    with services.peer("echo", bench.bundle, bench.log("echo")) as server:
        rows = bench.file("echo-rows", encoded)
        candidate = Candidate("echo", ECHO_TITLE, "", server, "/predict", rows, questions, ECHO)
        with resting(candidate):
            yield candidate
