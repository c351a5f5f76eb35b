"""Stage 1: who buys. A booster of the gate, trained on every mature row as it is: no resampling, no class weights."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np

from training.config import BoosterConfig
from training.learning.boosting import Floats, Mask, Matrix

OBJECTIVE = {"objective": "binary"}


def fit_classifier(matrix: Matrix, buyer: Floats, rows: Mask, config: BoosterConfig) -> lgb.Booster:
    """Fit P(buy | x).

    Parameters
    ----------
    matrix : Matrix of n rows
    buyer : ndarray of shape (n,)
        0 or 1; NaN, not mature, is left out.
    rows : ndarray of shape (n,), bool
        Rows that may be seen.
    config : BoosterConfig

    Returns
    -------
    lightgbm.Booster
        Its raw score is a logit.
    """
    return matrix.fit(OBJECTIVE, buyer, rows & np.isfinite(buyer), config)
