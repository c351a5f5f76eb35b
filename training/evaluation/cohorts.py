"""Bias and errors by cohort: predictions, targets and groups of rows → figures of each group, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.evaluation.bootstrap import Estimate, Weights
from training.evaluation.classification import log_losses
from training.evaluation.groups import GroupSums
from training.evaluation.metrics import cap_of_payers, squared_log_errors
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
    codes: NDArray[np.int64],
    groups: int,
    y_hat: Floats,
    target: Floats,
    weights: Weights,
    sample_weight: Floats | None,
) -> list[Estimate]:
    known = np.isfinite(target)
    columns = np.column_stack([y_hat, target])
    if known.all():
        return GroupSums(codes, groups, columns, weights, sample_weight).ratios(0, 1)
    own = None if sample_weight is None else sample_weight[known]
    return GroupSums(codes[known], groups, columns[known], weights[:, known], own).ratios(0, 1)


def bias_by(
    labels: NDArray[np.str_],
    scored: Scored,
    targets: Floats,
    horizons: Sequence[int],
    weights: Weights,
    top: int,
    sample_weight: Floats | None = None,
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
    sample_weight : ndarray of shape (n,), optional
        How many rows each stands for.

    Returns
    -------
    dict
        label → {"rows": int, "d1": {"value", "low", "high"}, …}, most rows first.
    """
    codes, names = top_levels(labels, top)
    counts = np.bincount(codes, minlength=len(names))
    table: dict[str, dict[str, Any]] = {name: {"rows": int(counts[g])} for g, name in enumerate(names)}
    for column, horizon in enumerate(horizons):
        found = _group_bias(codes, len(names), scored.ltv[:, column], targets[:, column], weights, sample_weight)
        for name, one in zip(names, found, strict=True):
            table[name][f"d{horizon}"] = one.to_json()
    return table


def errors_by(
    labels: NDArray[np.str_], rows: EvaluationRows, scored: Scored, log_column: int, weights: Weights, top: int
) -> dict[str, dict[str, Any]]:
    """Where the errors are made: each label's part of the revenue and of the squared log error.

    Parameters
    ----------
    labels : ndarray of shape (n,) of str
    rows : EvaluationRows
    scored : Scored
        Its `log_mean` is judged, its `ltv` where it has none; and `p_buyer` where it has one.
    log_column : int
        Column of the horizon that is looked at.
    weights : ndarray of shape (n_replicates, n), uint8
    top : int
        Labels kept by name, most rows first; the others are one group.

    Returns
    -------
    dict
        label → {"rows", "buyers", "mean_y", "mean_y_hat", "revenue_share", "msle", "error_share", "log_loss"};
        all but the counts are {"value", "low", "high"}. An `error_share` far above `revenue_share` is where work pays.
    """
    y: Floats = rows.y[:, log_column]
    known = np.isfinite(y)
    codes, names = top_levels(labels[known], top)
    answer = scored.ltv[:, log_column] if scored.log_mean is None else scored.log_mean
    columns = [
        np.ones(len(codes)),
        y[known],
        scored.ltv[known, log_column],
        squared_log_errors(y[known], answer[known]),
    ]
    if scored.p_buyer is not None:
        columns.append(log_losses(rows.buyer[known], scored.p_buyer[known]))
    seen = weights if known.all() else weights[:, known]
    sums = GroupSums(codes, len(names), np.column_stack(columns), seen, rows.weight_of(known))
    counts = np.bincount(codes, minlength=len(names))
    buyers = np.bincount(codes, rows.buyer[known], minlength=len(names))
    figures = {
        "mean_y": sums.ratios(1, 0),
        "mean_y_hat": sums.ratios(2, 0),
        "revenue_share": sums.shares(1),
        "msle": sums.ratios(3, 0),
        "error_share": sums.shares(3),
    }
    if scored.p_buyer is not None:
        figures["log_loss"] = sums.ratios(4, 0)
    return {
        name: {
            "rows": int(counts[g]),
            "buyers": int(buyers[g]),
            **{figure: estimates[g].to_json() for figure, estimates in figures.items()},
        }
        for g, name in enumerate(names)
    }


def worst_rows(rows: EvaluationRows, scored: Scored, log_column: int, count: int) -> list[dict[str, Any]]:
    """The rows with the largest squared log error, largest first: identifier, revenue, both answers and the state."""
    y: Floats = np.nan_to_num(rows.y[:, log_column])
    answer = scored.ltv[:, log_column] if scored.log_mean is None else scored.log_mean
    error = np.where(np.isfinite(rows.y[:, log_column]), squared_log_errors(y, answer), -1.0)
    found = np.argsort(-error, kind="stable")[: min(count, int((error >= 0.0).sum()))]
    return [
        {
            "row": str(rows.ids[i]),
            "y": float(y[i]),
            "ltv": float(scored.ltv[i, log_column]),
            "log_mean": float(answer[i]),
            "squared_log_error": float(error[i]),
            **{name: str(labels[i]) for name, labels in rows.cohorts.items()},
        }
        for i in found.tolist()
    ]
