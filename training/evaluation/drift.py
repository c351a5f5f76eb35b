"""Drift: what a bundle was trained on, kept as shares of bins, against the rows that it meets later → PSI.

The reference is a small file of the bundle, `drift.json`: for each column of X the deciles of the training rows and
the share of rows between them, for each category the shares of its frequent values. Missing is a bin of its own: a
field that a partner stopped sending is drift, and the most common one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.errors import BundleCorrupt
from training.evaluation.bootstrap import Estimate
from training.evaluation.ranking import Floats

FILE: Final = "drift.json"
BINS = 10
LEVELS = 30
WATCH, ALARM = 0.1, 0.25
"""The customary bounds: below the first nothing has moved, above the second a model should be retrained."""
_LEAST = 1e-4


@dataclass(frozen=True)
class NumberBins:
    """Inner edges (k,) of a numeric column and the shares (k + 2,) of its bins, the missing last."""

    edges: Floats
    shares: Floats

    @classmethod
    def fit(cls, values: Floats) -> NumberBins:
        """Deciles of the known values; equal ones are one edge."""
        known = values[np.isfinite(values)]
        quantiles = np.quantile(known, np.arange(1, BINS) / BINS) if known.size else np.empty(0)
        edges = np.unique(quantiles)
        return cls(edges, _shares(_number_counts(edges, values)))

    def counts(self, values: Floats) -> Floats:
        """Rows in each bin, shape (k + 2,)."""
        return _number_counts(self.edges, values)


@dataclass(frozen=True)
class CategoryBins:
    """Frequent values of a category and the shares of their bins, then of all others and of missing."""

    levels: tuple[str, ...]
    shares: Floats

    @classmethod
    def fit(cls, texts: NDArray[np.object_]) -> CategoryBins:
        """The most frequent values."""
        names, counts = np.unique([t for t in texts.tolist() if t is not None], return_counts=True)
        levels = tuple(str(n) for n in names[np.argsort(-counts, kind="stable")[:LEVELS]])
        return cls(levels, _shares(_category_counts(levels, texts)))

    def counts(self, texts: NDArray[np.object_]) -> Floats:
        """Rows in each bin, shape (n_levels + 2,)."""
        return _category_counts(self.levels, texts)


@dataclass(frozen=True)
class Reference:
    """The training rows' distribution: how many they were, their numeric columns and their categories."""

    rows: int
    numbers: Mapping[str, NumberBins]
    categories: Mapping[str, CategoryBins]

    @classmethod
    def fit(cls, X: Floats, names: Sequence[str], texts: Mapping[str, NDArray[np.object_]]) -> Reference:
        """Bin the training rows.

        Parameters
        ----------
        X : ndarray of shape (n, n_features), float64, missing as NaN
            As the service computes it, not out of fold: what later rows are compared with.
        names : sequence of str
        texts : mapping of category name to ndarray of shape (n,), object, None where missing
        """
        numbers = {name: NumberBins.fit(column) for name, column in zip(names, X.T, strict=True)}
        return cls(len(X), numbers, {name: CategoryBins.fit(column) for name, column in texts.items()})

    def save(self, directory: Path) -> None:
        """Write `drift.json`: shares to six digits, edges in full, for encoded categories lie exactly on them."""
        numbers = {n: {"edges": b.edges.tolist(), "shares": _short(b.shares)} for n, b in self.numbers.items()}
        categories = {n: {"levels": b.levels, "shares": _short(b.shares)} for n, b in self.categories.items()}
        content = {"rows": self.rows, "numbers": numbers, "categories": categories}
        (directory / FILE).write_text(json.dumps(content, separators=(",", ":")) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, directory: Path) -> Reference | None:
        """Read what `save` wrote; None where the bundle has none.

        Raises
        ------
        BundleCorrupt
            When the file is not what `save` writes.
        """
        path = directory / FILE
        if not path.exists():
            return None
        try:
            raw = json.loads(path.read_bytes())
            numbers = {n: NumberBins(np.array(b["edges"]), np.array(b["shares"])) for n, b in raw["numbers"].items()}
            categories = {
                n: CategoryBins(tuple(b["levels"]), np.array(b["shares"])) for n, b in raw["categories"].items()
            }
            return cls(int(raw["rows"]), numbers, categories)
        except (ValueError, KeyError, TypeError) as error:
            raise BundleCorrupt(f"{path}: can not be read ({error})") from error


