r"""Probabilities and what came true of them enter; a curve that calibrates them leaves. Two estimators beside `binned`.

- Isotonic regression: the rising step function of least squares, its blocks joined by straight lines.
- Beta calibration [Kull, Silva Filho & Flach, AISTATS 2017]: logit c(p) = a·log p - b·log(1 - p) + c with a, b ≥ 0, by
  maximum likelihood. It holds the identity (1, 1, 0) and the prior's shift (1, 1, c). Served as a curve with so many
  knots that the straight lines between them stay within 0.1 % of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.isotonic import IsotonicRegression

from app.inference.specification import Curve
from training.learning.boosting import LEAST_WEIGHT, Floats
from training.learning.calibration import fit_probability
from training.learning.options import CalibrationConfig

SMALLEST, LARGEST = 1e-7, 1.0 - 1e-7
BETA_KNOTS = 400
"""Evenly spaced in the logit: 0.08 apart, a chord's error at most 0.08²/8 = 0.08 % of the value."""
_STEPS, _CONVERGED, _RIDGE = 50, 1e-10, 1e-9


@dataclass(frozen=True, slots=True)
class Beta:
    """a, b ≥ 0 and c of logit c(p) = a·log p - b·log(1 - p) + c."""

    a: float
    b: float
    c: float

    def predict(self, p: Floats) -> Floats:
        """The calibrated probability, shape (n,)."""
        left, right = _logs(p)
        return np.asarray(1.0 / (1.0 + np.exp(-(self.a * left + self.b * right + self.c))))


def fit_curve(p: Floats, buyer: Floats, config: CalibrationConfig, weight: Floats | None = None) -> Curve:
    """Fit the configured curve of P(buy), rising from (0, ·).

    Parameters
    ----------
    p : ndarray of shape (n,)
    buyer : ndarray of shape (n,)
        0 or 1; NaN is left out.
    config : CalibrationConfig
    weight : ndarray of shape (n,), optional
        How many rows each stands for.
    """
    if config.probability == "isotonic":
        return fit_isotonic(p, buyer, weight)
    if config.probability == "beta":
        return beta_curve(fit_beta(p, buyer, weight))
    return fit_probability(p, buyer, config, weight)


def fit_isotonic(p: Floats, buyer: Floats, weight: Floats | None = None) -> Curve:
    """Fit isotonic regression; arguments as of `fit_curve`.

    A block without a buyer would say that a purchase is impossible: nothing is put below one in n + 2 rows.
    """
    known = np.isfinite(buyer)
    least = IsotonicRegression(y_min=1.0 / (known.sum() + 2.0), y_max=1.0)
    fitted = least.fit(p[known], buyer[known], sample_weight=None if weight is None else weight[known])
    x, y = (np.asarray(v, dtype=np.float64) for v in (fitted.X_thresholds_, fitted.y_thresholds_))
    apart = np.concatenate([[True], np.diff(x) > 0.0])
    return Curve(x[apart], np.maximum.accumulate(y[apart]))


def fit_beta(p: Floats, buyer: Floats, weight: Floats | None = None) -> Beta:
    """Fit beta calibration; arguments as of `fit_curve`.

    A coefficient that comes out negative would turn the order of the rows around: it is set to 0 and the rest fitted
    again, as the authors do.
    """
    known = np.isfinite(buyer)
    left, right = _logs(p[known])
    columns = np.column_stack([left, right, np.ones(len(left))])
    w = np.ones(len(left)) if weight is None else weight[known] / max(float(weight[known].mean()), LEAST_WEIGHT)
    free = np.ones(3, dtype=bool)
    while True:
        theta = np.zeros(3)
        theta[free] = _logistic(columns[:, free], buyer[known], w)
        if (theta[:2] >= 0.0).all():
            return Beta(*theta.tolist())
        free[int(np.argmin(theta[:2]))] = False


def beta_curve(beta: Beta) -> Curve:
    """The piecewise linear curve of a beta calibration."""
    ends = [float(np.log(q / (1.0 - q))) for q in (SMALLEST, LARGEST)]
    inner = 1.0 / (1.0 + np.exp(-np.linspace(ends[0], ends[1], BETA_KNOTS)))
    x = np.concatenate([[0.0], inner, [1.0]])
    return Curve(x, np.maximum.accumulate(beta.predict(x)))


def _logs(p: Floats) -> tuple[Floats, Floats]:
    """log p and -log(1 - p), kept finite."""
    inside = np.clip(p, SMALLEST, LARGEST)
    return np.log(inside), -np.log1p(-inside)


def _logistic(columns: Floats, label: Floats, weight: Floats) -> Floats:
    """Maximum likelihood of a logistic regression by Newton's method, shape (n_columns,), from columns of n rows."""
    theta = np.zeros(columns.shape[1])
    before = np.inf
    for _ in range(_STEPS):
        eta = columns @ theta
        mean = 1.0 / (1.0 + np.exp(-eta))
        gradient = columns.T @ (weight * (mean - label))
        hessian = (columns * (weight * mean * (1.0 - mean))[:, None]).T @ columns + _RIDGE * np.eye(len(theta))
        step = np.linalg.solve(hessian, gradient)
        loss = float(weight @ (np.logaddexp(0.0, eta) - label * eta))
        # Newton can overshoot from afar: halve until the likelihood no longer falls.
        while np.abs(step).max() > _CONVERGED and _loss(columns, label, weight, theta - step) > loss:
            step = step / 2.0
        theta = theta - step
        if abs(before - loss) <= _CONVERGED * max(loss, 1.0):
            break
        before = loss
    return theta


def _loss(columns: Floats, label: Floats, weight: Floats, theta: Floats) -> float:
    eta = columns @ theta
    return float(weight @ (np.logaddexp(0.0, eta) - label * eta))
