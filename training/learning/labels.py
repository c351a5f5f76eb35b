"""What came true of a set of rows, as the learners read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.learning.boosting import Floats, Mask


@dataclass(frozen=True, slots=True)
class Labels:
    """Outcomes of n rows.

    Parameters
    ----------
    buyer : ndarray of shape (n,), float64
        The gate: 0 or 1, NaN where it is not mature.
    revenue : ndarray of shape (n, n_horizons), float64, US dollars
        ≥ 0, NaN where the horizon is not mature.
    weight : ndarray of shape (n,), float64, or None
        How many rows each stands for, ≥ 0; None where each stands for itself.
    """

    buyer: Floats
    revenue: Floats
    weight: Floats | None = None

    def __len__(self) -> int:
        return len(self.buyer)

    def take(self, rows: Mask) -> Labels:
        """The outcomes of some rows."""
        return Labels(self.buyer[rows], self.revenue[rows], None if self.weight is None else self.weight[rows])

    def joined(self, other: Labels) -> Labels:
        """These rows, then the others."""
        return Labels.of([self, other])

    @classmethod
    def of(cls, parts: Sequence[Labels]) -> Labels:
        """The outcomes of several sets of rows, one after the other: all of them weighted, or none."""
        weights = [p.weight for p in parts if p.weight is not None]
        if weights and len(weights) < len(parts):
            raise ValueError(f"labels: expected weights of all {len(parts)} parts or of none, received {len(weights)}")
        buyer, revenue = (np.concatenate(one) for one in zip(*((p.buyer, p.revenue) for p in parts), strict=True))
        return cls(buyer, revenue, np.concatenate(weights) if weights else None)
