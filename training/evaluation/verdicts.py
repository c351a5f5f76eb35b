"""Verdicts: two predictors' replicates on the same weights → better, worse or indistinguishable, in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from training.evaluation.bootstrap import Estimate, paired_difference

# What counts as better: more, less, or nearer to one (in ratio: 0.5 is as far off as 2).
DIRECTION = {
    "auc": "more",
    "pr_auc": "more",
    "log_loss": "less",
    "msle": "less",
    "normalised_gini": "more",
    "normalised_gini_oracle": "more",
    "spearman": "more",
    "mae": "less",
    "nrmse": "less",
    "decile_mape": "less",
    "decile_mape_oracle": "less",
    "bias_oracle": "one",
    "bias_realised": "one",
    "missed_whales": "less",
}
CLASSIFIER = ("auc", "pr_auc", "log_loss")
AMOUNTS = (
    "normalised_gini",
    "normalised_gini_oracle",
    "spearman",
    "mae",
    "nrmse",
    "decile_mape",
    "decile_mape_oracle",
    "missed_whales",
)

Estimates = Mapping[str, Estimate]
Verdict = dict[str, Any]


def _goodness(metric: str, estimate: Estimate) -> Estimate:
    """The estimate turned so that more is better."""
    if DIRECTION[metric] == "more":
        return estimate
    if DIRECTION[metric] == "less":
        return Estimate(-estimate.value, -estimate.replicates)
    with np.errstate(divide="ignore"):
        return Estimate(-float(np.abs(np.log(estimate.value))), -np.abs(np.log(estimate.replicates)))


def verdict(metric: str, where: str, baseline: str, ours: Estimate, theirs: Estimate) -> Verdict:
    """Compare two paired estimates of a metric.

    Parameters
    ----------
    metric : str
        A key of `DIRECTION`.
    where : str
        What was scored: a horizon (`d7`), `p_buyer` or `log_mean`.
    baseline : str
        The other predictor's name.

    Returns
    -------
    dict
        `verdict` is `better`, `worse` or `indistinguishable` (the interval of the paired improvement holds
        zero); `improvement` is positive where ours is better, in the metric's unit (for bias: difference of
        |log bias|).
    """
    improvement = paired_difference(_goodness(metric, ours), _goodness(metric, theirs))
    low, high = improvement.interval()
    word = "better" if low > 0.0 else "worse" if high < 0.0 else "indistinguishable"
    joint = "from" if word == "indistinguishable" else "than"
    figures = f"({ours.value:.4g} against {theirs.value:.4g})"
    return {
        "metric": metric,
        "where": where,
        "baseline": baseline,
        "verdict": word,
        "improvement": improvement.to_json(),
        "sentence": f"{word} {joint} {baseline} on {metric} of {where} {figures}",
    }


def compare(where: str, names: Iterable[str], ours: Estimates, baseline: str, theirs: Estimates) -> list[Verdict]:
    """Verdicts on those of `names` that both predictors have a defined figure for."""
    both = [n for n in names if n in ours and n in theirs]
    defined = [n for n in both if np.isfinite(ours[n].value) and np.isfinite(theirs[n].value)]
    return [verdict(n, where, baseline, ours[n], theirs[n]) for n in defined]
