"""Bias by cohort: predictions, targets and groups of rows → Σŷ/Σtarget of each group, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.evaluation.bootstrap import Estimate, Weights
from training.evaluation.metrics import cap_of_payers
from training.evaluation.ranking import Floats
from training.evaluation.rows import EvaluationRows, Scored

OTHER = "(other)"


def bias_targets(rows: EvaluationRows) -> Floats:
    """What bias is measured against, (n, n_horizons): the oracle's mean, or capped revenue."""
    if rows.oracle is not None:
        known: Floats = np.where(np.isnan(rows.y), np.nan, rows.oracle.ltv)
        return known
    caps = np.array([cap_of_payers(column) for column in rows.y.T])
    capped: Floats = np.minimum(rows.y, caps)
    return capped


def top_levels(labels: NDArray[np.str_], top: int) -> tuple[NDArray[np.int64], list[str]]:
    """Codes (n,) and names of the `top` most frequent labels; the rest share the last code, `(other)`."""
    names, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(order.shape[0])
    kept = [str(name) for name in names[order[:top]]]
    if names.shape[0] > top:
        kept.append(OTHER)
    return np.minimum(rank[codes], top).astype(np.int64), kept


def _group_bias(
    codes: NDArray[np.int64], groups: int, y_hat: Floats, target: Floats, weights: Weights
) -> list[Estimate]:
    known = np.isfinite(target)
    codes, y_hat, target = codes[known], y_hat[known], target[known]

    def ratios(row: Floats) -> Floats:
        predicted = np.bincount(codes, row * y_hat, minlength=groups)
        expected = np.bincount(codes, row * target, minlength=groups)
        found: Floats = np.full(groups, np.nan)
        np.divide(predicted, expected, out=found, where=expected > 0.0)
        return found

    value = ratios(np.ones(codes.shape[0]))
    replicates = np.array([ratios(row[known].astype(np.float64)) for row in weights])
    return [Estimate(float(value[g]), replicates[:, g]) for g in range(groups)]


def bias_by(
    labels: NDArray[np.str_],
    scored: Scored,
    targets: Floats,
    horizons: Sequence[int],
    weights: Weights,
    top: int,
) -> dict[str, dict[str, Any]]:
    """Σŷ/Σtarget of each label and horizon.

    Parameters
    ----------
    labels : ndarray of shape (n,) of str
    scored : Scored
    targets : ndarray of shape (n, n_horizons)
        From `bias_targets`; NaN leaves the row out.
    weights : ndarray of shape (n_replicates, n), uint8
    top : int
        Labels kept by name, most rows first; the others are one group.

    Returns
    -------
    dict
        label → {"rows": int, "d1": {"value", "low", "high"}, …}, most rows first.
    """
    codes, names = top_levels(labels, top)
    counts = np.bincount(codes, minlength=len(names))
    table: dict[str, dict[str, Any]] = {name: {"rows": int(counts[g])} for g, name in enumerate(names)}
    for column, horizon in enumerate(horizons):
        found = _group_bias(codes, len(names), scored.ltv[:, column], targets[:, column], weights)
        for name, one in zip(names, found, strict=True):
            table[name][f"d{horizon}"] = one.to_json()
    return table
