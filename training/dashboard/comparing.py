"""Two bundles' answers to the same rows enter; where and how far they disagree leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.errors import DataError
from training.dashboard.distributions import OTHERS
from training.dashboard.scoring import Answered
from training.evaluation.metrics import spearman
from training.learning.boosting import Floats

CLOSE = 0.1
"""Two prices are close when neither is more than this above the other."""

TOP = 0.1
DOTS = 2000
_LEAST = 1e-9


@dataclass(frozen=True)
class Agreement:
    """Two bundles at one horizon.

    Parameters
    ----------
    horizon : int
        Days.
    mean_first, mean_second : float
        US dollars per install.
    spearman : float
        Rank correlation of the two prices.
    close : float
        Share of rows whose prices differ by no more than `CLOSE`.
    shared_top : float
        Share of the first bundle's dearest tenth of rows that is also in the second's.
    """

    horizon: int
    mean_first: float
    mean_second: float
    spearman: float
    close: float
    shared_top: float


def check(first: Answered, second: Answered) -> None:
    """Refuse what can not be compared.

    Raises
    ------
    DataError
        When the horizons differ or the rows are not the same.
    """
    horizons = [one.bundle.predictor.declaration.targets.horizons for one in (first, second)]
    if horizons[0] != horizons[1]:
        expected, received = map(list, horizons)
        raise DataError(f"{second.bundle.name}: expected horizons {expected}, received {received}")
    if not np.array_equal(first.rows.sample.row_id, second.rows.sample.row_id):
        raise DataError(f"{second.bundle.name}: expected the same rows as {first.bundle.name}, received others")


def agreement(first: Answered, second: Answered) -> list[Agreement]:
    """How far the two agree, horizon by horizon."""
    found = []
    for column, horizon in enumerate(first.bundle.predictor.declaration.targets.horizons):
        a, b = first.predictions.ltv[:, column], second.predictions.ltv[:, column]
        close = float((np.abs(log_ratio(a, b)) <= np.log1p(CLOSE)).mean())
        found.append(Agreement(horizon, float(a.mean()), float(b.mean()), spearman(a, b), close, shared_top(a, b)))
    return found


def log_ratio(a: Floats, b: Floats) -> Floats:
    """log(b / a), shape (n,); prices below a billionth of a dollar count as that."""
    return np.asarray(np.log(np.maximum(b, _LEAST) / np.maximum(a, _LEAST)), dtype=np.float64)


def shared_top(a: Floats, b: Floats) -> float:
    """Share of the dearest tenth by `a` that is in the dearest tenth by `b`; of equals the earlier row comes first."""
    count = max(1, round(TOP * len(a)))
    dearest = (set(np.argsort(-prices, kind="stable")[:count].tolist()) for prices in (a, b))
    return len(set.intersection(*dearest)) / count


def pairs(first: Answered, second: Answered, column: int, seed: int = 0) -> list[dict[str, Any]]:
    """At most `DOTS` random rows for a scatter plot: {"first", "second", "row_id", "bought"}."""
    a, b = first.predictions.ltv[:, column], second.predictions.ltv[:, column]
    buyer = first.rows.sample.labels.buyer
    word = {1.0: "bought", 0.0: "did not buy"}
    chosen = np.sort(np.random.default_rng(seed).permutation(len(a))[:DOTS]).tolist()
    return [
        {
            "first": float(a[i]),
            "second": float(b[i]),
            "row_id": str(first.rows.sample.row_id[i]),
            "bought": word.get(float(buyer[i]), "unknown"),
        }
        for i in chosen
    ]


def by_group(first: Answered, second: Answered, column: int, groups: Sequence[str], top: int) -> list[dict[str, Any]]:
    """Mean price by each bundle in the groups with the most rows: {"group", "rows", "first", "second", "ratio"}."""
    a, b = first.predictions.ltv[:, column], second.predictions.ltv[:, column]
    names, code, counts = np.unique(np.array(groups, dtype=np.str_), return_inverse=True, return_counts=True)
    kept = np.argsort(-counts, kind="stable")[:top].tolist()
    members = [(str(names[i]), code == i) for i in kept]
    if not (rest := ~np.isin(code, kept)).any():
        return [_means(name, a[rows], b[rows]) for name, rows in members]
    return [_means(name, a[rows], b[rows]) for name, rows in [*members, (OTHERS, rest)]]


def furthest(first: Answered, second: Answered, column: int, count: int) -> list[int]:
    """Rows with the largest differences in US dollars, the largest first."""
    apart = np.abs(second.predictions.ltv[:, column] - first.predictions.ltv[:, column])
    return [int(i) for i in np.argsort(-apart, kind="stable")[:count]]


def _means(name: str, a: Floats, b: Floats) -> dict[str, Any]:
    first, second = float(a.mean()), float(b.mean())
    return {"group": name, "rows": len(a), "first": first, "second": second, "ratio": second / max(first, _LEAST)}
