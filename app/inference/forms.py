r"""Raw scores of the base models enter; P(buy), E[y_h | buy] and the dollars they make leave.

    exp          c_h = e^{f_h}
    smeared      c_h = max(e^{f_h} - 1, 0)                     least squares on log1p, with Duan's factor in f
    increments   c_h = c_{h-1} + e^{f_h}                       what each horizon adds to the one before
    experts      c_h = Σ_k softmax(s)_k · e^{g_k} · e^{f_h}    K segments of revenue; one horizon is the sum itself

    two_stage    dollars = P(buy) · c_h        free    dollars = c_h

Scores are capped at `LINK_CAP` before they are exponentiated. numpy is the definition; `app.inference.lowering` writes
the same operations down as steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.inference.arithmetic import exp, expm1, interpolate, log1p
from app.inference.outputs import EXPERT, GATE, SEGMENT, head
from app.inference.specification import EnsembleSpec

Floats = NDArray[np.float64]

LINK_CAP: Final = 50.0  # exp(50) = 5e21 dollars: keeps every product finite and on the float32 range
MOST: Final = float(exp(np.array([LINK_CAP]))[0])


@dataclass(frozen=True, slots=True)
class Linked:
    """Scores with their links.

    Parameters
    ----------
    p : ndarray of shape (n_rows,), probability
    conditional : ndarray of shape (n_horizons, n_rows), US dollars, horizon-major
        E[y | buy] of two stages, E[y] of models that are free of the gate.
    expected : ndarray of shape (n_horizons, n_rows), US dollars
        E[y].
    shares : ndarray of shape (n_segments, n_rows), probability
        Of the experts; empty without.
    """

    p: Floats
    conditional: Floats
    expected: Floats
    shares: Floats


def link(raw: Floats, spec: EnsembleSpec) -> Linked:
    """Apply links, form and strategy.

    Parameters
    ----------
    raw : ndarray of shape (n_rows, n_base_outputs), raw scores
    spec : EnsembleSpec
    """
    scores = dict(zip(spec.columns, raw.T.copy(), strict=True))  # rows of a copy: contiguous, whatever the batch
    p = 1.0 / (1.0 + _exp(-scores[GATE]))
    shares, conditional = _FORMS[spec.form](scores, spec)
    undo = spec.recalibration
    if undo.p_buyer is not None:
        p = interpolate(p, undo.p_buyer.x, undo.p_buyer.y)
    for h, curve in enumerate(undo.ltv):
        conditional[h] = conditional[h] * interpolate(log1p(conditional[h]), curve.x, curve.y)
    return Linked(p, conditional, p * conditional if spec.strategy == "two_stage" else conditional, shares)


def _exponentials(scores: Mapping[str, Floats], spec: EnsembleSpec) -> tuple[Floats, Floats]:
    return _none(scores), np.stack([_exp(scores[head(h)]) for h in spec.horizons])


def _smeared(scores: Mapping[str, Floats], spec: EnsembleSpec) -> tuple[Floats, Floats]:
    found = [scores[head(h)] for h in spec.horizons]
    return _none(scores), np.stack([expm1(np.minimum(np.where(f > 0.0, f, 0.0), LINK_CAP)) for f in found])


def _increments(scores: Mapping[str, Floats], spec: EnsembleSpec) -> tuple[Floats, Floats]:
    found: list[Floats] = []
    for h in spec.horizons:
        added = _exp(scores[head(h)])
        found.append(found[-1] + added if found else added)
    return _none(scores), np.stack(found)


def _experts(scores: Mapping[str, Floats], spec: EnsembleSpec) -> tuple[Floats, Floats]:
    shares = softmax([scores[f"{SEGMENT}{k}"] for k in range(spec.segments)])
    total = shares[0] * _exp(scores[f"{EXPERT}0"])
    for k in range(1, spec.segments):
        total = total + shares[k] * _exp(scores[f"{EXPERT}{k}"])
    ratios = [scores.get(head(h)) for h in spec.horizons]
    return np.stack(shares), np.stack([total if f is None else np.minimum(total * _exp(f), MOST) for f in ratios])


_FORMS: Final[dict[str, Callable[[Mapping[str, Floats], EnsembleSpec], tuple[Floats, Floats]]]] = {
    "exp": _exponentials,
    "smeared": _smeared,
    "increments": _increments,
    "experts": _experts,
}


def softmax(scores: list[Floats]) -> list[Floats]:
    """e^{s_k - max s} over their sum, which is added up in the order of k; K arrays of one shape."""
    most = scores[0]
    for one in scores[1:]:
        most = np.where(most > one, most, one)
    powers = [exp(one - most) for one in scores]
    total = powers[0]
    for one in powers[1:]:
        total = total + one
    return [one / total for one in powers]


def _exp(score: Floats) -> Floats:
    return exp(np.minimum(score, LINK_CAP))


def _none(scores: Mapping[str, Floats]) -> Floats:
    return np.empty((0, len(scores[GATE])))
