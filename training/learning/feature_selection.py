r"""Which features earn their microseconds: X and labels of training rows enter, the names that the plan keeps leave.

Four steps, each looking at what the one before left: variance, importance, correlation (of two alike features the more
important one stays), and recursive elimination. Importance and elimination ask *probes*, small boosters of the gate and
of payers' log revenue. Each fold is judged by probes that did not see it, and all folds count: the payers of a single
held-out fold are too few to tell a feature from noise.

SHAP values are LightGBM's own (`pred_contrib`), exact for trees [Lundberg et al., 2020]. A feature's importance is its
share of mean |contribution| (or of the splits' gain), averaged over the probes, so that the gate and the money count
the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import lightgbm as lgb
import numpy as np

from training.config import TrainingConfig
from training.learning.boosting import Floats, Ints, Mask, Matrix, Runtime, raw_matrix
from training.learning.labels import Labels
from training.learning.options import EliminationConfig, SelectionConfig
from training.learning.screening import distinct, varies
from training.learning.tails import payers

EXPLAINED_ROWS = 1000
"""Rows of a fold that importance is averaged over: SHAP costs as much as a thousand predictions a row."""


@dataclass(frozen=True)
class Step:
    """A step of the elimination: how many features, and the probes' out-of-fold loss relative to constants."""

    features: int
    loss: float


@dataclass(frozen=True)
class Selection:
    """What is kept and why the rest is not.

    Parameters
    ----------
    kept : tuple of str
        In the plan's order.
    dropped : dict of str to str
        Name → `variance`, `importance`, `correlation` or `elimination`.
    importance : dict of str to float
        Shares of the features that vary, summing to 1.
    steps : tuple of Step
        Of the elimination.
    """

    kept: tuple[str, ...]
    dropped: dict[str, str]
    importance: dict[str, float]
    steps: tuple[Step, ...]

    def to_json(self) -> dict[str, Any]:
        """For the bundle."""
        return asdict(self)


@dataclass(frozen=True)
class Probes:
    """Small boosters over some of the features, each fold judged by those that did not see it.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
    buyer : ndarray of shape (n,), 0 or 1
    z : ndarray of shape (n,)
        Log revenue of payers.
    paid : ndarray of shape (n,), bool
    fold : ndarray of shape (n,), int64
    config : TrainingConfig
    options : SelectionConfig
    weight : ndarray of shape (n,), optional
        How many rows each stands for.
    """

    X: Floats
    buyer: Floats
    z: Floats
    paid: Mask
    fold: Ints
    config: TrainingConfig
    options: SelectionConfig
    weight: Floats | None = None

    @property
    def folds(self) -> list[int]:
        """The folds there are."""
        found: list[int] = np.unique(self.fold).tolist()
        return found

    def importance(self, columns: Ints) -> Floats:
        """(n_columns,) shares of importance over all folds, summing to 1."""
        return np.asarray(np.mean([self.judge(columns, k)[0] for k in self.folds], axis=0))

    def judge(self, columns: Ints, fold: int) -> tuple[Floats, Floats]:
        """What probes without a fold say of it: the columns' importance, and scores (n_held, 2) of its rows."""
        X, held = self.X[:, columns], self.fold == fold
        boosters = self._fit(Matrix(X, Runtime(self.config.seed, self.config.threads), weight=self.weight), ~held)
        rows = (held, held & self.paid)
        found = [self._importance(b, X[_spread(at)]) for b, at in zip(boosters, rows, strict=True)]
        return np.asarray(np.mean(found, axis=0)), raw_matrix(boosters, X[held], self.config.threads)

    def _fit(self, matrix: Matrix, seen: Mask) -> list[lgb.Booster]:
        """A booster of the gate and one of payers' log revenue."""
        kinds = self.config.classifier, self.config.regressors
        gate, money = (kind.model_copy(update={"rounds": self.options.rounds}) for kind in kinds)
        return [
            matrix.fit({"objective": "binary"}, self.buyer, seen, gate),
            matrix.fit({"objective": "regression"}, self.z, seen & self.paid, money),
        ]

    def _importance(self, booster: lgb.Booster, X: Floats) -> Floats:
        gain = self.options.importance == "gain"
        found = np.asarray(booster.feature_importance("gain")) if gain else shap_importance(booster, X)
        return np.asarray(found / max(float(found.sum()), 1e-300), dtype=np.float64)

    def loss(self, gate: Floats, money: Floats) -> float:
        """Mean of the log-loss and the payers' squared error, each relative to that of the best constant."""
        w = np.ones(len(self.buyer)) if self.weight is None else self.weight
        z, of_payers = self.z[self.paid], w[self.paid]
        rate = float(np.clip(np.average(self.buyer, weights=w), 1e-9, 1.0 - 1e-9))
        log_loss = float(np.average(np.logaddexp(0.0, gate) - self.buyer * gate, weights=w))
        squares = float(np.average((z - money[self.paid]) ** 2, weights=of_payers))
        spread = float(np.average((z - np.average(z, weights=of_payers)) ** 2, weights=of_payers))
        entropy = -rate * np.log(rate) - (1.0 - rate) * np.log1p(-rate)
        return float(0.5 * (log_loss / entropy + squares / max(spread, 1e-12)))


