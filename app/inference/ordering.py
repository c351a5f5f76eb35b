"""Calibrated revenue per horizon enters, the nearest revenue that never falls along the horizons leaves."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import add
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

FEW: Final = 8  # rows: up to here Python's floats are faster than numpy's calls

Pick = Callable[[Any, Any], Any]


def project(values: NDArray[np.float64], weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Project each row onto 0 ≤ y_1 ≤ y_2 ≤ … by weighted least squares (isotonic regression).

    Projecting onto a convex cone that holds the truth never raises a row's weighted squared error; a running
    maximum does. The min-max form of the solution is used for every number of horizons,

        m_i = max over j ≤ i of min over k ≥ i of A(j, k),    A(j, k) the weighted mean of values j..k

    [Robertson, Wright & Dykstra 1988, theorem 1.4.4]: for three horizons it is m1 = min(a1, A12, A123) and
    m3 = max(a3, A23, A123), and m2 needs no difference of sums, so that the order is exact in floating point.
    Elementwise operations only: a row's bits do not depend on its batch.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_horizons), float64, US dollars
        Finite.
    weights : ndarray of shape (n_horizons,), float64, positive

    Returns
    -------
    projected : ndarray of shape (n_rows, n_horizons), float64, US dollars
        An ordered row passes unchanged to the last bit (but for the clip at 0).
    corrected : ndarray of shape (n_rows,), bool
        Which rows were out of order.
    """
    ordered = values[:, :-1] <= values[:, 1:]
    if ordered.all():
        return np.maximum(values, 0.0), np.zeros(len(values), dtype=np.bool_)
    corrected = ~np.logical_and.reduce(ordered, axis=1)
    projected = values.copy()
    where, by_horizon = np.flatnonzero(corrected), weights.tolist()
    if len(where) <= FEW:
        for i in where.tolist():
            projected[i] = _isotonic(values[i].tolist(), by_horizon, min, max)
    else:
        projected[where] = np.stack(_isotonic(list(values[where].T), by_horizon, np.minimum, np.maximum), axis=1)
    return np.maximum(projected, 0.0, out=projected), corrected


def _isotonic(values: list[Any], weights: list[float], least: Pick, most: Pick) -> list[Any]:
    """The min-max form on one value a horizon: floats of one row or columns of many, the same operations."""
    n = len(values)
    mean = {(j, k): _mean(values, weights, j, k) for j in range(n) for k in range(j, n)}
    # The zero added makes -0.0 and 0.0, which min and np.minimum choose between differently, one number.
    return [
        reduce(most, (reduce(least, (mean[j, k] for k in range(i, n))) for j in range(i + 1))) + 0.0 for i in range(n)
    ]


def _mean(values: list[Any], weights: list[float], j: int, k: int) -> Any:
    """A(j, k), its terms added in order; a single value is itself, not w·a/w."""
    if j == k:
        return values[j]
    terms = [w * a for w, a in zip(weights[j : k + 1], values[j : k + 1], strict=True)]
    return reduce(add, terms) / reduce(add, weights[j : k + 1])
