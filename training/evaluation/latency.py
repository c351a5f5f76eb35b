"""What a bundle costs online: bundles and rows → microseconds a row, alone and one after the other, side by side.

Every round asks every bundle for the same rows, one row a call and never the same row twice in a row, so that caches
and branch predictors see what they see in service; bundles take turns within a round, so that a machine that slows
down slows all of them. Costs are compared round by round.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.features.columns import Columns
from app.inference.predictor import Predictor
from training.data.masking import take
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


def measure(bundles: Mapping[str, tuple[Predictor, Columns]], *, rounds: int, seed: int) -> dict[str, Cost]:
    """Time every bundle on the same rows.

    Parameters
    ----------
    bundles : mapping of name to (predictor, columns)
        The columns hold the same rows for all, each by its own declaration; `ROWS` of them are asked for.
    rounds : int
        The first one more is not counted.
    seed : int
        Draws the rows.

    Returns
    -------
    dict of str to Cost
    """
    n = min(len(columns.now) for _, columns in bundles.values())
    chosen = np.random.default_rng(seed).permutation(n)[:ROWS]
    calls = {name: _calls(predictor, columns, chosen) for name, (predictor, columns) in bundles.items()}
    names, taken = list(calls), {name: np.empty((rounds, 2)) for name in calls}
    for turn in range(-1, rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            both = [_microseconds(one) for one in calls[name]]
            if turn >= 0:
                taken[name][turn] = both
    return {name: Cost(times[:, 0], times[:, 1]) for name, times in taken.items()}


def _calls(
    predictor: Predictor, columns: Columns, chosen: NDArray[np.int64]
) -> tuple[list[Callable[[], object]], list[Callable[[], object]]]:
    """A call a row: features alone, and models alone on the row's ready features."""
    plan, ensemble = predictor.plan, predictor.ensemble
    single = [take(columns, predictor.layout, np.array([i])) for i in chosen.tolist()]
    X = [plan.transform(one) for one in single]

    def features(one: Columns) -> Callable[[], object]:
        return lambda: plan.transform(one)

    def models(row: Floats, one: Columns) -> Callable[[], object]:
        return lambda: ensemble.predict(row, one.row_state)

    return [features(one) for one in single], [models(row, one) for row, one in zip(X, single, strict=True)]


def _microseconds(calls: list[Callable[[], object]]) -> float:
    started = time.perf_counter_ns()
    for call in calls:
        call()
    return (time.perf_counter_ns() - started) * _NANOSECONDS / len(calls)


def _median(times: Floats, seed: int) -> Estimate:
    """The rounds' median, and medians of rounds drawn with replacement."""
    drawn = np.random.default_rng(seed).integers(0, len(times), size=(500, len(times)))
    return Estimate(float(np.median(times)), np.median(times[drawn], axis=1))
