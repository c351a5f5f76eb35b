"""Calibrated revenue per horizon enters, the nearest revenue that never falls along the horizons leaves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


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
    projected[corrected] = _isotonic(values[corrected], weights)
    return np.maximum(projected, 0.0, out=projected), corrected


def _isotonic(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    n_horizons = values.shape[1]
    mean = {span: _mean(values, weights, *span) for span in _spans(n_horizons)}
    result = np.empty_like(values)
    for i in range(n_horizons):
        result[:, i] = _fold(
            np.maximum, [_fold(np.minimum, [mean[j, k] for k in range(i, n_horizons)]) for j in range(i + 1)]
        )
    return result


def _spans(n: int) -> list[tuple[int, int]]:
    return [(j, k) for j in range(n) for k in range(j, n)]


def _mean(values: NDArray[np.float64], weights: NDArray[np.float64], j: int, k: int) -> NDArray[np.float64]:
    """A(j, k), its terms added in order; a single value is itself, not w·a/w."""
    if j == k:
        return values[:, j]
    total = weights[j] * values[:, j]
    for i in range(j + 1, k + 1):
        total = total + weights[i] * values[:, i]
    quotient: NDArray[np.float64] = total / sum(weights[j : k + 1].tolist())
    return quotient


def _fold(ufunc: np.ufunc, arrays: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    result = arrays[0]
    for array in arrays[1:]:
        result = ufunc(result, array)
    return result
