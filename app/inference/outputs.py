"""What the models answer, and which of them: libraries of trees, dot products, names and links of their outputs.

A library reads X, or X and further columns: named scores of libraries before it, rounded to float32 like every feature.
The form says which outputs there must be, and how E[y_h | buy] comes of them (`app.inference.forms`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from app.errors import BundleCorrupt

Floats = NDArray[np.float64]
Strategy = Literal["two_stage", "free"]
Form = Literal["exp", "smeared", "increments", "experts"]

GATE: Final = "gate"
LOG_MEAN: Final = "log_mean"
SEGMENT: Final = "segment_"  # and its number: the score of one of K shares, which are the softmax of all
EXPERT: Final = "expert_"  # and its number: the log mean of that segment

GATED: Final = "gated"  # conditional on buying: times the probability of the gate
EXTRA_LINKS: Final = ("identity", GATED)


@dataclass(frozen=True, slots=True)
class Output:
    """One raw score: its name, and the link that turns it into a prediction."""

    name: str
    link: str


@dataclass(frozen=True, slots=True)
class LibrarySpec:
    """One library.

    Parameters
    ----------
    library : str
        File name.
    n_features : int
        Width of what it reads, `inputs` among it.
    outputs : tuple of Output
        In the order of its columns.
    inputs : tuple of str
        Outputs of libraries before it that follow X as columns.
    """

    library: str
    n_features: int
    outputs: tuple[Output, ...]
    inputs: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        outputs = [{"name": o.name, "link": o.link} for o in self.outputs]
        inputs = list(self.inputs)
        return {"library": self.library, "n_features": self.n_features, "inputs": inputs, "outputs": outputs}

    @classmethod
    def from_json(cls, obj: Mapping[str, Any]) -> LibrarySpec:
        """Read the JSON object."""
        outputs = tuple(Output(str(o["name"]), str(o["link"])) for o in obj["outputs"])
        return cls(str(obj["library"]), int(obj["n_features"]), outputs, tuple(map(str, obj["inputs"])))


@dataclass(frozen=True)
class LinearSpec:
    """intercept + Σ_j w_j · min(max(x_j, lo_j), hi_j), a missing x_j being fill_j: an output with an identity link.

    Parameters
    ----------
    name : str
    intercept : float
    columns : tuple of int
        Of X.
    fill, lo, hi, weight : ndarray of shape (n_columns,), float64, finite
    """

    name: str
    intercept: float
    columns: tuple[int, ...]
    fill: Floats
    lo: Floats
    hi: Floats
    weight: Floats

    def score(self, X: Floats) -> Floats:
        """Add the terms up in the order of the columns, one by one: a row's bits do not depend on its batch.

        Parameters
        ----------
        X : ndarray of shape (n_rows, n_features), float64

        Returns
        -------
        ndarray of shape (n_rows,), float64
        """
        total = np.full(len(X), self.intercept)
        for j, column in enumerate(self.columns):
            x = X[:, column]
            x = np.where(x != x, self.fill[j], x)
            x = np.where(x > self.lo[j], x, self.lo[j])
            total = total + self.weight[j] * np.where(x < self.hi[j], x, self.hi[j])
        return total

    @property
    def constants(self) -> list[float]:
        """The intercept, then fill, lo, hi and weight of each column."""
        table = np.stack([self.fill, self.lo, self.hi, self.weight], axis=1)
        return [self.intercept, *table.ravel().tolist()]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        numbers = {name: getattr(self, name).tolist() for name in ("fill", "lo", "hi", "weight")}
        return {"name": self.name, "intercept": self.intercept, "columns": list(self.columns), **numbers}

    @classmethod
    def from_json(cls, obj: Mapping[str, Any]) -> LinearSpec:
        """Read the JSON object."""
        fill, lo, hi, weight = (np.array(obj[k], dtype=np.float64) for k in ("fill", "lo", "hi", "weight"))
        columns = tuple(int(column) for column in obj["columns"])
        return cls(str(obj["name"]), float(obj["intercept"]), columns, fill, lo, hi, weight)


def head(horizon: int) -> str:
    """Name of a horizon's output: `d7`."""
    return f"d{horizon}"