def psi(expected: Floats, found: Floats) -> Floats:
    """Population stability index Σ (q − p)·ln(q / p) over the last axis; shares below 1e-4 count as that.

    Parameters
    ----------
    expected : ndarray of shape (n_bins,) or (…, n_bins)
        Shares in training.
    found : ndarray of shape (…, n_bins)
        Shares now.
    """
    p, q = np.maximum(expected, _LEAST), np.maximum(found, _LEAST)
    return np.asarray(((q - p) * np.log(q / p)).sum(axis=-1), dtype=np.float64)


def drift(
    reference: Reference,
    X: Floats,
    names: Sequence[str],
    texts: Mapping[str, NDArray[np.object_]],
    *,
    replicates: int,
    seed: int,
) -> list[dict[str, Any]]:
    """PSI of every column that the reference knows, the largest first.

    Parameters
    ----------
    reference : Reference
    X : ndarray of shape (n, n_features)
    names : sequence of str
    texts : mapping of category name to ndarray of shape (n,), object
    replicates, seed : int
        Of the interval: Poisson counts of both samples' bins.

    Returns
    -------
    list of {"feature", "kind", "psi": {"value", "low", "high"}, "missing_then", "missing_now", "verdict"}
        `verdict` is `stable`, `moved` (PSI above 0.1) or `shifted` (above 0.25), by the value.
    """
    generator = np.random.default_rng(seed)
    found = []
    for kind, bins, values in _pairs(reference, X, names, texts):
        counts = bins.counts(values)
        then = generator.poisson(bins.shares * reference.rows, (replicates, len(counts)))
        now = generator.poisson(counts, (replicates, len(counts)))
        value = float(psi(bins.shares, _shares(counts)))
        drawn = psi(_shares(then.astype(np.float64)), _shares(now.astype(np.float64)))
        found.append(
            {
                "feature": kind[1],
                "kind": kind[0],
                "psi": Estimate(value, drawn).to_json(),
                "missing_then": float(bins.shares[-1]),
                "missing_now": float(_shares(counts)[-1]),
                "verdict": "shifted" if value > ALARM else "moved" if value > WATCH else "stable",
            }
        )
    return sorted(found, key=lambda one: -one["psi"]["value"])


def _pairs(
    reference: Reference, X: Floats, names: Sequence[str], texts: Mapping[str, NDArray[np.object_]]
) -> list[tuple[tuple[str, str], Any, Any]]:
    numbers = [(("number", n), reference.numbers[n], X[:, i]) for i, n in enumerate(names) if n in reference.numbers]
    categories = [(("category", n), b, texts[n]) for n, b in reference.categories.items() if n in texts]
    return [*numbers, *categories]


def _number_counts(edges: Floats, values: Floats) -> Floats:
    known = np.isfinite(values)
    code = np.where(known, np.searchsorted(edges, np.where(known, values, 0.0), side="left"), len(edges) + 1)
    return np.bincount(code, minlength=len(edges) + 2).astype(np.float64)


def _category_counts(levels: tuple[str, ...], texts: NDArray[np.object_]) -> Floats:
    place = {level: i for i, level in enumerate(levels)}
    other, missing = len(levels), len(levels) + 1
    code = [missing if text is None else place.get(str(text), other) for text in texts.tolist()]
    return np.bincount(code, minlength=len(levels) + 2).astype(np.float64)


def _shares(counts: Floats) -> Floats:
    found: Floats = counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1.0)
    return found


def _short(values: Floats) -> list[float]:
    return [float(f"{value:.6g}") for value in values.tolist()]
