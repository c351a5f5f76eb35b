"""Rows that stand for more or fewer than themselves: a column of weights enters; clipped weights leave.

A log of bids that were won, or of rows that were thinned, is no sample of what will be priced. With w the inverse of
the probability that a row is in the log, Σ w·f(row) estimates the sum over all that could have been [Horvitz & Thompson
1952]. Few rows of a large w make such sums noisy: weights are clipped, and what is left is told as the number of equal
rows that would be as good, (Σw)² / Σw² [Kish 1965].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from app.errors import DataError
from app.features.columns import Floats
from training.data.arrow import numbers


@dataclass(frozen=True)
class Weighting:
    """Where weights stand.

    Parameters
    ----------
    column : str
        Beside the declared ones; numbers ≥ 0.
    clip : float or None
        What a larger weight counts as.
    """

    column: str
    clip: float | None = None


def read_weights(array: pa.Array, weighting: Weighting) -> Floats:
    """Check and clip the weights of some rows.

    Parameters
    ----------
    array : pyarrow.Array of shape (n,)
        Of a numeric type.
    weighting : Weighting

    Returns
    -------
    ndarray of shape (n,), float64
        In [0, clip].

    Raises
    ------
    DataError
        A weight is missing, no number or negative: the column is named, and how many of them there are.
    """
    weight = numbers(array)
    for wrong, what in ((np.isnan(weight), "missing or not finite"), (weight < 0.0, "negative")):
        if count := int(wrong.sum()):
            expected = f"expected a weight of 0 or more in every row, received {count} {what}"
            raise DataError(f"{weighting.column}: {expected}")
    return weight if weighting.clip is None else np.minimum(weight, weighting.clip)


def effective_rows(weight: Floats) -> float:
    """(Σw)² / Σw², the number of equally weighted rows that tell as much; 0 of no weight at all."""
    square = float(weight @ weight)
    return float(weight.sum()) ** 2 / square if square > 0.0 else 0.0
