r"""Stage 1: who buys. X, the gate's label and the rows enter; a booster whose score is an honest logit leaves.

Keeping a share of the negatives, or weighing the classes, moves the prior by a factor that depends on the class alone:
the booster gets it back as a constant on its logit (`resampling`), and all that reads the score reads the prior of
the data. A resampling by *revenue*, such as HistOS, has no such constant. Its remedy is an isotonic curve over
out-of-fold scores of rows that were not resampled, which is served with the gate (`recalibration.recalibrated`).
"""

from __future__ import annotations

import lightgbm as lgb
import numpy as np

from training.learning.boosting import Floats, Mask, Matrix, shifted
from training.learning.labels import Labels
from training.learning.options import ClassifierConfig
from training.learning.resampling import (
    log_odds_of_class_weights,
    log_odds_of_negatives_kept,
    negatives_kept,
    row_weights,
)

OBJECTIVE = {"objective": "binary"}


def fit_classifier(matrix: Matrix, buyer: Floats, rows: Mask, config: ClassifierConfig) -> lgb.Booster:
    """Fit P(buy | x).

    Parameters
    ----------
    matrix : Matrix of n rows
    buyer : ndarray of shape (n,)
        0 or 1; NaN, not mature, is left out.
    rows : ndarray of shape (n,), bool
        Rows that may be seen.
    config : ClassifierConfig

    Returns
    -------
    lightgbm.Booster
        Its raw score is a logit, on the prior of the rows as they came.
    """
    known, shift, weight = rows & np.isfinite(buyer), 0.0, None
    if config.negatives_kept < 1.0:
        known &= negatives_kept(buyer, config.negatives_kept, matrix.runtime.seed)
        shift += log_odds_of_negatives_kept(config.negatives_kept)
    if config.positive_weight != 1.0:
        weight = np.where(np.equal(buyer, 1.0), config.positive_weight, 1.0)
        shift += log_odds_of_class_weights(1.0, config.positive_weight)
    booster = matrix.fit(OBJECTIVE, buyer, known, config, weight=weight)
    return shifted(booster, shift) if shift != 0.0 else booster


def fit_gate(matrix: Matrix, labels: Labels, horizon: int, rows: Mask, config: ClassifierConfig) -> lgb.Booster:
    """Fit P(buy | x) as configured; where rows are resampled, the score still lacks its curve.

    Parameters
    ----------
    matrix : Matrix of n rows
    labels : Labels of n rows
    horizon : int
        Position of the horizon whose revenue is resampled.
    rows : ndarray of shape (n,), bool
        Rows that may be seen.
    config : ClassifierConfig
    """
    if config.resampling is None:
        return fit_classifier(matrix, labels.buyer, rows, config)
    revenue, known = np.nan_to_num(labels.revenue[:, horizon]), rows & np.isfinite(labels.buyer)
    weight = row_weights(revenue, known & np.equal(labels.buyer, 1.0), config.resampling, matrix.runtime.seed)
    return matrix.fit(OBJECTIVE, labels.buyer, known & (weight > 0.0), config, weight=weight)
