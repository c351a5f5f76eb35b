"""Piecewise linear maps fitted to what came true, their JSON, and what must hold of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.inference.outputs import expect

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Curve:
    """A piecewise linear map, constant beyond its ends: `x` increasing, `y` beside it."""

    x: Floats
    y: Floats

    @classmethod
    def identity(cls, end: float = 1.0) -> Curve:
        """y = x on [0, end]."""
        return cls(np.array([0.0, end]), np.array([0.0, end]))

    @classmethod
    def constant(cls, y: float = 1.0) -> Curve:
        """The same y everywhere."""
        return cls(np.zeros(1), np.array([y]))

    def to_json(self, y: str = "y") -> dict[str, list[float]]:
        """Return the JSON object; `y` names the values."""
        return {"x": self.x.tolist(), y: self.y.tolist()}

    @classmethod
    def from_json(cls, obj: Mapping[str, Any], y: str = "y") -> Curve:
        """Read the JSON object."""
        return cls(floats(obj["x"]), floats(obj[y]))


@dataclass(frozen=True, slots=True)
class Calibration:
    """Fitted on a later, unresampled slice; applied before the projection.

    Parameters
    ----------
    p_buyer : Curve
        Isotonic: probability → probability.
    ltv : tuple of Curve, one a horizon
        log1p of the uncalibrated dollars → factor.
    state : ndarray of shape (n_states, n_horizons)
        Factor by history state.
    log_mean : Curve
        E[log1p y] → E[log1p y].
    """

    p_buyer: Curve
    ltv: tuple[Curve, ...]
    state: Floats
    log_mean: Curve

    @classmethod
    def identity(cls, n_horizons: int, n_states: int = 4) -> Calibration:
        """The calibration that changes nothing."""
        factors = (Curve.constant(),) * n_horizons
        return cls(Curve.identity(), factors, np.ones((n_states, n_horizons)), Curve.identity(end=100.0))

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "p_buyer": self.p_buyer.to_json(),
            "ltv": [curve.to_json("factor") for curve in self.ltv],
            "state": self.state.tolist(),
            "log_mean": self.log_mean.to_json(),
        }

    @classmethod
    def from_json(cls, obj: Mapping[str, Any]) -> Calibration:
        """Read the JSON object."""
        return cls(
            p_buyer=Curve.from_json(obj["p_buyer"]),
            ltv=tuple(Curve.from_json(curve, "factor") for curve in obj["ltv"]),
            state=floats(obj["state"]),
            log_mean=Curve.from_json(obj["log_mean"]),
        )

    def check(self, n_horizons: int) -> None:
        """Check the parts against the number of horizons.

        Raises
        ------
        BundleCorrupt
        """
        expect("calibration.ltv", len(self.ltv) == n_horizons, "one curve a horizon")
        fits = self.state.ndim == 2 and self.state.shape[1] == n_horizons
        expect("calibration.state", fits, "one factor a state and horizon")
        expect("calibration.state", len(self.state) == 4, "four history states")
        _check_curves("calibration", (self.p_buyer, self.log_mean, *self.ltv))


@dataclass(frozen=True, slots=True)
class Recalibration:
    """What undoes the resampling of a base model's training rows, before anything else reads its answer.

    Parameters
    ----------
    p_buyer : Curve or None
        Probability → probability.
    ltv : tuple of Curve, one a horizon or none
        log1p of E[y | buy] in US dollars → factor.
    """

    p_buyer: Curve | None = None
    ltv: tuple[Curve, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        p = self.p_buyer
        ltv = [curve.to_json("factor") for curve in self.ltv]
        return {"p_buyer": None if p is None else p.to_json(), "ltv": ltv}

    @classmethod
    def from_json(cls, obj: Mapping[str, Any]) -> Recalibration:
        """Read the JSON object."""
        p, ltv = obj["p_buyer"], tuple(Curve.from_json(curve, "factor") for curve in obj["ltv"])
        return cls(None if p is None else Curve.from_json(p), ltv)

    def check(self, n_horizons: int) -> None:
        """Check the parts against the number of horizons.

        Raises
        ------
        BundleCorrupt
        """
        expect("recalibration.ltv", len(self.ltv) in (0, n_horizons), "one curve a horizon, or none")
        _check_curves("recalibration", self.ltv if self.p_buyer is None else (self.p_buyer, *self.ltv))


def floats(values: Sequence[Any]) -> Floats:
    """Numbers of JSON as an array."""
    return np.array(values, dtype=np.float64)


def _check_curves(where: str, curves: Sequence[Curve]) -> None:
    for curve in curves:
        fits = curve.x.ndim == 1 and curve.x.shape == curve.y.shape and len(curve.x) > 0
        expect(where, fits, "as many x as values, at least one")
        expect(where, bool((np.diff(curve.x) > 0).all()), "increasing x")
        expect(where, bool(np.isfinite(curve.x).all() and np.isfinite(curve.y).all()), "finite numbers")
