"""Metrics of methods by name: revenue that came and revenue that was predicted → one number each.

Amount metrics stand here; order metrics in `ranking` and classifier metrics in `classification` are offered
under this one name as well. All take `y`, `y_hat` of shape (n,) in US dollars, and `sample_weight` where a
weight has a meaning. A metric that is undefined on its input (no payers, no revenue) is NaN, never an
exception.
"""

from __future__ import annotations

import numpy as np

from training.evaluation.classification import (
    F1Best,
    auc,
    brier,
    ece,
    equal_mass_bins,
    f1_best,
    log_loss,
    pr_auc,
    precision,
    recall,
    reliability_bins,
)
from training.evaluation.ranking import (
    Floats,
    TieGroups,
    gini,
    missed_whales,
    mutual_gini,
    normalised_gini,
    ratio,
    recall_at_k,
    row_weights,
    spearman,
    spearman_payers,
)

__all__ = [
    "F1Best",
    "auc",
    "bias",
    "brier",
    "cap_of_payers",
    "decile_mape",
    "ece",
    "f1_best",
    "gini",
    "lift_table",
    "log_loss",
    "mae",
    "mape_payers",
    "missed_whales",
    "msle",
    "mutual_gini",
    "nmae",
    "normalised_gini",
    "nrmse",
    "order_violations",
    "pr_auc",
    "precision",
    "r2",
    "realised_bias",
    "recall",
    "recall_at_k",
    "reliability_bins",
    "rmse",
    "rmsle",
    "spearman",
    "spearman_payers",
    "squared_log_errors",
]

DECILES = 10
CAP_QUANTILE = 0.999


def squared_log_errors(y: Floats, y_hat: Floats) -> Floats:
    """(log1p ŷ − log1p y)² row by row; shape (n,)."""
    return np.asarray((np.log1p(y_hat) - np.log1p(y)) ** 2, dtype=np.float64)


def msle(y: Floats, y_hat: Floats, sample_weight: Floats | None = None) -> float:
    """Mean (log1p ŷ − log1p y)². Best answered by expm1(E[log1p y | x]), not by the mean."""
    return float(np.average(squared_log_errors(y, y_hat), weights=row_weights(y, sample_weight)))


def rmsle(y: Floats, y_hat: Floats, sample_weight: Floats | None = None) -> float:
    """Square root of `msle`."""
    return float(msle(y, y_hat, sample_weight) ** 0.5)


def mae(y: Floats, y_hat: Floats, sample_weight: Floats | None = None) -> float:
    """Mean |ŷ − y|, US dollars. Best answered by the median, which is 0 for most users."""
    return float(np.average(np.abs(y_hat - y), weights=row_weights(y, sample_weight)))


def rmse(y: Floats, y_hat: Floats, sample_weight: Floats | None = None) -> float:
    """Square root of mean (ŷ − y)², US dollars."""
    return float(np.average((y_hat - y) ** 2, weights=row_weights(y, sample_weight)) ** 0.5)


def r2(y: Floats, y_hat: Floats, sample_weight: Floats | None = None) -> float:
    """1 − Σ(ŷ − y)² / Σ(y − ȳ)²; NaN where y is constant."""
    weights = row_weights(y, sample_weight)
    spread = (y - np.average(y, weights=weights)) ** 2
    return 1.0 - ratio(float(weights @ (y_hat - y) ** 2), float(weights @ spread))


def mape_payers(y: Floats, y_hat: Floats, sample_weight: Floats | None = None) -> float:
    """Mean |ŷ − y| / y over the rows with y > 0; NaN with none of them."""
    payers = y > 0.0
    weights = row_weights(y, sample_weight)[payers]
    errors = np.abs(y_hat[payers] - y[payers]) / y[payers]
    return ratio(float(weights @ errors), float(weights.sum()))


def nrmse(y: Floats, y_hat: Floats, sample_weight: Floats | None = None) -> float:
    """`rmse` / ȳ."""
    return ratio(rmse(y, y_hat, sample_weight), float(np.average(y, weights=sample_weight)))


