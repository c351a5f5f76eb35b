r"""Stage 2: what buyers pay. One booster a horizon, all over the same X with a log link: they merge into one library.

The horizon of the gate, *the anchor* a, is learned first, from buyers who paid (`lognormal`: least squares on
log y_a. A log-normal tail has a sample mean that does not settle, its logarithm does; the level of the mean is
calibration's to find). The other horizons are ratios to it, learned from the same payers,

    E[y_h | buy, x] = E[y_a | buy, x] · E[y_h / y_a | x],

as further trees of a copy of the anchor's booster: the ratio has a fraction of the noise of the money, and horizons
that share their trees rarely fall out of order. The ratio R is fitted by Poisson deviance with the anchor's score s as
offset: label R·e^s with weight e^{-s} has the gradient e^f − R of the ratio's own score f.
"""

from __future__ import annotations

from typing import Any

import lightgbm as lgb
import numpy as np

from training.learning.boosting import Floats, Mask, Matrix, shifted
from training.learning.joint import fit_order_penalised
from training.learning.labels import Labels
from training.learning.objectives import HuberLog, SquaredLogError, fit_custom
from training.learning.options import RegressorConfig
from training.learning.resampling import row_weights
from training.learning.tails import payers

LARGEST_RATIO = 0.995
"""Quantile of R above which it is cut: a payer of a cent who then pays a hundred dollars is not a trend."""

POISSON = {"objective": "poisson"}

CUSTOM = ("msle", "huber_log")


def fit_regressors(
    matrix: Matrix, labels: Labels, rows: Mask, config: RegressorConfig, anchor: int
) -> list[lgb.Booster]:
    """Fit log E[y_h | buy, x] up to a constant a horizon: forms `ratios` and `separate`.

    Where rows are resampled, the curves that calibrate the horizons are the stage's recalibration: Σy/Σŷ by score, on
    rows that were not.

    Parameters
    ----------
    matrix : Matrix of n rows
    labels : Labels of n rows
    rows : ndarray of shape (n,), bool
        Rows that may be seen.
    config : RegressorConfig
    anchor : int
        Position of the gate's horizon.

    Returns
    -------
    list of lightgbm.Booster, one a horizon
    """
    revenue = labels.revenue
    known = rows & np.equal(labels.buyer, 1.0) & np.isfinite(revenue[:, anchor])
    weight = _weights(revenue[:, anchor], known, config, matrix.runtime.seed)
    seen = known if weight is None else known & (weight > 0.0)
    if config.objective == "order_penalised":
        return fit_order_penalised(matrix, revenue, seen, config, weight)
    if config.form == "separate":
        return [fit_conditional(matrix, y, seen & np.isfinite(y), config, weight) for y in revenue.T]
    base = fit_conditional(matrix, revenue[:, anchor], seen, config, weight)
    paid = known & payers(revenue[:, anchor])
    score = np.zeros(len(labels))
    score[paid] = matrix.scores(base, paid)
    return [
        base if h == anchor else _fit_ratio(matrix, base, score, revenue[:, h], revenue[:, anchor], paid, config)
        for h in range(revenue.shape[1])
    ]


def _weights(revenue: Floats, buyers: Mask, config: RegressorConfig, seed: int) -> Floats | None:
    return None if config.resampling is None else row_weights(revenue, buyers, config.resampling, seed)


def fit_conditional(
    matrix: Matrix, revenue: Floats, buyers: Mask, config: RegressorConfig, weight: Floats | None = None
) -> lgb.Booster:
    """Fit log E[y | buy, x] of one horizon, up to a constant, by the configured objective.

    Parameters
    ----------
    matrix : Matrix of n rows
    revenue : ndarray of shape (n,), US dollars, ≥ 0
    buyers : ndarray of shape (n,), bool
        Buyers that may be seen and whose revenue is mature; some may have none.
    config : RegressorConfig
        Any objective of a single horizon.
    weight : ndarray of shape (n,), optional
    """
    if config.objective in CUSTOM:
        custom = SquaredLogError() if config.objective == "msle" else HuberLog(config.huber_delta)
        return fit_custom(matrix, custom, revenue, buyers, config, weight)
    if config.objective == "tweedie":
        tweedie = {"objective": "tweedie", "tweedie_variance_power": config.tweedie_power}
        return matrix.fit(tweedie, revenue, buyers, config, weight=weight)
    paid = buyers & payers(revenue)
    if config.objective == "gamma":
        return matrix.fit({"objective": "gamma"}, revenue, paid, config, weight=weight)
    of_logs: dict[str, dict[str, Any]] = {
        "lognormal": {"objective": "regression"},
        "quantile": {"objective": "quantile", "alpha": config.quantile},
        "huber": {"objective": "huber", "alpha": config.huber_delta},
    }
    z = np.log(np.where(paid, revenue, 1.0))
    return matrix.fit(of_logs[config.objective], z, paid, config, weight=weight)


def _fit_ratio(
    matrix: Matrix,
    base: lgb.Booster,
    score: Floats,
    revenue: Floats,
    anchor: Floats,
    paid: Mask,
    config: RegressorConfig,
) -> lgb.Booster:
    ratio, rows = _ratios(revenue, anchor, paid)
    level = float(np.log(max(np.average(ratio[rows], weights=matrix.counts(rows)), 1e-6)))
    start = shifted(base, level)
    if config.ratio_rounds == 0:
        return start
    offset = np.exp(score + level)
    more = config.model_copy(update={"rounds": config.ratio_rounds})
    extended = matrix.extend(start, POISSON, ratio / np.exp(level) * offset, 1.0 / offset, rows, more)
    return _on_anchor(extended, base, level)


def fit_ratio(matrix: Matrix, revenue: Floats, anchor: Floats, paid: Mask, config: RegressorConfig) -> lgb.Booster:
    """Fit log E[y / y_a | x] of payers by trees of its own, `config.ratio_rounds` of them.

    Parameters
    ----------
    matrix : Matrix of n rows
    revenue, anchor : ndarray of shape (n,), US dollars
        Of the horizon and of the gate's; NaN where not mature.
    paid : ndarray of shape (n,), bool
        Rows that may be seen, all with revenue of the gate's horizon.
    config : RegressorConfig
    """
    ratio, rows = _ratios(revenue, anchor, paid)
    return matrix.fit(POISSON, ratio, rows, config.model_copy(update={"rounds": config.ratio_rounds}))


def _ratios(revenue: Floats, anchor: Floats, paid: Mask) -> tuple[Floats, Mask]:
    """R of each row, cut at its largest quantile, and the rows that have one."""
    rows = paid & np.isfinite(revenue)
    ratio = np.divide(revenue, anchor, out=np.zeros(len(revenue)), where=rows)
    return np.minimum(ratio, np.quantile(ratio[rows], LARGEST_RATIO)), rows


def _on_anchor(extended: lgb.Booster, base: lgb.Booster, level: float) -> lgb.Booster:
    """The same scores with the level in the first of the ratio's trees: what precedes are the anchor's own trees, which
    a library then holds once for all horizons.
    """
    copy = lgb.Booster(model_str=extended.model_to_string())
    first = base.num_trees()
    leaves = [tree["num_leaves"] for tree in copy.dump_model(num_iteration=first + 1)["tree_info"]]
    if len(leaves) == first:  # too few payers for a tree: the ratio is its level alone
        return extended
    for leaf in range(leaves[0]):
        copy.set_leaf_output(0, leaf, base.get_leaf_output(0, leaf))
    for leaf in range(leaves[first]):
        copy.set_leaf_output(first, leaf, copy.get_leaf_output(first, leaf) + level)
    return copy
