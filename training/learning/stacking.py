r"""Stage 3: raw scores of the base models, out of fold, enter; small heads that correct them leave.

A head for each horizon's mean multiplies p · E[y_h | buy] by e^f: Tweedie deviance on tail-smoothed revenue, with
init_score = log(p · E[y_h | buy]), so that what it learns is the shape of the error and not the day's largest payers. A
last head learns E[log1p y] by least squares. Its X is `app.inference.ensemble.meta_features`, the one that is served.
"""

from __future__ import annotations

import lightgbm as lgb
import numpy as np

from app.inference.ensemble import gate_and_conditional
from app.inference.specification import EnsembleSpec
from training.config import BoosterConfig
from training.learning.boosting import Floats, Mask, Matrix

TWEEDIE = {"objective": "tweedie", "tweedie_variance_power": 1.5}
L2 = {"objective": "regression"}


def fit_meta(
    matrix: Matrix, raw: Floats, target: Floats, z: Floats, rows: Mask, spec: EnsembleSpec, config: BoosterConfig
) -> list[lgb.Booster]:
    """Fit the heads.

    Parameters
    ----------
    matrix : Matrix
        Of the meta-features of `raw`.
    raw : ndarray of shape (n, n_base_outputs)
        Out-of-fold raw scores.
    target : ndarray of shape (n, n_horizons), US dollars
        Tail-smoothed revenue on the scale of p · E[y | buy]; NaN where not mature.
    z : ndarray of shape (n,)
        log1p of realised revenue at the `log_mean` horizon; NaN where not mature.
    rows : ndarray of shape (n,), bool
        Rows that may be seen.
    spec : EnsembleSpec
    config : BoosterConfig

    Returns
    -------
    list of lightgbm.Booster
        One a horizon, then `log_mean`.
    """
    p, conditional = gate_and_conditional(raw, spec)
    heads = []
    for h in range(len(spec.horizons)):
        known = rows & np.isfinite(target[:, h])
        start = np.log(p * conditional[h])
        # The level is calibration's: starting on it, the trees are spent on shape.
        level = float(np.nansum(target[known, h]) / np.exp(start[known]).sum())
        heads.append(matrix.fit(TWEEDIE, target[:, h] / max(level, 1e-9), known, config, init_score=start))
    return [*heads, matrix.fit(L2, z, rows & np.isfinite(z), config)]
