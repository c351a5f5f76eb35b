"""Classifier metrics: buyers and their predicted probabilities → AUC, PR-AUC, log-loss, calibration, best F1.

scikit-learn defines AUC and average precision; the kernels over `TieGroups` give the same numbers under
changing weights without sorting again, for the bootstrap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from training.evaluation.ranking import Floats, TieGroups, ratio, row_weights

RELIABILITY_BINS = 15
_SMALLEST = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class F1Best:
    """The best F1 over all thresholds, and what it is made of. p ≥ `threshold` is called a buyer."""

    f1: float
    threshold: float
    precision: float
    recall: float


def auc(buyer: Floats, p: Floats, sample_weight: Floats | None = None) -> float:
    """Area under the ROC curve (scikit-learn's); NaN where one class is absent."""
    if np.unique(buyer).shape[0] < 2:
        return float("nan")
    return float(roc_auc_score(buyer, p, sample_weight=sample_weight))


def auc_at(positives: Floats, counts: Floats) -> float:
    """AUC from tied groups, best first: Σ positives·(negatives behind + half beside) / (P·N)."""
    negatives = counts - positives
    behind = negatives.sum() - np.cumsum(negatives) + negatives / 2.0
    return ratio(float(positives @ behind), float(positives.sum() * negatives.sum()))


def pr_auc(buyer: Floats, p: Floats, sample_weight: Floats | None = None) -> float:
    """Average precision Σ (R_k − R_{k−1})·P_k (scikit-learn's); NaN without buyers."""
    if not np.any(buyer):
        return float("nan")
    return float(average_precision_score(buyer, p, sample_weight=sample_weight))


def pr_auc_at(positives: Floats, counts: Floats) -> float:
    """Average precision from tied groups, best first."""
    return ratio(float(positives @ _precisions(positives, counts)), float(positives.sum()))


def _precisions(positives: Floats, counts: Floats) -> Floats:
    taken = np.cumsum(counts)
    return np.divide(np.cumsum(positives), taken, out=np.zeros_like(taken), where=taken > 0.0)


def log_losses(buyer: Floats, p: Floats) -> Floats:
    """−log of the probability given to what happened, p clipped to [ε, 1 − ε]; shape (n,), nats."""
    inside = np.clip(p, _SMALLEST, 1.0 - _SMALLEST)
    return -np.where(buyer > 0.0, np.log(inside), np.log1p(-inside))


def log_loss(buyer: Floats, p: Floats, sample_weight: Floats | None = None) -> float:
    """Mean negative log-likelihood of the buyers under `p`, nats."""
    return float(np.average(log_losses(buyer, p), weights=row_weights(buyer, sample_weight)))


def brier(buyer: Floats, p: Floats, sample_weight: Floats | None = None) -> float:
    """Mean (p − buyer)² [Brier 1950]."""
    return float(np.average((p - buyer) ** 2, weights=row_weights(buyer, sample_weight)))


def precision(buyer: Floats, p: Floats, threshold: float, sample_weight: Floats | None = None) -> float:
    """Share of buyers among the rows with p ≥ threshold; NaN where no row is."""
    weights = row_weights(buyer, sample_weight) * (p >= threshold)
    return ratio(float(weights @ buyer), float(weights.sum()))


def recall(buyer: Floats, p: Floats, threshold: float, sample_weight: Floats | None = None) -> float:
    """Share of the buyers with p ≥ threshold; NaN without buyers."""
    mass = row_weights(buyer, sample_weight) * buyer
    return ratio(float(mass @ (p >= threshold)), float(mass.sum()))


def f1_best_at(positives: Floats, counts: Floats, thresholds: Floats) -> F1Best:
    """Best F1 = 2·TP / (taken + P) over thresholds at the tied groups, best first."""
    taken, hits, total = np.cumsum(counts), np.cumsum(positives), float(positives.sum())
    denominator = taken + total
    f1 = np.divide(2.0 * hits, denominator, out=np.zeros_like(taken), where=denominator > 0.0)
    best = int(np.argmax(f1))
    hit = float(hits[best])
    return F1Best(float(f1[best]), float(thresholds[best]), ratio(hit, float(taken[best])), ratio(hit, total))


def f1_best(buyer: Floats, p: Floats, sample_weight: Floats | None = None) -> F1Best:
    """The threshold on `p` with the highest F1, and precision and recall there."""
    weights, groups = row_weights(buyer, sample_weight), TieGroups(p)
    return f1_best_at(groups.sums(weights * buyer), groups.sums(weights), groups.values)


def equal_mass_bins(positions: Floats, total: float, bins: int) -> NDArray[np.int64]:
    """Bin 0 … bins − 1 of each row by its position from the top; a tied group stays in one bin."""
    return np.minimum((positions * (bins / (total or 1.0))).astype(np.int64), bins - 1)


def bin_edges(group_positions: Floats, total: float, bins: int) -> NDArray[np.int64]:
    """The first tied group of each of `equal_mass_bins`, and the number of groups: shape (bins + 1,)."""
    scaled = group_positions * (bins / (total or 1.0))
    inner = np.searchsorted(scaled, np.arange(1, bins))
    return np.concatenate([[0], inner, [group_positions.shape[0]]]).astype(np.int64)


def ece_at(gaps: Floats, total: float) -> float:
    """Expected calibration error from Σ w·(p − outcome) of each bin: Σ_bins |gap| / Σw."""
    return ratio(float(np.abs(gaps).sum()), total)


def ece(outcome: Floats, p: Floats, bins: int = RELIABILITY_BINS, sample_weight: Floats | None = None) -> float:
    """Expected calibration error: mean over bins of |mean p − mean outcome|, weighted by their rows.

    Bins hold equal numbers of rows [Nixon et al. 2019]: with buyers at three per cent, bins of equal width
    put almost every row in the first one. Against 0/1 outcomes it has a noise floor of about
    sqrt(rate·bins/n); against the oracle's probabilities it has none.
    """
    weights = row_weights(outcome, sample_weight)
    total = float(weights.sum())
    code = equal_mass_bins(TieGroups(p).positions(weights), total, bins)
    gaps = np.bincount(code, weights * (p - outcome), minlength=bins)
    return ece_at(gaps.astype(np.float64), total)


def reliability_bins(
    buyer: Floats, p: Floats, bins: int = RELIABILITY_BINS, sample_weight: Floats | None = None
) -> list[dict[str, float]]:
    """Rows, mean prediction and share of buyers in each bin of equal mass, lowest probability first.

    Returns
    -------
    list of {"rows", "p", "rate"}
        Bins that ties left empty are absent.
    """
    weights = row_weights(p, sample_weight)
    code = bins - 1 - equal_mass_bins(TieGroups(p).positions(weights), float(weights.sum()), bins)
    mass, p_sum, buyers = (np.bincount(code, weights * v, minlength=bins) for v in (np.ones_like(p), p, buyer))
    rows = np.bincount(code, minlength=bins)
    return [
        {
            "rows": int(rows[b]),
            "p": ratio(float(p_sum[b]), float(mass[b])),
            "rate": ratio(float(buyers[b]), float(mass[b])),
        }
        for b in np.flatnonzero(rows)
    ]
