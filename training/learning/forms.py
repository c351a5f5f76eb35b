"""What buyers pay, by the form that is configured: labels enter, boosters of one library and their outputs leave.

The counterpart of `app.inference.forms`, which turns the scores into dollars. A chain is no single library:
`training.learning.chain`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import lightgbm as lgb
import numpy as np

from app.inference.outputs import EXPERT, SEGMENT, Output, head
from training.learning.boosting import Mask, Matrix
from training.learning.experts import fit_experts
from training.learning.increments import fit_increments
from training.learning.labels import Labels
from training.learning.options import ExpertsConfig, RegressorConfig
from training.learning.regressors import fit_ratio, fit_regressors
from training.learning.smearing import fit_smeared
from training.learning.tails import payers

SERVED: Final = {
    "ratios": "exp", "separate": "exp", "chain": "exp",
    "smeared": "smeared", "increments": "increments", "experts": "experts",
}  # fmt: skip
"""The form that the service is told of."""

ALIGNMENT_PARTS: Final = 3
"""Parts of the payers, each scored by experts of the others while segments are aligned."""


def outputs_of(config: RegressorConfig, horizons: Sequence[int], anchor: int) -> tuple[Output, ...]:
    """The outputs of `fit_form`'s boosters, one a score."""
    if config.form != "experts":
        return tuple(Output(head(h), "log") for h in horizons)
    segments = range((config.experts or ExpertsConfig()).segments)
    ratios = (Output(head(h), "log") for i, h in enumerate(horizons) if i != anchor)
    return (
        *(Output(f"{SEGMENT}{k}", "share") for k in segments),
        *(Output(f"{EXPERT}{k}", "log") for k in segments),
        *ratios,
    )


def fit_form(
    matrix: Matrix, labels: Labels, rows: Mask, horizons: Sequence[int], anchor: int, config: RegressorConfig
) -> list[lgb.Booster]:
    """Fit the boosters of a form.

    Parameters
    ----------
    matrix : Matrix of n rows
    labels : Labels of n rows
    rows : ndarray of shape (n,), bool
        Rows that may be seen: buyers, or all of them for increments of E[y].
    horizons : sequence of int, days
    anchor : int
        Position of the gate's horizon.
    config : RegressorConfig

    Raises
    ------
    DataError
        Where there is too little to learn a form from.
    """
    if config.form == "smeared":
        known = [rows & np.isfinite(y) for y in labels.revenue.T]
        pairs = zip(labels.revenue.T, known, strict=True)
        return [fit_smeared(matrix, y, seen, config).booster for y, seen in pairs]
    if config.form == "increments":
        return fit_increments(matrix, labels.revenue, rows, horizons, config).boosters
    if config.form == "experts":
        return _fit_experts(matrix, labels, rows, anchor, config)
    return fit_regressors(matrix, labels, rows, config, anchor)


def _fit_experts(matrix: Matrix, labels: Labels, rows: Mask, anchor: int, config: RegressorConfig) -> list[lgb.Booster]:
    options, revenue = config.experts or ExpertsConfig(), labels.revenue
    paid = rows & payers(revenue[:, anchor])
    part = np.arange(len(labels)) % ALIGNMENT_PARTS
    experts = fit_experts(
        matrix, revenue[:, anchor], paid, part, options.segments, options.selector or config, config, options.whales
    )
    others = [h for h in range(revenue.shape[1]) if h != anchor]
    return [*experts.boosters, *(fit_ratio(matrix, revenue[:, h], revenue[:, anchor], paid, config) for h in others)]
