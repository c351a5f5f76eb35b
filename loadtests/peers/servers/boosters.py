"""The peers' models. A ready row enters, its scores leave.

A directory holds `NAME.txt` of LightGBM and `NAME.so` of tl2cgen for every line NAME of its `names.txt`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Boosters:
    """LightGBM's own Python call, one a booster.

    Parameters
    ----------
    directory : Path
    """

    def __init__(self, directory: Path) -> None:
        import lightgbm as lgb

        self._boosters = [lgb.Booster(model_file=directory / f"{name}.txt") for name in _names(directory)]

    def row(self, features: list[float]) -> list[float]:
        """The scores of one row."""
        X = np.array([features])
        return [float(booster.predict(X)[0]) for booster in self._boosters]

    def rows(self, X: NDArray[np.float64]) -> NDArray[Any]:
        """(n_rows, n_scores) of (n_rows, n_features), where a server joins requests."""
        return np.column_stack([booster.predict(X) for booster in self._boosters])


class Compiled:
    """The same boosters compiled by tl2cgen, called by its own Predictor.

    Parameters
    ----------
    directory : Path
    """

    def __init__(self, directory: Path) -> None:
        import tl2cgen

        self._matrix = tl2cgen.DMatrix
        self._predictors = [tl2cgen.Predictor(directory / f"{name}.so", nthread=1) for name in _names(directory)]

    def row(self, features: list[float]) -> list[float]:
        """The scores of one row."""
        X = self._matrix(np.array([features]), dtype="float64")
        return [float(predictor.predict(X).item()) for predictor in self._predictors]


def _names(directory: Path) -> list[str]:
    return (directory / "names.txt").read_text().split()
