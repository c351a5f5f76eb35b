r"""Losses of a score f whose prediction is ŷ = e^f, with gradients and curvatures; LightGBM boosts whatever they say.

A Newton step divides by the second derivative, which is negative or near 0 where a loss is not convex in f. So each
objective has the exact `hessian`, and a `curvature` for the trees: the exact one where that is safe, otherwise the
Gauss-Newton part of it, which is positive everywhere.

- `SquaredLogError`: ½ (log1p ŷ - log1p y)², MSLE with a log link.
- `HuberLog`: the pseudo-Huber loss δ² (√(1 + (r/δ)²) - 1) of the same residual r, linear beyond δ: a whale pulls with
  the force δ, however large it is.
- `order_penalty`: λ · Σ_h max(0, ŷ_h - ŷ_{h+1}), in units of the mean revenue, beside the loss of each horizon. It
  makes disorder dear; it does not make order certain, so the projection stays the last step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import lightgbm as lgb
import numpy as np

from training.learning.boosting import Floats, Mask, Matrix, shifted
from training.learning.options import BoosterConfig

LEAST_CURVATURE = 1e-6


class Objective(Protocol):
    """A loss a row of score f and revenue y ≥ 0, all of shape (n,)."""

    def loss(self, f: Floats, y: Floats) -> Floats:
        """The loss."""
        ...

    def gradient(self, f: Floats, y: Floats) -> Floats:
        """∂loss/∂f."""
        ...

    def hessian(self, f: Floats, y: Floats) -> Floats:
        """∂²loss/∂f²."""
        ...

    def curvature(self, f: Floats, y: Floats) -> Floats:
        """What a Newton step divides by: positive."""
        ...

    def start(self, y: Floats, weight: Floats) -> float:
        """The constant score to begin from: the best one, rows counting `weight`."""
        ...


@dataclass(frozen=True, slots=True)
class SquaredLogError:
    """½ (log1p e^f - log1p y)²."""

    def loss(self, f: Floats, y: Floats) -> Floats:
        """The loss."""
        return np.asarray(0.5 * _residual(f, y) ** 2)

    def gradient(self, f: Floats, y: Floats) -> Floats:
        """r·σ(f), with r = log1p e^f - log1p y."""
        return np.asarray(_residual(f, y) * _sigmoid(f))

    def hessian(self, f: Floats, y: Floats) -> Floats:
        """σ² + r·σ·(1 - σ): negative where the score is far below the revenue."""
        s = _sigmoid(f)
        return np.asarray(s * s + _residual(f, y) * s * (1.0 - s))

    def curvature(self, f: Floats, y: Floats) -> Floats:
        """The Hessian above the revenue, σ² below it."""
        s = _sigmoid(f)
        return np.asarray(np.maximum(s * s + np.maximum(_residual(f, y), 0.0) * s * (1.0 - s), LEAST_CURVATURE))

    def start(self, y: Floats, weight: Floats) -> float:
        """The score whose log1p is the mean log1p."""
        return _score_of_log1p(float(np.average(np.log1p(y), weights=weight)))


@dataclass(frozen=True, slots=True)
class HuberLog:
    """δ² (√(1 + (r/δ)²) - 1) of r = log1p e^f - log1p y."""

    delta: float = 1.0

    def loss(self, f: Floats, y: Floats) -> Floats:
        """The loss."""
        return np.asarray(self.delta**2 * (self._root(_residual(f, y)) - 1.0))

    def gradient(self, f: Floats, y: Floats) -> Floats:
        """r/q·σ(f), with q = √(1 + (r/δ)²)."""
        r = _residual(f, y)
        return np.asarray(r / self._root(r) * _sigmoid(f))

    def hessian(self, f: Floats, y: Floats) -> Floats:
        """σ²/q³ + r/q·σ·(1 - σ)."""
        r, s = _residual(f, y), _sigmoid(f)
        q = self._root(r)
        return np.asarray(s * s / q**3 + r / q * s * (1.0 - s))

    def curvature(self, f: Floats, y: Floats) -> Floats:
        """The Hessian with σ²/q, the weight of iteratively reweighted least squares, for σ²/q³; below y no more."""
        r, s = _residual(f, y), _sigmoid(f)
        q = self._root(r)
        return np.asarray(np.maximum(s * s / q + np.maximum(r, 0.0) / q * s * (1.0 - s), LEAST_CURVATURE))

    def start(self, y: Floats, weight: Floats) -> float:
        """The score whose log1p is the median log1p."""
        order = np.argsort(y, kind="stable")
        below = np.cumsum(weight[order])
        return _score_of_log1p(float(np.log1p(y[order][np.searchsorted(below, below[-1] / 2.0)])))

    def _root(self, r: Floats) -> Floats:
        return np.asarray(np.sqrt(1.0 + (r / self.delta) ** 2))


def order_penalty(f: Floats, scale: float) -> Floats:
    """Σ_h max(0, ŷ_h - ŷ_{h+1}) / scale of each row.

    Parameters
    ----------
    f : ndarray of shape (n, n_horizons)
        Scores, horizons rising.
    scale : float
        US dollars.

    Returns
    -------
    ndarray of shape (n,)
    """
    y_hat = np.exp(f)
    return np.asarray(np.maximum(y_hat[:, :-1] - y_hat[:, 1:], 0.0).sum(axis=1) / scale)


def order_gradient(f: Floats, scale: float) -> Floats:
    """(n, n_horizons) derivative of `order_penalty`: ŷ_h where it exceeds the next, less ŷ_h where it is exceeded."""
    above, below = _violations(f)
    return np.asarray((above.astype(np.float64) - below) * np.exp(f) / scale)


def order_hessian(f: Floats, scale: float) -> Floats:
    """(n, n_horizons) diagonal of the second derivative: ŷ is its own derivative, so the gradient once more."""
    return order_gradient(f, scale)


def order_curvature(f: Floats, scale: float) -> Floats:
    """(n, n_horizons) size of the gradient: positive on both sides of a violation."""
    return np.abs(order_gradient(f, scale))


def fit_custom(
    matrix: Matrix, objective: Objective, y: Floats, rows: Mask, config: BoosterConfig, weight: Floats | None = None
) -> lgb.Booster:
    """Boost an objective of one's own from its best constant, which becomes part of the booster.

    Parameters
    ----------
    matrix : Matrix of n rows
    objective : Objective
    y : ndarray of shape (n,), US dollars, ≥ 0
        Read where `rows` holds.
    rows : ndarray of shape (n,), bool
    config : BoosterConfig
    weight : ndarray of shape (n,), optional
    """
    label = y[rows]
    w = matrix.counts(rows) if weight is None else weight[rows] * matrix.counts(rows)  # ours: LightGBM adds none here
    start = objective.start(label, w)

    def derivatives(f: Floats, _: lgb.Dataset) -> tuple[Floats, Floats]:
        return objective.gradient(f, label) * w, objective.curvature(f, label) * w

    booster = matrix.begin(rows, config, init_score=start)
    for _ in range(config.rounds):
        booster.update(fobj=derivatives)
    return shifted(booster, start)


def _violations(f: Floats) -> tuple[Floats, Floats]:
    over = np.greater(f[:, :-1], f[:, 1:]).astype(np.float64)
    nothing = np.zeros((len(f), 1))
    return np.concatenate([over, nothing], axis=1), np.concatenate([nothing, over], axis=1)


def _residual(f: Floats, y: Floats) -> Floats:
    return np.asarray(np.logaddexp(0.0, f) - np.log1p(y))


def _sigmoid(f: Floats) -> Floats:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * f)))


def _score_of_log1p(z: float) -> float:
    """f with log1p(e^f) = z; of no revenue at all, that of a cent."""
    return float(np.log(np.expm1(max(z, 0.01))))
