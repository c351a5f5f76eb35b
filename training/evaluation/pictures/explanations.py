"""Pictures of what drives the models: gain of each feature, and a beeswarm of its contributions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from training.evaluation.contributions import Contributions
from training.evaluation.pictures.canvas import COLOURS, GREY, canvas
from training.evaluation.ranking import Floats

TOP_GAIN = 30
TOP_SHAP = 20
_BINS = 60


def feature_importance(path: Path, model: str, gain: Mapping[str, float]) -> None:
    """The features with the most gain, as shares of all gain, the largest on top."""
    total = sum(gain.values()) or 1.0
    top = sorted(gain.items(), key=lambda item: -item[1])[:TOP_GAIN][::-1]
    with canvas(path, width=8.5, height=1.2 + 0.24 * len(top)) as (axis,):
        axis.barh([name for name, _ in top], [value / total for _, value in top], color=COLOURS[0])
        axis.set(title=f"Feature importance: {model}", xlabel="share of gain in training")
        axis.tick_params(axis="y", labelsize=8)
        axis.margins(y=0.01)


def beeswarm(path: Path, one: Contributions) -> None:
    """A dot a row and feature: its place is the contribution, its colour the rank of the feature's value, grey missing.

    Dots that would lie on each other are spread; the largest mean |φ| is on top.
    """
    top = one.top(TOP_SHAP)
    unit = "log-odds" if one.model == "gate" else "log US dollars"
    with canvas(path, width=9.0, height=1.5 + 0.3 * max(len(top), 1)) as (axis,):
        drawn = None
        for place, i in enumerate(reversed(top)):
            phi, known = one.phi[:, i], np.isfinite(one.X[:, i])
            y = place + _spread(phi)
            axis.scatter(phi[~known], y[~known], s=3, color=GREY, alpha=0.5, linewidths=0)
            if known.any():
                colour = rankdata(one.X[known, i]) / known.sum()
                drawn = axis.scatter(
                    phi[known], y[known], s=3, c=colour, cmap="coolwarm", vmin=0.0, vmax=1.0, linewidths=0
                )
        axis.axvline(0.0, color=GREY, lw=1)
        axis.set_yticks(range(len(top)), [one.names[i] for i in reversed(top)], fontsize=8)
        axis.set(xlabel=f"contribution to the raw score, {unit}", title=f"TreeSHAP: {one.model} ({len(one.X):,} rows)")
        axis.margins(y=0.02)
        if drawn is not None:
            bar = axis.figure.colorbar(drawn, ax=axis, ticks=[0.0, 1.0], pad=0.01, aspect=40)
            bar.ax.set_yticklabels(["low", "high"], fontsize=8)
            bar.set_label("rank of the feature's value (grey: missing)", fontsize=8)


def _spread(phi: Floats) -> Floats:
    """Heights within ± 0.4 that lay dots of one narrow bin beside each other."""
    low, high = float(phi.min()), float(phi.max())
    code: NDArray[np.int64] = ((phi - low) / max(high - low, 1e-12) * (_BINS - 1)).astype(np.int64)
    counts = np.bincount(code, minlength=_BINS)
    order = np.argsort(code, kind="stable")
    nth = np.empty(len(phi))
    nth[order] = np.arange(len(phi)) - np.repeat(np.cumsum(counts) - counts, counts)
    side = np.where(nth % 2 == 0, 1.0, -1.0) * np.ceil(nth / 2.0)
    heights: Floats = 0.8 * side / max(float(counts.max()), 1.0)
    return heights
