"""What drives a prediction: boosters and rows → exact TreeSHAP contributions, summed up feature by feature.

LightGBM's `pred_contrib` is the path-dependent TreeSHAP of Lundberg et al. 2020: the contributions of a row and the
booster's expectation add up to the row's raw score. The compiled libraries of a bundle know no paths, but LightGBM's
text of every model lies in the bundle beside them, so that any data can be explained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
from scipy.stats import rankdata

from app.inference.bundle import MODELS
from training.evaluation.ranking import Floats

TOP = 20
SAMPLE = 2000
"""Rows that are explained: the mean of |φ| over them is known to about 3 %."""


@dataclass(frozen=True)
class Contributions:
    """Contributions to one model's raw score.

    Parameters
    ----------
    model : str
    names : tuple of str
    X : ndarray of shape (n, n_features)
        The rows explained.
    phi : ndarray of shape (n, n_features)
        Log-odds for the gate, logarithm of US dollars for a horizon.
    expected : float
        The model's mean raw score over its training rows.
    """

    model: str
    names: tuple[str, ...]
    X: Floats
    phi: Floats
    expected: float

    def top(self, count: int) -> list[int]:
        """Columns with the largest mean |φ|, largest first; those that never contribute are left out."""
        size = np.abs(self.phi).mean(axis=0)
        return [i for i in np.argsort(-size, kind="stable")[:count].tolist() if size[i] > 0.0]

    def summary(self, count: int) -> list[dict[str, Any]]:
        """`{"feature", "mean_abs", "share", "direction"}` of the top features.

        `direction` is the rank correlation between a feature's known values and its contributions: near 1 more of it
        raises the prediction, near −1 it lowers it, near 0 the effect is neither; None for a constant.
        """
        size = np.abs(self.phi).mean(axis=0)
        total = float(size.sum()) or 1.0
        return [
            {
                "feature": self.names[i],
                "mean_abs": float(size[i]),
                "share": float(size[i]) / total,
                "direction": _direction(self.X[:, i], self.phi[:, i]),
            }
            for i in self.top(count)
        ]


def load_models(bundle: Path, names: Sequence[str]) -> dict[str, lgb.Booster]:
    """The bundle's boosters over X by name (`gate`, `d7`, …); models that read other columns or answer several
    scores are left out.
    """
    found = {}
    for path in sorted((bundle / MODELS).glob("*.txt")):
        booster = lgb.Booster(model_file=path)
        library, _, output = path.stem.partition(".")
        if booster.num_feature() == len(names) and booster.num_model_per_iteration() == 1:
            found[output if library == "base" else path.stem] = booster
    return found


def explain(
    boosters: Mapping[str, lgb.Booster], X: Floats, names: Sequence[str], *, seed: int, num_threads: int
) -> list[Contributions]:
    """Contributions for at most `SAMPLE` of the rows, the same ones for every model.

    Parameters
    ----------
    boosters : mapping of model name to lightgbm.Booster
        Of one output each.
    X : ndarray of shape (n, n_features), float64, missing as NaN
    names : sequence of str
    seed, num_threads : int
    """
    chosen = np.sort(np.random.default_rng(seed).permutation(len(X))[:SAMPLE])
    rows = np.ascontiguousarray(X[chosen])
    found = []
    for model, booster in boosters.items():
        phi = np.asarray(booster.predict(rows, pred_contrib=True, num_threads=num_threads), dtype=np.float64)
        found.append(Contributions(model, tuple(names), rows, phi[:, :-1], float(phi[0, -1])))
    return found


def gains(boosters: Mapping[str, lgb.Booster], names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Gain of each feature in each model, over its training rows."""
    return {
        model: dict(zip(names, booster.feature_importance("gain").tolist(), strict=True))
        for model, booster in boosters.items()
    }


def explanations(contributions: Sequence[Contributions]) -> dict[str, Any]:
    """What a report says of them: `{"about", "rows", "shap": {model: summary}}`."""
    if not contributions:
        about = "The bundle holds no text of its models: what drives them can not be computed here."
        return {"about": about, "rows": 0, "shap": {}}
    rows = len(contributions[0].X)
    about = (
        f"Exact TreeSHAP of {rows:,} of these rows: what each feature adds to a model's raw score, in log-odds for "
        "`gate` and in the logarithm of US dollars for the others. Gain is that of training."
    )
    return {"about": about, "rows": rows, "shap": {one.model: one.summary(TOP) for one in contributions}}


def _direction(values: Floats, phi: Floats) -> float | None:
    known = np.isfinite(values)
    if known.sum() < 2 or np.ptp(values[known]) == 0.0 or np.ptp(phi[known]) == 0.0:
        return None
    return float(np.corrcoef(rankdata(values[known]), rankdata(phi[known]))[0, 1])
