r"""Rows whose revenue is rare enter; how often each is to be seen, and what undoes it afterwards, leave.

HistOS and HistUS [Aminian, Ribeiro & Gama, MLJ 2025] balance the histogram of a heavy-tailed target. Its bins have
equal widths over log1p(y): over y itself all rows would fall into the first, and bins of equal counts would call
nothing rare. With c the rows of the own bin and C those of the fullest one, the rarity is r = exp(-B·c/C).

- HistUS keeps a row with probability r.
- HistOS keeps it once; then p = r, and while a uniform draw lies below p the row is kept again and p is divided by A.

A row that is seen k times and one of weight k have the same gradients, so a sampler's answer is given as a count a row.
Its expectation is the deterministic equivalent, w(r) = 1 + Σ_{k=1..41} r^k · A^{-k(k-1)/2} for HistOS and r for HistUS.

Resampling moves the prior of a classifier. Where a row's weight depends on its class alone that is undone exactly, by
a constant on the logit [Dal Pozzolo et al. 2015]: `log_odds_of_negatives_kept`, `log_odds_of_class_weights`. Where it
depends on more, as with HistOS, only a calibration on rows that were not resampled gives probabilities back.
"""

from __future__ import annotations

from math import log

import numpy as np

from training.learning.boosting import Floats, Ints, Mask
from training.learning.options import ResamplingConfig

MOST_COPIES = 41
"""Copies beside the row itself: the first, and at most forty more."""


def rarity(y: Floats, bins: int, strength: float) -> Floats:
    """How rare each row's revenue is among these rows.

    Parameters
    ----------
    y : ndarray of shape (n,), US dollars, ≥ 0
    bins : int
        Of equal width over log1p(y).
    strength : float
        B.

    Returns
    -------
    ndarray of shape (n,)
        r = exp(-B·c/C), in (0, 1).
    """
    z = np.log1p(y)
    if not len(z):
        return z
    low, width = float(z.min()), float(np.ptp(z)) / bins
    at = np.zeros(len(z), dtype=np.int64) if width == 0.0 else ((z - low) / width).astype(np.int64)
    at = np.minimum(at, bins - 1)  # the largest row closes the last bin
    counts = np.bincount(at, minlength=bins)
    return np.asarray(np.exp(-strength * counts[at] / counts.max()))


def oversampling_weight(r: Floats, decay: float) -> Floats:
    """HistOS as a weight: the expected number of times that a row is kept; `decay` is A, ≥ 1."""
    k = np.arange(1, MOST_COPIES + 1)
    return np.asarray(1.0 + (r[:, None] ** k * decay ** (-k * (k - 1) / 2.0)).sum(axis=1))


def oversampled(r: Floats, decay: float, seed: int) -> Ints:
    """HistOS as a sampler: how often each row is kept, at least once.

    Parameters
    ----------
    r : ndarray of shape (n,)
    decay : float
        A, ≥ 1.
    seed : int

    Returns
    -------
    ndarray of shape (n,), int64
    """
    rng = np.random.default_rng(seed)
    copies, p, going = np.ones(len(r), dtype=np.int64), r.copy(), np.ones(len(r), dtype=bool)
    for _ in range(MOST_COPIES):
        going &= rng.random(len(r)) < p
        copies += going
        p /= decay
    return copies


def undersampled(r: Floats, seed: int) -> Ints:
    """HistUS as a sampler: 1 where a row is kept, else 0; shape (n,), int64."""
    return (np.random.default_rng(seed).random(len(r)) < r).astype(np.int64)


def row_weights(y: Floats, rows: Mask, config: ResamplingConfig, seed: int) -> Floats:
    """How much each row counts once its revenue's histogram is balanced.

    Parameters
    ----------
    y : ndarray of shape (n,), US dollars, ≥ 0
        Read where `rows` holds.
    rows : ndarray of shape (n,), bool
        The rows that are resampled: their histogram it is.
    config : ResamplingConfig
    seed : int
        Of `samples`.

    Returns
    -------
    ndarray of shape (n,)
        0 where a row is not kept, 1 outside `rows`.
    """
    r = rarity(y[rows], config.bins, config.strength)
    weight = np.ones(len(y))
    if config.method == "histos":
        drawn = config.mode == "samples"
        weight[rows] = oversampled(r, config.decay, seed) if drawn else oversampling_weight(r, config.decay)
    else:
        weight[rows] = undersampled(r, seed) if config.mode == "samples" else r
    return weight


def negatives_kept(buyer: Floats, share: float, seed: int) -> Mask:
    """Every buyer, and each other row with probability `share`; shape (n,), bool."""
    return np.asarray(np.equal(buyer, 1.0) | (np.random.default_rng(seed).random(len(buyer)) < share))


def log_odds_of_negatives_kept(share: float) -> float:
    """What to add to the logit of a model that saw `share` of the negatives: log β.

    The same as p = β·p_s / ((β - 1)·p_s + 1) on its probability p_s.
    """
    return log(share)


def log_odds_of_class_weights(negative: float, positive: float) -> float:
    """What to add to the logit of a model that weighed the classes by w0 and w1: log(w0 / w1).

    The same as p = p_s·w0 / (p_s·w0 + (1 - p_s)·w1) on its probability p_s.
    """
    return log(negative / positive)
