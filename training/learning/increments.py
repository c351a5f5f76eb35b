r"""Revenue as what each horizon adds to the one before: labels enter, a booster an increment leaves.

    E[y_h | x] = Σ_{k ≤ h} E[y_k - y_{k-1} | x],    y_{-1} = 0

Each increment has a log link, so that every term is positive and the order D1 ≤ D7 ≤ D14 holds by construction
[arXiv 2101.02284]. Each is fitted on its own mature window: the newest rows, whose D14 is not known yet, still teach
what the first day is worth. Tweedie deviance, because most increments are nothing at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import lightgbm as lgb
import numpy as np

from app.errors import DataError
from training.learning.boosting import Floats, Mask, Matrix
from training.learning.options import RegressorConfig


@dataclass(frozen=True)
class Increments:
    """Fitted increments.

    Parameters
    ----------
    boosters : list of lightgbm.Booster
        One a horizon; raw score k is log E[y_k - y_{k-1} | x].
    refunds : tuple of int
        Rows of each horizon whose revenue fell below the one before: taken as no change.
    """

    boosters: list[lgb.Booster]
    refunds: tuple[int, ...]

    def predict(self, raw: Floats) -> Floats:
        """E[y_h | x] of raw scores, both (n, n_horizons): e^{f_0}, then + e^{f_1}, and so on."""
        return np.cumsum(np.exp(raw), axis=1)


def fit_increments(
    matrix: Matrix, revenue: Floats, rows: Mask, horizons: Sequence[int], config: RegressorConfig
) -> Increments:
    """Fit what each horizon adds.

    Parameters
    ----------
    matrix : Matrix of n rows
    revenue : ndarray of shape (n, n_horizons), US dollars, ≥ 0
        NaN where a horizon is not mature; one that is mature has mature ones before it.
    rows : ndarray of shape (n,), bool
        Rows that may be seen: buyers, for E[y | buy, x], or all of them.
    horizons : sequence of int
        Days, for what an error says.
    config : RegressorConfig
        `tweedie_power` and the trees.

    Raises
    ------
    DataError
        Where no row of a horizon adds anything.
    """
    tweedie = {"objective": "tweedie", "tweedie_variance_power": config.tweedie_power}
    boosters, refunds = [], []
    for h, added in enumerate(np.diff(revenue, axis=1, prepend=0.0).T):
        known = rows & np.isfinite(added)
        if not (added[known] > 0.0).any():
            raise DataError(f"d{horizons[h]}: expected revenue beyond the horizon before it, received none")
        boosters.append(matrix.fit(tweedie, np.maximum(np.nan_to_num(added), 0.0), known, config))
        refunds.append(int((added[known] < 0.0).sum()))
    return Increments(boosters, tuple(refunds))
