r"""A stage that was trained on resampled rows: its predictions and what came true enter, a curve that mends it leaves.

Resampling by revenue makes a stage predict the mean of another population. With w the times that a row was seen,
E[y | x] = E_s[y / w | x] / E_s[1 / w | x] over the rows as they were seen; over rows that were not resampled w is 1.
Either way the curve is the ratio Σ(y / w) / Σ(ŷ / w) by score, shrunk by its noise like every other curve
(`calibration.fit_ltv`): the conditional mean of a bin, and not of a row, is what the data can tell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.inference import specification
from app.inference.forms import link
from app.inference.specification import Curve, EnsembleSpec
from training.learning.boosting import Floats
from training.learning.calibration import fit_ltv
from training.learning.labels import Labels
from training.learning.options import CalibrationConfig
from training.learning.probability import fit_isotonic
from training.learning.tails import payers


@dataclass(frozen=True)
class Recalibration:
    """A factor by score.

    Parameters
    ----------
    curve : Curve
        log1p(ŷ) → factor.
    """

    curve: Curve

    def predict(self, y_hat: Floats) -> Floats:
        """ŷ · factor(log1p ŷ), US dollars; it never falls as ŷ rises. Shape (n,)."""
        return np.asarray(y_hat * np.interp(np.log1p(y_hat), self.curve.x, self.curve.y))


def fit_recalibration(
    y: Floats, y_hat: Floats, config: CalibrationConfig, seen: Floats | None = None, weight: Floats | None = None
) -> Recalibration:
    """Fit the factor of a stage.

    Parameters
    ----------
    y : ndarray of shape (n,), US dollars
        What came true; NaN is left out.
    y_hat : ndarray of shape (n,), US dollars
        Predictions of models that did not see the row.
    config : CalibrationConfig
    seen : ndarray of shape (n,), optional
        How often each of these rows was kept or weighed, > 0, where they are the resampled ones.
    weight : ndarray of shape (n,), optional
        How many rows each stands for.
    """
    undone = weight if seen is None else (1.0 if weight is None else weight) / seen
    return Recalibration(fit_ltv(y_hat, y, payers(y), config, undone))


def recalibrated(
    raw: Floats, labels: Labels, spec: EnsembleSpec, config: CalibrationConfig, *, gate: bool, horizons: bool
) -> specification.Recalibration:
    """What the service applies to stages that were trained on resampled rows, fitted on the rows as they came.

    Parameters
    ----------
    raw : ndarray of shape (n, n_base_outputs)
        Out-of-fold scores.
    labels : Labels of n rows
    spec : EnsembleSpec
        Without a recalibration.
    config : CalibrationConfig
    gate, horizons : bool
        Which of the stages saw resampled rows.
    """
    if not (gate or horizons):
        return specification.Recalibration()
    linked = link(raw, spec)
    taught = np.equal(labels.buyer, 1.0) if spec.strategy == "two_stage" else np.ones(len(labels), dtype=bool)
    pairs = zip(labels.revenue.T, linked.conditional, strict=True)
    stands_for = None if labels.weight is None else labels.weight[taught]
    ltv = (
        tuple(fit_recalibration(y[taught], c[taught], config, None, stands_for).curve for y, c in pairs)
        if horizons
        else ()
    )
    return specification.Recalibration(fit_isotonic(linked.p, labels.buyer, labels.weight) if gate else None, ltv)