def nmae(y: Floats, y_hat: Floats, sample_weight: Floats | None = None) -> float:
    """`mae` / ȳ."""
    return ratio(mae(y, y_hat, sample_weight), float(np.average(y, weights=sample_weight)))


def decile_mape_at(predicted: Floats, revenue: Floats) -> float:
    """Decile MAPE from Σwŷ and Σwy of each decile: |Σwŷ − Σwy| / Σwy is the ratio of the means."""
    paying = revenue > 0.0
    if not paying.any():
        return float("nan")
    return float(np.mean(np.abs(predicted[paying] - revenue[paying]) / revenue[paying]))


def decile_mape(y: Floats, y_hat: Floats, sample_weight: Floats | None = None) -> float:
    """Mean over ŷ-deciles of |mean ŷ − mean y| / mean y; deciles without revenue are left out.

    NaN where there are fewer than ten distinct predictions: a constant has no deciles to be wrong in.
    """
    weights, groups = row_weights(y, sample_weight), TieGroups(y_hat)
    if groups.values.shape[0] < DECILES:
        return float("nan")
    code = equal_mass_bins(groups.positions(weights), float(weights.sum()), DECILES)
    predicted, revenue = (np.bincount(code, weights * v, minlength=DECILES) for v in (y_hat, y))
    return decile_mape_at(predicted.astype(np.float64), revenue.astype(np.float64))


def bias(target: Floats, y_hat: Floats, sample_weight: Floats | None = None) -> float:
    """Σŷ / Σtarget: 1 is unbiased. On generated data the target is the oracle's noise-free E[y | x]."""
    weights = row_weights(target, sample_weight)
    return ratio(float(weights @ y_hat), float(weights @ target))


def cap_of_payers(y: Floats) -> float:
    """The payers' 99.9th percentile of revenue, US dollars; 0 without payers."""
    payers = y[y > 0.0]
    return float(np.quantile(payers, CAP_QUANTILE)) if payers.size else 0.0


def realised_bias(y: Floats, y_hat: Floats, sample_weight: Floats | None = None) -> float:
    """`bias` against realised revenue capped at `cap_of_payers`, so that one whale does not decide it."""
    return bias(np.minimum(y, cap_of_payers(y)), y_hat, sample_weight)


def order_violations(ltv: Floats) -> int:
    """Number of rows of `ltv` (n, n_horizons) that fall from one horizon to the next, in any bit."""
    return int(np.count_nonzero((np.diff(ltv, axis=1) < 0.0).any(axis=1)))


def lift_table(
    y: Floats, y_hat: Floats, bins: int = DECILES, sample_weight: Floats | None = None
) -> list[dict[str, float]]:
    """Rows in bins of equal mass by ŷ, the highest first.

    Returns
    -------
    list of {"bin", "rows", "predicted", "realised", "lift", "cumulative_share"}
        `predicted` and `realised` are means in US dollars, `lift` the realised mean over that of all rows,
        `cumulative_share` the share of all revenue in this bin and those above. Bins left empty by ties are
        absent.
    """
    weights = row_weights(y, sample_weight)
    code = equal_mass_bins(TieGroups(y_hat).positions(weights), float(weights.sum()), bins)
    mass, predicted, realised = (np.bincount(code, weights * v, minlength=bins) for v in (np.ones_like(y), y_hat, y))
    rows = np.bincount(code, minlength=bins)
    total, share = float(realised.sum()), np.cumsum(realised)
    return [
        {
            "bin": int(b) + 1,
            "rows": int(rows[b]),
            "predicted": ratio(float(predicted[b]), float(mass[b])),
            "realised": ratio(float(realised[b]), float(mass[b])),
            "lift": ratio(ratio(float(realised[b]), float(mass[b])), total / float(weights.sum())),
            "cumulative_share": ratio(float(share[b]), total),
        }
        for b in np.flatnonzero(rows)
    ]
