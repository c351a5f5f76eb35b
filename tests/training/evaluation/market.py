"""A zero-inflated log-normal market whose truth is known, and predictors of known quality for it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.evaluation.ranking import Floats
from training.evaluation.rows import EvaluationRows, Oracle, Scored

HORIZONS = (1, 7, 14)
SHARES = np.array([0.5, 0.9, 1.0])
SIGMA = 1.0


def market(n: int, seed: int) -> tuple[Floats, EvaluationRows]:
    """X of shape (n, 3) and its rows: P(buy) and the payers' median depend on X, two columns matter."""
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(n, 3))
    p = 1.0 / (1.0 + np.exp(2.0 - 1.2 * X[:, 0]))
    mu = 1.0 + 0.8 * X[:, 1]
    buyer = (generator.random(n) < p).astype(np.float64)
    spend = buyer * np.exp(mu + SIGMA * generator.normal(size=n))
    mean = p * np.exp(mu + SIGMA**2 / 2.0)
    cohorts = {
        "country": generator.choice(["us", "de", "in"], size=n, p=[0.5, 0.3, 0.2]),
        "history_state": generator.choice(["present", "new"], size=n),
    }
    rows = EvaluationRows(spend[:, None] * SHARES, buyer, np.arange(n), cohorts, Oracle(p, mean[:, None] * SHARES))
    return X, rows


def constant(rows: EvaluationRows) -> Scored:
    """The means of the rows, for everyone."""
    n = rows.n
    log_mean = float(np.expm1(np.log1p(rows.y[:, 1]).mean()))
    return Scored(
        "constant",
        np.full(n, rows.buyer.mean()),
        np.tile(rows.y.mean(axis=0), (n, 1)),
        np.full(n, log_mean),
    )


def noisy_oracle(rows: EvaluationRows, name: str, noise: float, seed: int = 0) -> Scored:
    """The oracle's answers blurred by a log-normal factor of mean one."""
    assert rows.oracle is not None
    factor = np.exp(noise * np.random.default_rng(seed).normal(size=rows.n) - noise**2 / 2.0)
    ltv = rows.oracle.ltv * factor[:, None]
    return Scored(name, np.clip(rows.oracle.p_buyer * factor, 0.0, 1.0), ltv, ltv[:, 1] * 0.3)


def repeat(weights: Sequence[int], *arrays: Floats) -> list[Floats]:
    """Each row as often as its weight says: what an integer weight means."""
    return [np.repeat(array, weights, axis=0) for array in arrays]
