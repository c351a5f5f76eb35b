r"""Which features earn their microseconds: X and labels of training rows enter, the names that the plan keeps leave.

Four steps, each looking at what the one before left: variance, importance, correlation (of two alike features the more
important one stays), and recursive elimination. Importance and elimination ask *probes*, small boosters of the gate and
of payers' log revenue, fitted on all folds but the last and judged on the last, in time.

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
from training.learning.boosting import Floats, Ints, Mask, Matrix, Runtime, raw_scores
from training.learning.labels import Labels
from training.learning.options import EliminationConfig, SelectionConfig
from training.learning.screening import distinct, varies
from training.learning.tails import payers

EXPLAINED_ROWS = 2000
"""Rows that importance is averaged over: SHAP costs as much as a thousand predictions a row."""


@dataclass(frozen=True)
class Step:
    """A step of the elimination: how many features, and the probes' held-out loss relative to constants."""

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
    """Small boosters over some of the features.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
    buyer : ndarray of shape (n,), 0 or 1
    z : ndarray of shape (n,)
        Log revenue of payers.
    paid, held : ndarray of shape (n,), bool
        Payers; rows to judge on, which teach nothing.
    config : TrainingConfig
    rounds : int
    """

    X: Floats
    buyer: Floats
    z: Floats
    paid: Mask
    held: Mask
    config: TrainingConfig
    rounds: int

    def fit(self, columns: Ints) -> list[lgb.Booster]:
        """A booster of the gate and one of payers' log revenue on these columns."""
        matrix = Matrix(self.X[:, columns], Runtime(self.config.seed, self.config.threads))
        kinds = self.config.classifier, self.config.regressors
        gate, money = (kind.model_copy(update={"rounds": self.rounds}) for kind in kinds)
        return [
            matrix.fit({"objective": "binary"}, self.buyer, ~self.held, gate),
            matrix.fit({"objective": "regression"}, self.z, ~self.held & self.paid, money),
        ]

    def loss(self, boosters: Sequence[lgb.Booster], columns: Ints) -> float:
        """Mean of the held-out log-loss and squared error, each relative to that of the best constant."""
        gate, money = boosters
        threads, paid = self.config.threads, self.held & self.paid
        buyer, z = self.buyer[self.held], self.z[paid]
        f = raw_scores(gate, self.X[self.held][:, columns], threads)
        log_loss = float((np.logaddexp(0.0, f) - buyer * f).mean())
        squares = float(((z - raw_scores(money, self.X[paid][:, columns], threads)) ** 2).mean())
        rate = float(np.clip(buyer.mean(), 1e-9, 1.0 - 1e-9))
        entropy = -rate * np.log(rate) - (1.0 - rate) * np.log1p(-rate)
        return float(0.5 * (log_loss / entropy + squares / max(float(z.var()), 1e-12)))

    def importance(self, boosters: Sequence[lgb.Booster], columns: Ints, kind: str) -> Floats:
        """(n_columns,) shares of importance, summing to 1."""
        if kind == "gain":
            found = [np.asarray(b.feature_importance("gain"), dtype=np.float64) for b in boosters]
        else:
            rows = self._explained()
            found = [shap_importance(b, self.X[at][:, columns]) for b, at in zip(boosters, rows, strict=True)]
        return np.asarray(np.mean([one / max(float(one.sum()), 1e-300) for one in found], axis=0))

    def _explained(self) -> list[Ints]:
        """Held-out rows, and held-out payers, evenly spread and at most `EXPLAINED_ROWS` each."""
        places = [np.flatnonzero(rows) for rows in (self.held, self.held & self.paid)]
        return [at[:: max(1, -(-len(at) // EXPLAINED_ROWS))] for at in places]


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
    importance = probes.importance(probes.fit(columns), columns, options.importance)
    shares = dict(zip((names[j] for j in columns.tolist()), importance.tolist(), strict=True))
    kept = weightiest(importance, options.importance_kept)
    columns, importance = left(columns, kept, "importance"), importance[kept]
    columns = left(columns, distinct(probes.X[:, columns], importance, options.most_correlation), "correlation")
    steps: tuple[Step, ...] = ()
    if options.elimination is not None:
        survivors, steps = eliminate(probes, columns, options.importance, options.elimination)
        columns = left(columns, np.isin(columns, survivors), "elimination")
    return Selection(tuple(names[j] for j in columns.tolist()), dropped, shares, steps)


def weightiest(importance: Floats, share: float) -> Mask:
    """The fewest features that hold this share of importance, and none without any; shape (n_features,), bool."""
    order = np.argsort(-importance, kind="stable")
    before = np.cumsum(importance[order]) - importance[order]
    kept = np.zeros(len(importance), dtype=bool)
    kept[order] = (before < share * importance.sum()) & (importance[order] > 0.0)
    return kept


def eliminate(probes: Probes, columns: Ints, kind: str, config: EliminationConfig) -> tuple[Ints, tuple[Step, ...]]:
    """Drop the weakest features step by step while the held-out loss stays within the tolerance of the best.

    Returns
    -------
    columns : ndarray of shape (n_kept,), int64
        The smallest set within the tolerance of the best loss that was seen.
    steps : tuple of Step
    """
    tried: list[tuple[float, Ints]] = []
    worse = 0
    while True:
        boosters = probes.fit(columns)
        tried.append((probes.loss(boosters, columns), columns))
        best = min(loss for loss, _ in tried)
        worse = worse + 1 if tried[-1][0] > best * (1.0 + config.tolerance) else 0
        if worse == config.patience or len(columns) == 1:
            break
        importance = probes.importance(boosters, columns, kind)
        n_kept = min(len(columns) - 1, int(np.ceil(len(columns) * (1.0 - config.drop))))
        columns = np.sort(columns[np.argsort(-importance, kind="stable")[:n_kept]])
    within = [found for loss, found in tried if loss <= best * (1.0 + config.tolerance)]
    return min(within, key=len), tuple(Step(len(found), loss) for loss, found in tried)


def _probes(
    X: Floats, labels: Labels, fold: Ints, anchor: int, config: TrainingConfig, options: SelectionConfig
) -> Probes:
    known = np.flatnonzero(np.isfinite(labels.buyer) & np.isfinite(labels.revenue[:, anchor]))
    if len(known) > options.rows:
        known = np.sort(np.random.default_rng(config.seed).choice(known, options.rows, replace=False))
    revenue = labels.revenue[known, anchor]
    paid = payers(revenue)
    z = np.log(np.where(paid, revenue, 1.0))
    held = fold[known] == fold.max()
    return Probes(X[known], labels.buyer[known], z, paid, held, config, options.rounds)
