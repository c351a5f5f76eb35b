r"""Ways to deal with the many who pay nothing, comparable by one switch: labels enter, E[y_h | x] of all rows leaves.

- `two_stage`: P(buy | x) · E[y_h | buy, x], regressors that learn from buyers alone.
- `converting_only`: the same regressors, without the gate. Their level is moved so that the revenue of all rows comes
  out in sum; who buys is told only as far as it goes with what buyers spend.
- `direct`: one Tweedie regressor a horizon, or an increment, on all rows, zeros and all.

The gate is fitted in any case, since `p_buyer` is part of the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import lightgbm as lgb
import numpy as np

from app.inference.forms import link
from app.inference.specification import EnsembleSpec
from training.learning.boosting import Floats, Mask, Matrix, shifted
from training.learning.classifier import fit_gate
from training.learning.forms import fit_form
from training.learning.labels import Labels
from training.learning.options import ClassifierConfig, RegressorConfig, Strategy
from training.learning.tails import LEAST_SIZE

SERVED: Final[dict[Strategy, str]] = {"two_stage": "two_stage", "converting_only": "free", "direct": "free"}
"""What the service is told of each: whether the gate multiplies."""

LEAST_P: Final = 1e-6
"""A probability below it, such as an isotonic curve's zero, counts as this where something is divided by it."""


@dataclass(frozen=True)
class ZeroInflated:
    """Fitted gate and horizons.

    Parameters
    ----------
    strategy : Strategy
    boosters : list of lightgbm.Booster
        The gate's logit, then those of the form, in the order of `forms.outputs_of`.
    """

    strategy: Strategy
    boosters: list[lgb.Booster]

    def p_buyer(self, raw: Floats) -> Floats:
        """sigmoid(f_gate) of raw scores (n, 1 + n_horizons); shape (n,)."""
        return np.asarray(1.0 / (1.0 + np.exp(-raw[:, 0])))

    def predict(self, raw: Floats) -> Floats:
        """E[y_h | x] of a log mean a horizon, up to a factor where the objective is no mean.

        Parameters
        ----------
        raw : ndarray of shape (n, 1 + n_horizons)

        Returns
        -------
        ndarray of shape (n, n_horizons), US dollars
            sigmoid(f_gate)·e^{f_h} of two stages, otherwise e^{f_h}.
        """
        means = np.exp(raw[:, 1:])
        return np.asarray(self.p_buyer(raw)[:, None] * means if self.strategy == "two_stage" else means)


def fit_strategy(
    strategy: Strategy,
    matrix: Matrix,
    labels: Labels,
    rows: Mask,
    horizons: Sequence[int],
    anchor: int,
    classifier: ClassifierConfig,
    regressors: RegressorConfig,
) -> ZeroInflated:
    """Fit gate and horizons.

    Parameters
    ----------
    strategy : Strategy
    matrix : Matrix of n rows
    labels : Labels of n rows
    rows : ndarray of shape (n,), bool
        Rows that may be seen.
    horizons : sequence of int, days
    anchor : int
        Position of the gate's horizon.
    classifier : ClassifierConfig
    regressors : RegressorConfig
        Any form but `chain`.
    """
    gate = fit_gate(matrix, labels, anchor, rows, classifier)
    if strategy == "direct" and regressors.form != "increments":
        return ZeroInflated(strategy, [gate, *_fit_direct(matrix, labels, rows, regressors)])
    taught = rows if strategy == "direct" else rows & np.equal(labels.buyer, 1.0)
    heads = fit_form(matrix, labels, taught, horizons, anchor, regressors)
    if strategy == "converting_only":
        heads = _levelled(matrix, heads, labels, rows, anchor)
    return ZeroInflated(strategy, [gate, *heads])


def revenue_of_buyers(raw: Floats, spec: EnsembleSpec, strategy: Strategy) -> Floats:
    """E[y_h | buy, x] of the base models up to a factor: the size by which payers' residuals are told.

    A model of all rows knows E[y | x] alone; its size of a buyer is that over P(buy | x). Residuals by E[y | x] itself
    would hold how unlikely each payer was, and the mean of their exponentials would be no level of anything.

    Parameters
    ----------
    raw : ndarray of shape (n, n_base_outputs)
    spec : EnsembleSpec
    strategy : Strategy

    Returns
    -------
    ndarray of shape (n_horizons, n), US dollars
        At least `LEAST_SIZE`.
    """
    linked = link(raw, spec)
    size = linked.expected / np.maximum(linked.p, LEAST_P) if strategy == "direct" else linked.conditional
    return np.asarray(np.maximum(size, LEAST_SIZE))


def _fit_direct(matrix: Matrix, labels: Labels, rows: Mask, config: RegressorConfig) -> list[lgb.Booster]:
    tweedie = {"objective": "tweedie", "tweedie_variance_power": config.tweedie_power}
    return [matrix.fit(tweedie, y, rows & np.isfinite(y), config) for y in labels.revenue.T]


def _levelled(matrix: Matrix, heads: list[lgb.Booster], labels: Labels, rows: Mask, anchor: int) -> list[lgb.Booster]:
    """The boosters with levels such that Σŷ = Σy over the rows.

    Horizons that begin with the anchor's trees get the anchor's level there and the rest behind them, so that the trees
    stay those of the anchor, which a library holds once.
    """
    levels = [_level(matrix, booster, y, rows) for booster, y in zip(heads, labels.revenue.T, strict=True)]
    first, own = heads[anchor].num_trees(), levels[anchor]
    return [
        shifted(shifted(booster, own), level - own, first) if booster.num_trees() > first else shifted(booster, level)
        for booster, level in zip(heads, levels, strict=True)
    ]


def _level(matrix: Matrix, booster: lgb.Booster, y: Floats, rows: Mask) -> float:
    known = rows & np.isfinite(y)
    counts = matrix.counts(known)
    return float(np.log((counts * y[known]).sum() / (counts * np.exp(matrix.scores(booster, known))).sum()))