def segments_of(outputs: Sequence[Output]) -> int:
    """Number of segments among outputs; 0 without experts."""
    return sum(output.link == "share" for output in outputs)


def check_base(
    strategy: str, form: str, horizons: Sequence[int], base: Sequence[LibrarySpec], linear: Sequence[LinearSpec]
) -> None:
    """Check that the base stage holds what its form needs, and that each part reads what is there.

    Raises
    ------
    BundleCorrupt
        One line that names the entry.
    """
    expect("strategy", strategy in get_args(Strategy), f"one of {list(get_args(Strategy))}, received {strategy!r}")
    expect("form", form in get_args(Form), f"one of {list(get_args(Form))}, received {form!r}")
    expect("base", len(base) > 0, "at least one library")
    _check_inputs(base)
    n_features = base[0].n_features
    for one in linear:
        _check_linear(one, n_features)
    outputs = [output for library in base for output in library.outputs]
    names = [output.name for output in outputs] + [one.name for one in linear]
    expect("base.outputs", len(set(names)) == len(names), f"names that differ, received {names}")
    links = {output.name: output.link for output in outputs}
    needed = _needed(form, horizons, links)
    received = {name: links.get(name) for name in needed}
    expect("base.outputs", received == needed, f"{needed} by form {form}, received {received}")
    rest = {name: link for name, link in links.items() if name not in needed}
    fits = all(link in EXTRA_LINKS for link in rest.values())
    expect("base.outputs", fits, f"{' or '.join(EXTRA_LINKS)} links beside the horizons, received {rest}")


def _needed(form: str, horizons: Sequence[int], links: Mapping[str, str]) -> dict[str, str]:
    """Names and links of the outputs that the form reads."""
    heads = {head(h): "log" for h in horizons}
    if form != "experts":
        return {GATE: "logit", **heads}
    count = max(sum(link == "share" for link in links.values()), 2)
    ratios = {name: link for name, link in heads.items() if name in links}
    expect("base.outputs", len(ratios) == len(heads) - 1, f"a ratio a horizon but one, received {sorted(ratios)}")
    shares = {f"{SEGMENT}{k}": "share" for k in range(count)}
    return {GATE: "logit", **shares, **{f"{EXPERT}{k}": "log" for k in range(count)}, **ratios}


def _check_inputs(base: Sequence[LibrarySpec]) -> None:
    known: set[str] = set()
    for i, library in enumerate(base):
        unknown = [name for name in library.inputs if name not in known]
        expect(f"base[{i}].inputs", not unknown, f"outputs of libraries before, received {unknown}")
        width, received = base[0].n_features + len(library.inputs), library.n_features
        expect(f"base[{i}].n_features", received == width, f"{width}, received {received}")
        known |= {output.name for output in library.outputs}
    expect("base[0].inputs", not base[0].inputs, "none")


def _check_linear(one: LinearSpec, n_features: int) -> None:
    numbers = (one.fill, one.lo, one.hi, one.weight)
    fits = all(values.shape == (len(one.columns),) and np.isfinite(values).all() for values in numbers)
    expect(f"linear.{one.name}", bool(fits and np.isfinite(one.intercept)), "a finite number a column")
    inside = all(0 <= column < n_features for column in one.columns)
    expect(f"linear.{one.name}.columns", inside, f"columns of X, 0 … {n_features - 1}")
    expect(f"linear.{one.name}", bool((one.lo <= one.hi).all()), "lo ≤ hi")


def expect(where: str, holds: bool, expected: str) -> None:
    """Refuse what does not hold, in one line.

    Raises
    ------
    BundleCorrupt
    """
    if not holds:
        raise BundleCorrupt(f"ensemble.json: {where}: expected {expected}")
