"""What a bundle costs online: bundles and rows → microseconds a row, alone and one after the other, side by side.

Every round asks every bundle for the same rows, one row a call and never the same row twice in a row, so that caches
and branch predictors see what they see in service; bundles take turns within a round, so that a machine that slows
down slows all of them. Costs are compared round by round.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from app.features.parsing import RawRequest, request_from_json
from app.inference.predictor import Predictor
from training.data.dataset import Dataset, Partition
from training.data.records import raw_request, read_records
from training.evaluation.bootstrap import Estimate
from training.evaluation.ranking import Floats

ROWS = 256
_NANOSECONDS = 1e-3


@dataclass(frozen=True)
class Cost:
    """Microseconds a row in each round, shape (n_rounds,): of the features, and of the models with all that follows."""

    features: Floats
    models: Floats

    def to_json(self, default: Cost, seed: int) -> dict[str, Any]:
        """Medians over the rounds, and what comes on top of the default's, each with its interval."""
        found = {
            "features_us": _median(self.features, seed),
            "models_us": _median(self.models, seed),
            "total_us": _median(self.features + self.models, seed),
            "added_us": _median(self.features + self.models - default.features - default.models, seed),
        }
        return {name: one.to_json() for name, one in found.items()}


def requests_of(predictor: Predictor, dataset: Dataset, partitions: Sequence[Partition]) -> list[RawRequest]:
    """Rows of all the partitions, about `ROWS` in all, as requests that the service has parsed."""
    each, declaration = -(-ROWS // len(partitions)), dataset.declaration
    return [
        request_from_json(predictor.layout, raw_request(declaration, record, partition.now))
        for partition in partitions
        for record in islice(read_records(dataset, partition), each)
    ]


def measure(bundles: Mapping[str, tuple[Predictor, Sequence[RawRequest]]], *, rounds: int) -> dict[str, Cost]:
    """Time every bundle on the same rows.

    Parameters
    ----------
    bundles : mapping of name to (predictor, requests)
        The requests are the same rows for all, each by its own declaration.
    rounds : int
        The first one more is not counted.

    Returns
    -------
    dict of str to Cost
    """
    calls = {name: _calls(predictor, requests) for name, (predictor, requests) in bundles.items()}
    names, taken = list(calls), {name: np.empty((rounds, 2)) for name in calls}
    for turn in range(-1, rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            both = [_microseconds(one) for one in calls[name]]
            if turn >= 0:
                taken[name][turn] = both
    return {name: Cost(times[:, 0], times[:, 1]) for name, times in taken.items()}


def _calls(
    predictor: Predictor, requests: Sequence[RawRequest]
) -> tuple[list[Callable[[], object]], list[Callable[[], object]]]:
    """A call a row, as the service makes it: features alone, and models alone on the row's ready features."""
    plan, ensemble = predictor.plan, predictor.ensemble

    def features(request: RawRequest) -> Callable[[], object]:
        return lambda: plan.transform_requests([request])

    def models(request: RawRequest) -> Callable[[], object]:
        X, state, _ = plan.transform_requests([request])
        return lambda: ensemble.predict(X, state)

    return [features(one) for one in requests], [models(one) for one in requests]


def _microseconds(calls: list[Callable[[], object]]) -> float:
    started = time.perf_counter_ns()
    for call in calls:
        call()
    return (time.perf_counter_ns() - started) * _NANOSECONDS / len(calls)


def _median(times: Floats, seed: int) -> Estimate:
    """The rounds' median, and medians of rounds drawn with replacement."""
    drawn = np.random.default_rng(seed).integers(0, len(times), size=(500, len(times)))
    return Estimate(float(np.median(times)), np.median(times[drawn], axis=1))
