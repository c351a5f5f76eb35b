"""What an evaluation is given: held-out rows, the oracle where known, predictors' answers, provenance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import DataError
from training.evaluation.ranking import Floats

ORACLE = "oracle"


@dataclass(frozen=True)
class Oracle:
    """The truth that generated the rows: P(buy | x) of shape (n,) and E[y_h | x] of shape (n, n_horizons)."""

    p_buyer: Floats
    ltv: Floats


@dataclass(frozen=True)
class EvaluationRows:
    """Held-out rows.

    Parameters
    ----------
    y : ndarray of shape (n, n_horizons), float64, US dollars
        Realised revenue; NaN where a label is not mature, and the row is left out of that horizon.
    buyer : ndarray of shape (n,), 0 or 1
        The gate's label.
    ids : ndarray of shape (n,)
        Row identifiers, to join errors back to the data.
    cohorts : mapping of str to ndarray of shape (n,) of str
        Groups to look at bias in, `history_state` among them.
    oracle : Oracle or None
        Known for generated rows only.
    sample_weight : ndarray of shape (n,), float64, or None
        How many rows each stands for, ≥ 0; None where each stands for itself.
    """

    y: Floats
    buyer: Floats
    ids: NDArray[Any]
    cohorts: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)
    oracle: Oracle | None = None
    sample_weight: Floats | None = None

    def weight_of(self, known: NDArray[np.bool_]) -> Floats | None:
        """Sample weights of some rows."""
        return None if self.sample_weight is None else self.sample_weight[known]

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self.y.shape[0])


@dataclass(frozen=True)
class Scored:
    """One predictor's answers for the rows.

    Parameters
    ----------
    name : str
    p_buyer : ndarray of shape (n,) or None
        Probability of the gate; None for a predictor that has none.
    ltv : ndarray of shape (n, n_horizons), US dollars
        Expected revenue per install.
    log_mean : ndarray of shape (n,) or None
        expm1(E[log1p y | x]) at the log horizon; None where it is not known (the oracle).
    """

    name: str
    p_buyer: Floats | None
    ltv: Floats
    log_mean: Floats | None


@dataclass(frozen=True)
class Provenance:
    """Where the data and the model came from.

    Parameters
    ----------
    name : str
        The bundle's name.
    created : str
        ISO 8601 time.
    data_start, data_end : str
        First and last hour of the rows.
    training_rows, calibration_rows, validation_rows : int
    seed : int
    generated : bool
        The rows were drawn by `pltv generate`.
    label_unit : str
        The event that revenue is counted per.
    split : str
        `backtest` (by the partitions) or `deployable` (immature labels kept out).
    history_states : tuple of str
    versions : mapping of str to str
        Library versions.
    notes : tuple of str
        One line each: clipped refunds, effective sample size, order corrections.
    """

    name: str
    created: str
    data_start: str
    data_end: str
    training_rows: int
    calibration_rows: int
    validation_rows: int
    seed: int
    generated: bool
    label_unit: str = "install"
    split: str = "backtest"
    history_states: tuple[str, ...] = ("present", "new", "unavailable", "withheld")
    versions: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def check(rows: EvaluationRows, scored: Scored, n_horizons: int) -> None:
    """Refuse answers that do not fit the rows.

    Raises
    ------
    DataError
        When a shape differs, or a prediction is not finite or is negative.
    """
    for what, array, shape in (
        ("y", rows.y, (rows.n, n_horizons)),
        ("ltv", scored.ltv, (rows.n, n_horizons)),
        ("p_buyer", scored.p_buyer, (rows.n,)),
        ("log_mean", scored.log_mean, (rows.n,)),
    ):
        if array is None:
            continue
        if array.shape != shape:
            raise DataError(f"{scored.name}: expected {what} of shape {shape}, got {array.shape}")
        if what != "y" and not (np.isfinite(array).all() and (array >= 0.0).all()):
            raise DataError(f"{scored.name}: {what} has values that are negative or not finite")
