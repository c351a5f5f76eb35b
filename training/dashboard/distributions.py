"""How answers are spread: predictions and groups enter; histograms on a logarithmic scale and quantiles leave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from training.learning.boosting import Floats

BINS = 50
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
OTHERS = "(others)"

Line = dict[str, Any]


def log_edges(values: Floats, bins: int = BINS) -> Floats:
    """Edges (bins + 1,) of equal width in the logarithm, from the smallest positive value to the largest."""
    positive = values[values > 0.0]
    if not positive.size:
        return np.geomspace(1e-3, 1.0, bins + 1)
    low, high = float(positive.min()), float(positive.max())
    edges = np.geomspace(low, max(high, low * 1.001), bins + 1)
    edges[0], edges[-1] = low, max(high, edges[-1])  # rounding may not push an end out of its bin
    return np.asarray(edges, dtype=np.float64)


def histogram(values: Floats, edges: Floats, name: str) -> list[Line]:
    """Share of all rows in each bin; rows at or below zero are in none.

    Returns
    -------
    list of {"of": name, "low", "high", "share", "rows"}
    """
    counts, _ = np.histogram(values[values > 0.0], edges)
    return [
        {"of": name, "low": float(low), "high": float(high), "share": int(n) / len(values), "rows": int(n)}
        for low, high, n in zip(edges[:-1], edges[1:], counts, strict=True)
    ]


def by_group(values: Floats, groups: Sequence[str], top: int) -> list[Line]:
    """Quantiles and mean of the groups with the most rows, the others together, the highest mean first.

    Returns
    -------
    list of {"group", "rows", "mean", "q10", "q25", "q50", "q75", "q90"}
    """
    labels = np.array(groups, dtype=np.str_)
    names, code, counts = np.unique(labels, return_inverse=True, return_counts=True)
    kept = np.argsort(-counts, kind="stable")[:top].tolist()
    members = [(str(names[i]), values[code == i]) for i in kept]
    rest = values[~np.isin(code, kept)]
    if rest.size:
        members.append((OTHERS, rest))
    return sorted((_group(name, some) for name, some in members), key=lambda line: -line["mean"])


def concentration(values: Floats) -> list[Line]:
    """Share of the sum that the dearest 1 %, 5 %, 10 %, 25 % and 50 % of rows hold: {"rows", "share"}."""
    dearest = np.cumsum(np.sort(values)[::-1])
    total = float(dearest[-1]) or 1.0
    shares = (0.01, 0.05, 0.1, 0.25, 0.5)
    return [{"rows": s, "share": float(dearest[max(1, round(s * len(values))) - 1]) / total} for s in shares]


def _group(name: str, values: Floats) -> Line:
    quantiles = np.quantile(values, QUANTILES).tolist()
    named = {f"q{round(100 * q)}": found for q, found in zip(QUANTILES, quantiles, strict=True)}
    return {"group": name, "rows": len(values), "mean": float(values.mean()), **named}
