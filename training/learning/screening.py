r"""Features that can be seen to be of no use without a model: X enters, which columns stay leaves.

Missing is a value here like any other: a feature that is constant where it is known may still tell who has a history.
"""

from __future__ import annotations

import numpy as np

from training.learning.boosting import Floats, Ints, Mask

LEAST = 1e-300
ROUNDING = 1e-24
"""Square of what the mean of equal doubles may be off by, relative to them."""


def varies(X: Floats, least_variance: float) -> Mask:
    """Whether each feature varies, or is missing now and then.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
        Missing as NaN.
    least_variance : float
        Share of the mean square, so that no unit matters: 0 drops constants alone.

    Returns
    -------
    ndarray of shape (n_features,), bool
        Var x / E x² of the known values, or the variance of being known, is above it.
    """
    known = ~np.isnan(X)
    share, n = known.mean(axis=0), np.maximum(known.sum(axis=0), 1)
    x = np.where(known, X, 0.0)
    x /= np.maximum(np.abs(x).max(axis=0), LEAST)  # so that no square leaves the range
    deviation = np.where(known, x - x.sum(axis=0) / n, 0.0)
    variance, square = (deviation**2).sum(axis=0) / n, (x**2).sum(axis=0) / n
    # The mean of equal numbers is off by a rounding: that is no variance.
    moves = variance > max(least_variance, ROUNDING) * square
    return np.asarray(moves | (share * (1.0 - share) > least_variance))


def rank_correlation(X: Floats) -> Floats:
    """Spearman's correlation of every pair of features, (n_features, n_features); of a constant it is 0.

    Equal values share their mean rank, and missing ranks below everything.
    """
    ranks = np.column_stack([_ranks(np.where(np.isnan(x), -np.inf, x)) for x in X.T])
    ranks -= ranks.mean(axis=0)
    scale = np.sqrt((ranks**2).sum(axis=0))
    ranks /= np.where(scale > 0.0, scale, np.inf)
    return np.asarray(ranks.T @ ranks)


def distinct(X: Floats, strength: Floats, most_correlation: float) -> Mask:
    """Keep, from the strongest down, each feature that no stronger kept one stands for.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
    strength : ndarray of shape (n_features,)
        Of two that are alike the stronger stays; of two as strong the first.
    most_correlation : float
        Absolute rank correlation above which two features are alike; at 1 all are kept.

    Returns
    -------
    ndarray of shape (n_features,), bool
    """
    if most_correlation >= 1.0:
        return np.ones(X.shape[1], dtype=bool)
    alike = np.abs(rank_correlation(X)) > most_correlation
    kept = np.zeros(X.shape[1], dtype=bool)
    for j in np.argsort(-strength, kind="stable").tolist():
        kept[j] = not alike[j, kept].any()
    return kept


def _ranks(x: Floats) -> Floats:
    """Mean rank of each value, from 0."""
    _, place, counts = np.unique(x, return_inverse=True, return_counts=True)
    ends: Ints = np.cumsum(counts)
    return np.asarray((ends - (counts + 1) / 2.0)[place.ravel()])
