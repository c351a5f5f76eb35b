"""What a configuration will cost online at least, before it is trained: sizes and measured microseconds enter.

Microseconds are a constant and a price for each part's leaves (rounds × leaves), fitted by non-negative least squares
on what was measured so far. A prediction is lowered by the largest error that the fit makes on those, so that what is
refused untrained is what would have been too dear.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

SPARE: Final = 3
"""Measurements beyond the number of coefficients before the fit is believed."""


def sizes(training: Mapping[str, Any]) -> dict[str, float]:
    """Leaves of every boosted part of a configuration: dotted path → rounds × leaves."""
    return dict(_sizes(training, ""))


def _sizes(tree: Mapping[str, Any], path: str) -> Iterator[tuple[str, float]]:
    if isinstance(tree.get("rounds"), int) and isinstance(tree.get("leaves"), int):
        yield path, float(tree["rounds"] * tree["leaves"])
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _sizes(value, f"{path}.{key}" if path else str(key))


def least_us(measured: Sequence[tuple[Mapping[str, float], float]], asked: Mapping[str, float]) -> float:
    """Microseconds that a configuration of sizes `asked` takes at least; 0 while too little was measured to tell.

    Parameters
    ----------
    measured : sequence of (sizes, microseconds)
    asked : mapping of str to float
    """
    names = sorted({*asked} | {name for one, _ in measured for name in one})
    if len(measured) < 1 + len(names) + SPARE:
        return 0.0
    A = np.array([_row(one, names) for one, _ in measured])
    us = np.array([cost for _, cost in measured])
    scale = np.maximum(A.max(axis=0), 1.0)
    prices, _ = nnls(A / scale, us)
    error = float(np.abs(A / scale @ prices - us).max())
    return max(float(_row(asked, names) / scale @ prices) - error, 0.0)


def _row(one: Mapping[str, float], names: Sequence[str]) -> NDArray[np.float64]:
    return np.array([1.0, *(one.get(name, 0.0) for name in names)])