def _spread(rows: Mask) -> Ints:
    """At most `EXPLAINED_ROWS` of the rows, evenly spread."""
    places = np.flatnonzero(rows)
    return places[:: max(1, -(-len(places) // EXPLAINED_ROWS))]


def shap_importance(booster: lgb.Booster, X: Floats) -> Floats:
    """Mean absolute SHAP value of each feature over the rows of X, shape (n_features,)."""
    contributions = np.asarray(booster.predict(X, pred_contrib=True), dtype=np.float64)
    return np.asarray(np.abs(contributions[:, :-1]).mean(axis=0))  # the last column is the expectation


def select_features(
    X: Floats, names: Sequence[str], labels: Labels, fold: Ints, anchor: int, config: TrainingConfig
) -> Selection:
    """Choose features on training rows.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
        Encoded out of fold.
    names : sequence of str
        One a column.
    labels : Labels of n rows
    fold : ndarray of shape (n,), int64
    anchor : int
        Position of the gate's horizon.
    config : TrainingConfig
        With a `selection`.

    Raises
    ------
    ValueError
        Without a `selection`.
    """
    options = config.selection
    if options is None:
        raise ValueError("select_features: expected a configuration with `selection`")
    probes = _probes(X, labels, fold, anchor, config, options)
    dropped: dict[str, str] = {}

    def left(columns: Ints, kept: Mask, reason: str) -> Ints:
        dropped.update((names[j], reason) for j in columns[~kept].tolist())
        return columns[kept]

    columns = left(np.arange(len(names)), varies(probes.X, options.least_variance), "variance")
    importance = probes.importance(columns)
    shares = dict(zip((names[j] for j in columns.tolist()), importance.tolist(), strict=True))
    kept = weightiest(importance, options.importance_kept)
    columns, importance = left(columns, kept, "importance"), importance[kept]
    columns = left(columns, distinct(probes.X[:, columns], importance, options.most_correlation), "correlation")
    steps: tuple[Step, ...] = ()
    if options.elimination is not None:
        survivors, steps = eliminate(probes, columns, options.elimination)
        columns = left(columns, np.isin(columns, survivors), "elimination")
    return Selection(tuple(names[j] for j in columns.tolist()), dropped, shares, steps)


def weightiest(importance: Floats, share: float) -> Mask:
    """The fewest features that hold this share of importance, and none without any; shape (n_features,), bool."""
    order = np.argsort(-importance, kind="stable")
    before = np.cumsum(importance[order]) - importance[order]
    kept = np.zeros(len(importance), dtype=bool)
    kept[order] = (before < share * importance.sum()) & (importance[order] > 0.0)
    return kept


def eliminate(probes: Probes, columns: Ints, config: EliminationConfig) -> tuple[Ints, tuple[Step, ...]]:
    """Drop the weakest features step by step while the out-of-fold loss stays within the tolerance of the best.

    Each fold is judged by a set of its own, chosen without it: one set chosen on all rows would look the better out of
    fold the more it was chosen [Ambroise & McLachlan, PNAS 2002]. What the folds decide is how many features to keep;
    which ones, all rows decide.

    Returns
    -------
    columns : ndarray of shape (n_kept,), int64
        As many as the smallest sets within the tolerance of the best loss that was seen.
    steps : tuple of Step
    """
    own = dict.fromkeys(probes.folds, columns)
    steps: list[Step] = []
    worse, size = 0, len(columns)
    while True:
        scores = np.empty((len(probes.fold), 2))
        importance: dict[int, Floats] = {}
        for k, left in own.items():
            importance[k], scores[probes.fold == k] = probes.judge(left, k)
        steps.append(Step(size, probes.loss(*scores.T)))
        bound = min(step.loss for step in steps) * (1.0 + config.tolerance)
        worse = worse + 1 if steps[-1].loss > bound else 0
        if worse == config.patience or size == 1:
            break
        size = min(size - 1, int(np.ceil(size * (1.0 - config.drop))))
        own = {k: strongest(left, importance[k], size) for k, left in own.items()}
    fewest = min(step.features for step in steps if step.loss <= bound)
    for step in steps[1:]:
        if step.features >= fewest:
            columns = strongest(columns, probes.importance(columns), step.features)
    return columns, tuple(steps)


def strongest(columns: Ints, importance: Floats, n: int) -> Ints:
    """The n most important columns, in their own order."""
    return np.sort(columns[np.argsort(-importance, kind="stable")[:n]])


def _probes(
    X: Floats, labels: Labels, fold: Ints, anchor: int, config: TrainingConfig, options: SelectionConfig
) -> Probes:
    known = np.flatnonzero(np.isfinite(labels.buyer) & np.isfinite(labels.revenue[:, anchor]))
    if len(known) > options.rows:
        known = np.sort(np.random.default_rng(config.seed).choice(known, options.rows, replace=False))
    revenue = labels.revenue[known, anchor]
    paid = payers(revenue)
    z = np.log(np.where(paid, revenue, 1.0))
    weight = None if labels.weight is None else labels.weight[known]
    return Probes(X[known], labels.buyer[known], z, paid, fold[known], config, options, weight)
