"""Baselines fitted on the model's own training rows: X and labels → five peers that anyone would try first.

They are what people ship: no out-of-fold stacking, no calibration, no order projection. Each gives the same
answers as the model, so that one table holds them all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from training.evaluation.baseline_boosters import BINARY, DEFAULTS, GAMMA, L2, TWEEDIE, Trainer, predict_rows
from training.evaluation.ranking import Floats

__all__ = [
    "DEFAULTS",
    "Baseline",
    "BaselinePrediction",
    "Constant",
    "LogLeastSquares",
    "Tweedie",
    "TwoStage",
    "Ziln",
    "fit_baselines",
]

_EXPONENT_LIMIT = 30.0
_LEAST_SQUARE = 1e-6
_Fit = TypeVar("_Fit")


@dataclass(frozen=True)
class BaselinePrediction:
    """`p_buyer` (n,) or None; `ltv` (n, n_horizons) and `log_mean` (n,) in US dollars."""

    p_buyer: Floats | None
    ltv: Floats
    log_mean: Floats


class Baseline(Protocol):
    """A fitted baseline."""

    @property
    def name(self) -> str:
        """What the tables call it."""
        ...

    def predict(self, X: Floats) -> BaselinePrediction:
        """Answers for X of shape (n, n_features)."""
        ...


def _columns(boosters: Sequence[lgb.Booster], X: Floats) -> Floats:
    return np.column_stack([predict_rows(booster, X) for booster in boosters])


@dataclass(frozen=True)
class Constant:
    """The training means, for everyone."""

    p_buyer: float
    ltv: Floats
    log_mean: float
    name: str = "constant"

    def predict(self, X: Floats) -> BaselinePrediction:
        """The same answer n times."""
        n = X.shape[0]
        return BaselinePrediction(np.full(n, self.p_buyer), np.tile(self.ltv, (n, 1)), np.full(n, self.log_mean))


@dataclass(frozen=True)
class Tweedie:
    """One Tweedie booster a horizon (power 1.5, log link). Its mean also has to answer MSLE."""

    boosters: list[lgb.Booster]
    log_column: int
    name: str = "tweedie"

    def predict(self, X: Floats) -> BaselinePrediction:
        """Means by horizon."""
        ltv = _columns(self.boosters, X)
        return BaselinePrediction(None, ltv, ltv[:, self.log_column])


@dataclass(frozen=True)
class LogLeastSquares:
    """One L2 booster on z = log1p y a horizon.

    `log_mean` is expm1(μ); the mean is retransformed by Duan's smearing, S·e^μ − 1 with S = mean exp(z − μ)
    over the training rows [Duan 1983], and not below 0.
    """

    boosters: list[lgb.Booster]
    smearing: Floats
    log_column: int
    name: str = "log1p_l2"

    def predict(self, X: Floats) -> BaselinePrediction:
        """Smeared means by horizon, and the log answer."""
        mu = _columns(self.boosters, X)
        ltv = np.maximum(self.smearing * np.exp(mu) - 1.0, 0.0)
        return BaselinePrediction(None, ltv, np.maximum(np.expm1(mu[:, self.log_column]), 0.0))


@dataclass(frozen=True)
class TwoStage:
    """P(buy) by a binary booster × E[y_h | buy] by Tweedie boosters on buyers (a tenth of them pay nothing).

    Its log answer is expm1(p·m), m an L2 booster on the buyers' log1p revenue.
    """

    classifier: lgb.Booster
    boosters: list[lgb.Booster]
    log_booster: lgb.Booster
    name: str = "two_stage"

    def predict(self, X: Floats) -> BaselinePrediction:
        """p, p·E[y | buy] by horizon, and the log answer."""
        p = predict_rows(self.classifier, X)
        ltv = p[:, None] * _columns(self.boosters, X)
        return BaselinePrediction(p, ltv, np.maximum(np.expm1(p * predict_rows(self.log_booster, X)), 0.0))


@dataclass(frozen=True)
class Ziln:
    """Zero-inflated log-normal by three boosters a horizon: p = P(y > 0), log y ~ Normal(μ, s²) of payers.

    Prediction p·exp(μ + s²/2) [Wang et al. 2019]. p is a binary booster and μ an L2 booster on log y; s² is
    a gamma booster with log link on squared residuals: given μ, the gamma deviance of r² is, up to a
    factor, the log-normal likelihood's ½·log s² + r²/(2s²), so the three maximise the paper's likelihood in
    turn. Residuals are of a μ fitted on the other half of the payers: in-sample ones would understate s². p
    is of paying at the horizon, not of the gate, so `p_buyer` is None. `log_mean` integrates log1p over the
    log-normal by Gauss-Hermite quadrature.
    """

    payers: list[lgb.Booster]
    mus: list[lgb.Booster]
    variances: list[lgb.Booster]
    log_column: int
    name: str = "ziln"

    def predict(self, X: Floats) -> BaselinePrediction:
        """Means by horizon, and the log answer."""
        p, mu, s2 = (_columns(boosters, X) for boosters in (self.payers, self.mus, self.variances))
        ltv = p * np.exp(np.minimum(mu + s2 / 2.0, _EXPONENT_LIMIT))
        h = self.log_column
        log_mean = np.expm1(p[:, h] * _expected_log1p(mu[:, h], np.sqrt(s2[:, h])))
        return BaselinePrediction(None, ltv, log_mean)


def _expected_log1p(mu: Floats, s: Floats) -> Floats:
    """E[log1p(e^Z)], Z ~ Normal(mu, s²), by 15-point Gauss-Hermite quadrature; shape (n,)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(15)
    values = np.logaddexp(0.0, mu[:, None] + s[:, None] * nodes)
    return np.asarray(np.einsum("nk,k->n", values, weights / weights.sum()), dtype=np.float64)


