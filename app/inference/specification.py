"""`ensemble.json`: how raw scores become prices: libraries, strategy and form, calibration, projection and multiplier.

Read and written here only (its parts that name models: `app.inference.outputs`). Numbers go through JSON in their
shortest exact form, so a round trip keeps every bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import BundleCorrupt
from app.inference.curves import Calibration, Curve, Recalibration, floats
from app.inference.outputs import (
    EXTRA_LINKS,
    GATED,
    LOG_MEAN,
    LibrarySpec,
    LinearSpec,
    Output,
    check_base,
    expect,
    head,
    segments_of,
)

__all__ = [
    "GATED", "LOG_MEAN", "Calibration", "Curve", "EnsembleSpec", "LibrarySpec", "LinearSpec", "MultiplierSpec",
    "Output", "Recalibration",
]  # fmt: skip

Floats = NDArray[np.float64]


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
    base : tuple of LibrarySpec
        Their outputs in a row are the columns of the raw scores: `gate` (logit), what the form reads, and any with
        identity or gated links.
    meta : LibrarySpec or None
        Outputs: one `d<days>` a horizon (log), then possibly `log_mean` (identity).
    calibration : Calibration
    weights : ndarray of shape (n_horizons,)
        Of the order projection.
    multiplier : MultiplierSpec
    strategy : {"two_stage", "free"}
        Whether dollars are P(buy) · E[y | buy], or free of the gate.
    form : {"exp", "smeared", "increments", "experts"}
        How E[y | buy], or E[y], comes of the scores: `app.inference.forms`.
    linear : tuple of LinearSpec
        Dot products; their outputs follow those of the libraries.
    recalibration : Recalibration

    Raises
    ------
    BundleCorrupt
        Where the parts do not fit together; one line that names the entry.
    """

    horizons: tuple[int, ...]
    base: tuple[LibrarySpec, ...]
    meta: LibrarySpec | None
    calibration: Calibration
    weights: Floats
    multiplier: MultiplierSpec
    strategy: str = "two_stage"
    form: str = "exp"
    linear: tuple[LinearSpec, ...] = ()
    recalibration: Recalibration = field(default_factory=Recalibration)

    def __post_init__(self) -> None:
        check_base(self.strategy, self.form, self.horizons, self.base, self.linear)
        if self.meta is not None:
            _check_meta(self.meta, [(head(h), "log") for h in self.horizons])
        self.calibration.check(len(self.horizons))
        self.recalibration.check(len(self.horizons))
        expect("projection.weights", self.weights.shape == (len(self.horizons),), "one weight a horizon")
        expect("projection.weights", bool((self.weights > 0).all()), "positive numbers")
        expect("multiplier.horizon", self.multiplier.horizon in self.horizons, f"one of {list(self.horizons)}")
        references = (self.multiplier.reference, *self.multiplier.by_advertiser.values())
        expect("multiplier", all(0 < r < np.inf for r in references), "positive references")
        _ = self.log_mean_source

    @property
    def n_features(self) -> int:
        """Columns of X."""
        return self.base[0].n_features

    @property
    def libraries(self) -> tuple[LibrarySpec, ...]:
        """The libraries of trees: base, then meta where there is one."""
        return self.base if self.meta is None else (*self.base, self.meta)

    @cached_property
    def outputs(self) -> tuple[Output, ...]:
        """The columns of the base stage's raw scores."""
        trees = [output for library in self.base for output in library.outputs]
        return (*trees, *(Output(one.name, "identity") for one in self.linear))

    @cached_property
    def columns(self) -> dict[str, int]:
        """Column of each raw score by name."""
        return {output.name: i for i, output in enumerate(self.outputs)}

    @cached_property
    def extras(self) -> tuple[str, ...]:
        """Raw scores that are features of the meta-learner as they are."""
        return tuple(output.name for output in self.outputs if output.link in EXTRA_LINKS)

    @cached_property
    def segments(self) -> int:
        """Experts; 0 in other forms."""
        return segments_of(self.outputs)

    @property
    def log_mean_source(self) -> tuple[str, int]:
        """`meta` or `base`, and the column of `log_mean` among its scores; the meta-learner's goes first."""
        for where, outputs in (("meta", self.meta.outputs if self.meta is not None else ()), ("base", self.outputs)):
            names = [output.name for output in outputs]
            if LOG_MEAN in names:
                return where, names.index(LOG_MEAN)
        raise BundleCorrupt(f"ensemble.json: expected an output named {LOG_MEAN}, none is there")

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        m = self.multiplier
        return {
            "horizons": list(self.horizons),
            "strategy": self.strategy,
            "form": self.form,
            "base": [library.to_json() for library in self.base],
            "linear": [one.to_json() for one in self.linear],
            "meta": self.meta.to_json() if self.meta is not None else None,
            "recalibration": self.recalibration.to_json(),
            "calibration": self.calibration.to_json(),
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
                base=tuple(LibrarySpec.from_json(library) for library in obj["base"]),
                meta=LibrarySpec.from_json(obj["meta"]) if obj["meta"] is not None else None,
                calibration=Calibration.from_json(obj["calibration"]),
                weights=floats(obj["projection"]["weights"]),
                multiplier=_multiplier(obj["multiplier"]),
                strategy=str(obj["strategy"]),
                form=str(obj["form"]),
                linear=tuple(LinearSpec.from_json(one) for one in obj["linear"]),
                recalibration=Recalibration.from_json(obj["recalibration"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BundleCorrupt(f"ensemble.json: {type(error).__name__}: {error}") from error


def _multiplier(obj: Mapping[str, Any]) -> MultiplierSpec:
    alpha, lo, hi, reference = (float(obj[k]) for k in ("alpha", "lo", "hi", "reference"))
    by_advertiser = {str(k): float(v) for k, v in obj["by_advertiser"].items()}
    return MultiplierSpec(str(obj["by"]), int(obj["horizon"]), alpha, lo, hi, reference, by_advertiser)


def _check_meta(meta: LibrarySpec, heads: Sequence[tuple[str, str]]) -> None:
    outputs = [(o.name, o.link) for o in meta.outputs]
    expect("meta.outputs", outputs[: len(heads)] == list(heads), f"{list(heads)} first, received {outputs}")
    fits = all(link == "identity" for _, link in outputs[len(heads) :])
    expect("meta.outputs", fits, "identity links after the horizons")
    expect("meta.inputs", not meta.inputs, "none")
