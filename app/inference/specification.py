"""`ensemble.json`: the outputs of the libraries, their links, calibration, projection and multiplier.

Read and written here only. Numbers go through JSON in their shortest exact form, so a round trip keeps every
bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import BundleCorrupt

Floats = NDArray[np.float64]

LOG_MEAN = "log_mean"
GATED = "gated"  # conditional on buying: times the probability of the gate


@dataclass(frozen=True, slots=True)
class Output:
    """One raw score: its name, and the link that turns it into a prediction."""

    name: str
    link: str


@dataclass(frozen=True, slots=True)
class LibrarySpec:
    """One library: file name, width of its X, outputs in the order of its columns."""

    library: str
    n_features: int
    outputs: tuple[Output, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        outputs = [{"name": o.name, "link": o.link} for o in self.outputs]
        return {"library": self.library, "n_features": self.n_features, "outputs": outputs}

    @classmethod
    def from_json(cls, obj: Mapping[str, Any]) -> LibrarySpec:
        """Read the JSON object."""
        outputs = tuple(Output(str(o["name"]), str(o["link"])) for o in obj["outputs"])
        return cls(str(obj["library"]), int(obj["n_features"]), outputs)


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


@dataclass(frozen=True, slots=True)
class MultiplierSpec:
    """clip((ltv / reference)^alpha, lo, hi); `horizon` in days, references in US dollars by the text of column `by`."""

    by: str
    horizon: int
    alpha: float
    lo: float
    hi: float
    reference: float
    by_advertiser: Mapping[str, float]


@dataclass(frozen=True)
class EnsembleSpec:
    """The content of `ensemble.json`, checked.

    Parameters
    ----------
    horizons : tuple of int
        Days, rising.
    base : LibrarySpec
        Outputs: `gate` (logit), one `d<days>` a horizon (log), then any with identity or gated links.
    meta : LibrarySpec or None
        Outputs: one `d<days>` a horizon (log), then possibly `log_mean` (identity).
    calibration : Calibration
    weights : ndarray of shape (n_horizons,)
        Of the order projection.
    multiplier : MultiplierSpec

    Raises
    ------
    BundleCorrupt
        Where the parts do not fit together; one line that names the entry.
    """

    horizons: tuple[int, ...]
    base: LibrarySpec
    meta: LibrarySpec | None
    calibration: Calibration
    weights: Floats
    multiplier: MultiplierSpec

    def __post_init__(self) -> None:
        heads = [(f"d{h}", "log") for h in self.horizons]
        _check_outputs("base", self.base, [("gate", "logit"), *heads])
        if self.meta is not None:
            _check_outputs("meta", self.meta, heads)
        _check_calibration(self.calibration, len(self.horizons))
        _expect("projection.weights", self.weights.shape == (len(self.horizons),), "one weight a horizon")
        _expect("projection.weights", bool((self.weights > 0).all()), "positive numbers")
        _expect("multiplier.horizon", self.multiplier.horizon in self.horizons, f"one of {list(self.horizons)}")
        references = (self.multiplier.reference, *self.multiplier.by_advertiser.values())
        _expect("multiplier", all(0 < r < np.inf for r in references), "positive references")
        _ = self.log_mean_source

    @property
    def log_mean_source(self) -> tuple[str, int]:
        """`meta` or `base`, and the column of `log_mean` among its outputs; the meta-learner's goes first."""
        for where, library in (("meta", self.meta), ("base", self.base)):
            names = [o.name for o in library.outputs] if library is not None else []
            if LOG_MEAN in names:
                return where, names.index(LOG_MEAN)
        raise BundleCorrupt(f"ensemble.json: expected an output named {LOG_MEAN}, none is there")

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        c, m = self.calibration, self.multiplier
        return {
            "horizons": list(self.horizons),
            "base": self.base.to_json(),
            "meta": self.meta.to_json() if self.meta is not None else None,
            "calibration": {
                "p_buyer": {"x": c.p_buyer.x.tolist(), "y": c.p_buyer.y.tolist()},
                "ltv": [{"x": curve.x.tolist(), "factor": curve.y.tolist()} for curve in c.ltv],
                "state": c.state.tolist(),
                "log_mean": {"x": c.log_mean.x.tolist(), "y": c.log_mean.y.tolist()},
            },
            "projection": {"weights": self.weights.tolist()},
            "multiplier": {
                "by": m.by, "horizon": m.horizon, "alpha": m.alpha, "lo": m.lo, "hi": m.hi,
                "reference": m.reference, "by_advertiser": dict(m.by_advertiser),
            },
        }  # fmt: skip

    @classmethod
    def from_json(cls, obj: Mapping[str, Any]) -> EnsembleSpec:
        """Read the JSON object.

        Raises
        ------
        BundleCorrupt
            When an entry is missing or of the wrong kind.
        """
        try:
            return cls(
                horizons=tuple(int(h) for h in obj["horizons"]),
                base=LibrarySpec.from_json(obj["base"]),
                meta=LibrarySpec.from_json(obj["meta"]) if obj["meta"] is not None else None,
                calibration=_calibration(obj["calibration"]),
                weights=_floats(obj["projection"]["weights"]),
                multiplier=_multiplier(obj["multiplier"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BundleCorrupt(f"ensemble.json: {type(error).__name__}: {error}") from error


def _floats(values: Sequence[Any]) -> Floats:
    return np.array(values, dtype=np.float64)


def _calibration(obj: Mapping[str, Any]) -> Calibration:
    return Calibration(
        p_buyer=Curve(_floats(obj["p_buyer"]["x"]), _floats(obj["p_buyer"]["y"])),
        ltv=tuple(Curve(_floats(c["x"]), _floats(c["factor"])) for c in obj["ltv"]),
        state=_floats(obj["state"]),
        log_mean=Curve(_floats(obj["log_mean"]["x"]), _floats(obj["log_mean"]["y"])),
    )


def _multiplier(obj: Mapping[str, Any]) -> MultiplierSpec:
    alpha, lo, hi, reference = (float(obj[k]) for k in ("alpha", "lo", "hi", "reference"))
    by_advertiser = {str(k): float(v) for k, v in obj["by_advertiser"].items()}
    return MultiplierSpec(str(obj["by"]), int(obj["horizon"]), alpha, lo, hi, reference, by_advertiser)


def _check_outputs(where: str, library: LibrarySpec, heads: Sequence[tuple[str, str]]) -> None:
    outputs = [(o.name, o.link) for o in library.outputs]
    _expect(f"{where}.outputs", outputs[: len(heads)] == list(heads), f"{list(heads)} first, received {outputs}")
    rest = outputs[len(heads) :]
    allowed = ("identity", GATED) if where == "base" else ("identity",)
    fits = all(link in allowed for _, link in rest)
    _expect(f"{where}.outputs", fits, f"{' or '.join(allowed)} links after the horizons")


def _check_calibration(calibration: Calibration, n_horizons: int) -> None:
    _expect("calibration.ltv", len(calibration.ltv) == n_horizons, "one curve a horizon")
    state = calibration.state
    _expect(
        "calibration.state",
        state.ndim == 2 and state.shape[1] == n_horizons,
        "one factor a state and horizon",
    )
    _expect("calibration.state", len(state) == 4, "four history states")
    for curve in (calibration.p_buyer, calibration.log_mean, *calibration.ltv):
        fits = curve.x.ndim == 1 and curve.x.shape == curve.y.shape and len(curve.x) > 0
        _expect("calibration", fits, "as many x as values, at least one")
        _expect("calibration", bool((np.diff(curve.x) > 0).all()), "increasing x")
        _expect("calibration", bool(np.isfinite(curve.x).all() and np.isfinite(curve.y).all()), "finite numbers")


def _expect(where: str, holds: bool, expected: str) -> None:
    if not holds:
        raise BundleCorrupt(f"ensemble.json: {where}: expected {expected}")