def _fit_log(trainer: Trainer, y: Floats) -> tuple[lgb.Booster, float]:
    """The L2 booster of log1p y, and its smearing."""
    known = np.isfinite(y)
    z = np.log1p(np.where(known, y, 0.0))
    booster = trainer.fit(L2, z, known)
    factors = np.exp(z[known] - predict_rows(booster, trainer.X[known], 1))
    return booster, float(np.average(factors, weights=trainer.counts(known)))


def _fit_payers(trainer: Trainer, y: Floats) -> lgb.Booster:
    """P(y > 0)."""
    paying = np.greater(np.nan_to_num(y), 0.0)
    return trainer.fit(BINARY, paying.astype(np.float64), np.isfinite(y))


def _fit_lognormal(trainer: Trainer, y: Floats, half: NDArray[np.int64]) -> tuple[lgb.Booster, lgb.Booster]:
    """μ of the payers, and s² from the residuals of each half by a μ of the other."""
    paying = np.greater(np.nan_to_num(y), 0.0)
    z = np.log(np.where(paying, y, 1.0))
    mu = trainer.fit(L2, z, paying)
    square = np.ones(y.shape[0])
    for fold in (0, 1):
        held = paying & (half == fold)
        other = trainer.fit(L2, z, paying & (half != fold))
        square[held] = (z[held] - predict_rows(other, trainer.X[held], 1)) ** 2
    return mu, trainer.fit(GAMMA, np.maximum(square, _LEAST_SQUARE), paying)


def _constant(trainer: Trainer, gate: Floats, labels: Sequence[Floats], log_label: Floats) -> Constant:
    def mean(values: Floats) -> float:
        known = np.isfinite(values)
        return float(np.average(values[known], weights=trainer.counts(known)))

    return Constant(mean(gate), np.array([mean(label) for label in labels]), float(np.expm1(mean(np.log1p(log_label)))))


def fit_baselines(
    X: Floats,
    y: Mapping[int, Floats],
    buyer: Floats,
    *,
    horizons: Sequence[int],
    seed: int,
    num_threads: int,
    params: Mapping[str, Any] | None = None,
    log_horizon: int = 7,
    sample_weight: Floats | None = None,
) -> list[Baseline]:
    """Fit the five baselines.

    Parameters
    ----------
    X : ndarray of shape (n, n_features), float64
        The model's own training matrix, missing as NaN.
    y : mapping of int to ndarray of shape (n,)
        Realised revenue by horizon in days, US dollars, ≥ 0; NaN where the label is not mature.
    buyer : ndarray of shape (n,), 0 or 1
        The gate's label; NaN where it is not mature.
    horizons : sequence of int
        Days, in the order of the answer's columns.
    seed, num_threads : int
    params : mapping, optional
        LightGBM parameters (and `num_boost_round`) over `DEFAULTS`.
    log_horizon : int
        The horizon that `log_mean` speaks of.
    sample_weight : ndarray of shape (n,), optional
        How many rows each stands for.

    Returns
    -------
    list of Baseline
        `constant`, `tweedie`, `log1p_l2`, `two_stage`, `ziln`.

    Raises
    ------
    ValueError
        When `log_horizon` is not among the horizons.
    """
    labels, column = [np.asarray(y[h], dtype=np.float64) for h in horizons], list(horizons).index(log_horizon)
    gate = np.asarray(buyer, dtype=np.float64)
    known_gate, buys = np.isfinite(gate), np.nan_to_num(gate) > 0.0
    log_label = labels[column]
    half = np.random.default_rng(seed).integers(0, 2, size=(len(X),), dtype=np.int64)
    trainer = Trainer(X, seed, num_threads, params or {}, sample_weight)
    with ThreadPoolExecutor(num_threads) as pool:

        def each(fit: Callable[[Floats], _Fit]) -> list[Future[_Fit]]:
            return [pool.submit(fit, label) for label in labels]

        # The long ones first, so that no thread ends alone with one of them.
        logs = each(lambda label: _fit_log(trainer, label))
        means = each(lambda label: trainer.fit(TWEEDIE, label, np.isfinite(label)))
        paying = each(lambda label: _fit_payers(trainer, label))
        classifier = pool.submit(trainer.fit, BINARY, gate, known_gate)
        conditional = each(lambda label: trainer.fit(TWEEDIE, label, buys & np.isfinite(label)))
        log_booster = pool.submit(trainer.fit, L2, np.log1p(log_label), buys & np.isfinite(log_label))
        lognormals = each(lambda label: _fit_lognormal(trainer, label, half))
    smeared, sizes = _results(logs), _results(lognormals)
    return [
        _constant(trainer, gate, labels, log_label),
        Tweedie(_results(means), column),
        LogLeastSquares([one for one, _ in smeared], np.array([s for _, s in smeared]), column),
        TwoStage(classifier.result(), _results(conditional), log_booster.result()),
        Ziln(_results(paying), [mu for mu, _ in sizes], [s2 for _, s2 in sizes], column),
    ]


def _results(futures: Sequence[Future[_Fit]]) -> list[_Fit]:
    return [future.result() for future in futures]
