"""Predictions of the calibration slice enter; the references of bids and the priors of cohorts leave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from app.features.encoders import normalise
from app.inference.ensemble import Predictions
from app.inference.prior import Prior
from app.inference.specification import MultiplierSpec
from training.config import MultiplierConfig
from training.learning.boosting import LEAST_WEIGHT, Floats, Ints

Texts = NDArray[np.object_]


def fit_multiplier(
    ltv: Floats, advertisers: Texts, config: MultiplierConfig, weight: Floats | None = None
) -> MultiplierSpec:
    """Mean ltv by advertiser, shrunk to that of all: (Σ w·ltv + k·mean) / (Σ w + k).

    Parameters
    ----------
    ltv : ndarray of shape (n,), US dollars
        Predicted, of the horizon `config.horizon`.
    advertisers : ndarray of shape (n,), object
        Texts as the data have them, None where missing.
    config : MultiplierConfig
        k is `prior_rows`.
    weight : ndarray of shape (n,), optional
        How many rows each stands for.
    """
    w = _mean_one(weight, len(ltv))
    overall = max(float(np.average(ltv, weights=w)), 1e-12)
    names, codes = _groups(advertisers)
    sums, counts = np.bincount(codes, w * ltv, len(names)), np.bincount(codes, w, len(names))
    means = (sums + config.prior_rows * overall) / (counts + config.prior_rows)
    own = {str(name): float(mean) for name, mean in zip(names, means, strict=True) if name is not None}
    return MultiplierSpec(config.by, config.horizon, config.alpha, config.lo, config.hi, overall, own)


def fit_prior(
    predictions: Predictions,
    columns: Mapping[str, Texts],
    levels: Sequence[Sequence[str]],
    k: float,
    weight: Floats | None = None,
) -> Prior:
    """Mean answers by cohort, each level shrunk to the next wider one by `k` rows.

    Parameters
    ----------
    predictions : Predictions of n rows
    columns : mapping of str to ndarray of shape (n,), object
        Texts of every field that a level names, None where missing.
    levels : sequence of sequence of str
        Most specific first; the level of all rows is added.
    k : float
    weight : ndarray of shape (n,), optional
        How many rows each stands for.

    Returns
    -------
    Prior
        Values: p_buyer, ltv of each horizon, log_mean. A row with a missing field is in no cohort of that level; rows
        of no weight make none.
    """
    answers = np.column_stack([predictions.p_buyer, predictions.ltv, predictions.log_mean])
    w = _mean_one(weight, len(answers))[:, None]
    expected = np.tile(np.average(answers, axis=0, weights=w[:, 0]), (len(answers), 1))
    tables: list[dict[str, tuple[float, ...]]] = [{"": _rising(expected[0])}]
    for level in reversed([tuple(level) for level in levels]):
        names, codes = _groups(_joined(columns, level, len(answers)))
        counts = np.bincount(codes, w[:, 0], len(names))[:, None]
        sums, wider = (_sums(w * values, codes, len(names)) for values in (answers, expected))
        means = (sums + k * wider / np.maximum(counts, LEAST_WEIGHT)) / (counts + k)
        told = counts[:, 0] > 0.0  # rows of no weight say nothing: their cohort has the answer of the wider one
        expected = np.where([[names[c] is None or not told[c]] for c in codes], expected, means[codes])
        found = zip(names, means, told, strict=True)
        tables.append({str(n): _rising(m) for n, m, known in found if n is not None and known})
    return Prior((*map(tuple, levels), ()), tuple(reversed(tables)))


def _mean_one(weight: Floats | None, n: int) -> Floats:
    """Weights on the scale of rows, which `prior_rows` is on as well."""
    return np.ones(n) if weight is None else weight / max(float(weight.mean()), LEAST_WEIGHT)


def _joined(columns: Mapping[str, Texts], level: Sequence[str], n: int) -> Texts:
    parts = [columns[name].tolist() for name in level]
    rows = zip(*parts, strict=True)
    joined = [None if None in row else "|".join(map(normalise, row)) for row in rows]
    return np.array([*joined, None], dtype=object)[:n]


def _groups(texts: Texts) -> tuple[list[str | None], Ints]:
    positions: dict[str | None, int] = {}
    codes = [positions.setdefault(text, len(positions)) for text in texts.tolist()]
    return list(positions), np.array(codes, dtype=np.int64)


def _sums(values: Floats, codes: Ints, n: int) -> Floats:
    return np.column_stack([np.bincount(codes, column, n) for column in values.T])


def _rising(values: Floats) -> tuple[float, ...]:
    """As numbers, the horizons kept in order against rounding in the sums."""
    ltv = np.maximum.accumulate(values[1:-1])
    return (float(values[0]), *ltv.tolist(), float(values[-1]))
