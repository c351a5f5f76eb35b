r"""Sub-distributions: buyers' revenue in K segments, an expert each, and a selector that weighs them softly.

The trees' version of MDME and OptDist [Weng et al., CIKM 2024]. Segments are cut at quantiles of the payers' log
revenue; whales, the top of them, are one. A multiclass booster gives π_k(x), an expert a segment gives ŷ_k(x), and

    E[y | payer, x] = Σ_k π_k(x)·ŷ_k(x),

never the argmax expert, which is biased. Alignment: how well expert k explains a row out of fold, as the likelihood of
a log-normal around its prediction, gives soft labels q_k = softmax(-loss_k). Selector and experts are fitted once more
on them: cross-entropy against q, and experts that weigh their rows by it. The sum stays a mean whatever q is, because
expert k then learns E[q_k·y | x] / E[q_k | x], and π_k is E[q_k | x].
"""

from __future__ import annotations

from dataclasses import dataclass

import lightgbm as lgb
import numpy as np

from app.errors import DataError
from training.learning.boosting import Floats, Ints, Mask, Matrix, named_multiclass, out_of_fold, shifted
from training.learning.options import BoosterConfig

WHALES = 0.01
"""Share of the payers, the largest, that are whales."""

MEAN = {"objective": "gamma"}
LEAST_WEIGHT = 1e-6
"""Below it a row says nothing to an expert, and only slows it."""

LEAST_SPREAD = 0.05
"""Of log residuals: an expert is never so sure that a row a few per cent off counts as another's."""


@dataclass(frozen=True)
class Experts:
    """A selector and its experts.

    Parameters
    ----------
    boosters : list of lightgbm.Booster
        The selector, whose K classes are K scores, then a log mean a segment.
    edges : ndarray of shape (n_segments - 1,), US dollars
        Rising; segment k holds the revenue up to edge k.
    """

    boosters: list[lgb.Booster]
    edges: Floats

    def shares(self, raw: Floats) -> Floats:
        """π, (n, n_segments): softmax of the selector's scores, of raw scores (n, 2 · n_segments)."""
        return _softmax(raw[:, : len(self.edges) + 1])

    def predict(self, raw: Floats) -> Floats:
        """E[y | payer, x] of raw scores (n, 2 · n_segments): Σ_k π_k·e^{f_k}; shape (n,), US dollars."""
        return np.asarray((self.shares(raw) * np.exp(raw[:, len(self.edges) + 1 :])).sum(axis=1))


def segment_edges(y: Floats, segments: int, whales: float = WHALES) -> Floats:
    """Cut payers' revenue into segments of equal numbers, the whales of the last one apart.

    Parameters
    ----------
    y : ndarray of shape (n,), US dollars, > 0
    segments : int
        ≥ 2, the whales among them.
    whales : float
        Share of the payers that are whales.

    Raises
    ------
    DataError
        Where so many payers spent the same that a segment would be empty.
    """
    edges = np.quantile(y, [*(np.linspace(0.0, 1.0 - whales, segments)[1:-1]), 1.0 - whales])
    counts = np.bincount(segment_of(y, edges), minlength=segments)
    if (counts == 0).any():
        raise DataError(f"experts: expected payers in each of {segments} segments, received {counts.tolist()}")
    return np.asarray(edges)


def segment_of(y: Floats, edges: Floats) -> Ints:
    """The segment of each row's revenue, 0 … n_segments - 1; an edge belongs to the segment below it."""
    return np.searchsorted(edges, y, side="left")


def fit_experts(
    matrix: Matrix,
    revenue: Floats,
    payers: Mask,
    fold: Ints,
    segments: int,
    selector: BoosterConfig,
    expert: BoosterConfig,
    whales: float = WHALES,
) -> Experts:
    """Fit selector and experts, align them once, and fit them again on what that says.

    Parameters
    ----------
    matrix : Matrix of n rows
    revenue : ndarray of shape (n,), US dollars
        Read where `payers` holds.
    payers : ndarray of shape (n,), bool
        Rows that may be seen, all with revenue above 0.
    fold : ndarray of shape (n,), int64
    segments : int
        K ≥ 2, the whales among them.
    selector, expert : BoosterConfig
    whales : float
        Share of the payers that are whales.

    Raises
    ------
    DataError
        Where a segment, or a segment without one fold, has no payer.
    """
    X, y, own = matrix.X[payers], revenue[payers], fold[payers]
    edges = segment_edges(y, segments, whales)
    hard = np.eye(segments)[segment_of(y, edges)]
    for k in np.unique(own).tolist():
        if (counts := hard[own != k].sum(axis=0)).min() == 0.0:
            raise DataError(f"experts: expected payers of each segment beside fold {k}, received {counts.tolist()}")
    rows = Matrix(X, matrix.runtime, weight=None if matrix.weight is None else matrix.weight[payers])
    scores = out_of_fold(lambda seen: _fit_segments(rows, y, hard, seen, expert), rows, own)
    everyone = np.ones(len(y), dtype=bool)
    soft = _softmax(-alignment_loss(y, scores, hard * rows.counts(everyone)[:, None]))
    return Experts([_fit_selector(rows, soft, selector), *_fit_segments(rows, y, soft, everyone, expert)], edges)


def alignment_loss(y: Floats, scores: Floats, membership: Floats) -> Floats:
    """How badly each expert explains each row: minus the log density of a log-normal around its prediction.

    Parameters
    ----------
    y : ndarray of shape (n,), US dollars, > 0
    scores : ndarray of shape (n, n_segments)
        Log means by experts that did not see the row.
    membership : ndarray of shape (n, n_segments)
        How much each row tells of an expert's spread: 0 outside its segment, else what the row stands for.

    Returns
    -------
    ndarray of shape (n, n_segments)
        ½ (r_k / s_k)² + log s_k, with r_k = log y - f_k less its mean over the segment.
    """
    residual = np.log(y)[:, None] - scores
    count = membership.sum(axis=0)
    residual = residual - (membership * residual).sum(axis=0) / count
    spread = np.maximum(np.sqrt((membership * residual**2).sum(axis=0) / count), LEAST_SPREAD)
    return np.asarray(0.5 * (residual / spread) ** 2 + np.log(spread))


def _fit_segments(rows: Matrix, y: Floats, weight: Floats, seen: Mask, config: BoosterConfig) -> list[lgb.Booster]:
    """An expert a segment, on the rows that have weight in it."""
    return [rows.fit(MEAN, y, seen & (w > LEAST_WEIGHT), config, weight=w) for w in weight.T]


def _fit_selector(rows: Matrix, soft: Floats, config: BoosterConfig) -> lgb.Booster:
    """A booster of K classes whose softmax is E[q | x]: cross-entropy against soft labels, from their mean."""
    everyone = np.ones(len(soft), dtype=bool)
    counts = rows.counts(everyone)[:, None]
    start, segments = np.log((counts * soft).sum(axis=0) / counts.sum()), soft.shape[1]

    def derivatives(scores: Floats, _: lgb.Dataset) -> tuple[Floats, Floats]:
        p = _softmax(scores)
        return counts * (p - soft), counts * p * (1.0 - p) * segments / (segments - 1.0)

    booster = rows.begin(everyone, config, init_score=start)
    for _ in range(config.rounds):
        booster.update(fobj=derivatives)
    return named_multiclass(shifted(booster, start))


def _softmax(scores: Floats) -> Floats:
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))
