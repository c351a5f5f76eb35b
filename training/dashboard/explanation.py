"""How one price comes about: a row's X enters; the steps from trees to dollars, and TreeSHAP contributions, leave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import lightgbm as lgb
import numpy as np

from app.inference.ensemble import Ensemble
from app.inference.forms import link
from training.dashboard.scoring import Answered
from training.evaluation.contributions import Contributions, explain
from training.learning.boosting import Floats

START, OTHERS, SCORE = "expectation", "all other features", "raw score"


@dataclass(frozen=True)
class Step:
    """One step of a price: what was computed, P(buy) as of then, and US dollars of each horizon."""

    what: str
    p_buyer: float
    ltv: tuple[float, ...]


@dataclass(frozen=True)
class Part:
    """One bar of a waterfall.

    Parameters
    ----------
    label : str
        The feature, or what the bar sums up.
    value : float or None
        The feature's value; None where it is missing, or the bar is no feature.
    start, end : float
        Raw score before and after; of a total both are the score itself.
    total : bool
        Whether it is the expectation or the score, not a contribution.
    """

    label: str
    value: float | None
    start: float
    end: float
    total: bool = False

    @property
    def phi(self) -> float:
        """The contribution; 0 of a total."""
        return self.end - self.start


def steps(ensemble: Ensemble, X: Floats, state: int) -> list[Step]:
    """The way of one row from the base models' answers to its price.

    Parameters
    ----------
    ensemble : Ensemble
    X : ndarray of shape (1, n_features), float64, C-contiguous
    state : int
        History state.

    Returns
    -------
    list of Step
        Given a purchase; times its probability; after the meta-learner, where there is one; calibrated and ordered.
        The last is what the service answers.
    """
    linked = link(ensemble.base.predict_raw(X), ensemble.spec)
    p = float(linked.p[0])
    if ensemble.spec.strategy == "two_stage":
        found = [Step("revenue given a purchase", p, _horizons(linked.conditional))]
        found.append(Step("times P(buy)", p, _horizons(linked.expected)))
    else:
        found = [Step("revenue, whoever buys", p, _horizons(linked.expected))]
    mixed = ensemble.uncalibrated(X)
    if ensemble.meta is not None:
        found.append(Step("corrected by the meta-learner", float(mixed.p_buyer[0]), _horizons(mixed.ltv)))
    final = ensemble.predict(X, np.array([state], dtype=np.int64))
    return [*found, Step("calibrated and ordered", float(final.p_buyer[0]), tuple(final.ltv[0].tolist()))]


def contributions(answered: Answered, boosters: Mapping[str, lgb.Booster], row: int) -> list[Contributions]:
    """TreeSHAP of one row for each model, the gate first, then by name."""
    names = answered.bundle.predictor.plan.names
    found = explain(boosters, answered.X[row : row + 1], names, seed=0, num_threads=1)
    return sorted(found, key=lambda one: (one.model != "gate", len(one.model), one.model))


def waterfall(one: Contributions, count: int) -> list[Part]:
    """From the model's expectation to the row's raw score, the largest contributions first.

    Parameters
    ----------
    one : Contributions of a single row
    count : int
        Features that are named; the others are one bar.
    """
    top = one.top(count)
    parts, at = [Part(START, None, one.expected, one.expected, True)], one.expected
    for i in top:
        parts.append(Part(one.names[i], _known(one.X[0, i]), at, at + float(one.phi[0, i])))
        at = parts[-1].end
    score = one.expected + float(one.phi[0].sum())
    if np.count_nonzero(one.phi[0]) > len(top):
        parts.append(Part(OTHERS, None, at, score))
    return [*parts, Part(SCORE, None, score, score, True)]


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _horizons(ltv: Floats) -> tuple[float, ...]:
    return tuple(ltv[:, 0].tolist())
