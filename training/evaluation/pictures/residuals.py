"""Pictures of what is left over: log residuals over the prediction, of buyers, and against the truth where known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from training.evaluation.pictures.canvas import COLOURS, GREY, bars, canvas, legend
from training.evaluation.ranking import Floats
from training.evaluation.rows import EvaluationRows, Scored

DOTS = 4000
LEAST = 1e-4


def residuals(path: Path, evaluation: Mapping[str, Any], rows: EvaluationRows, ours: Scored) -> None:
    """Three views of the log horizon: residuals over predictions, payers' residuals, errors against the truth."""
    column = evaluation["horizons"].index(evaluation["log_horizon"])
    known = np.isfinite(rows.y[:, column])
    y, ltv = rows.y[known, column], ours.ltv[known, column]
    answer = ltv if ours.log_mean is None else ours.log_mean[known]
    day = evaluation["log_horizon"]
    with canvas(path, 3) as (over, histogram, truth):
        _over_prediction(over, y, answer, day)
        _of_payers(histogram, y, ltv, day)
        if rows.oracle is None:
            _realised_ratio(truth, evaluation["lift"][f"d{day}"], day)
        else:
            _against_oracle(truth, rows.oracle.ltv[known, column], ltv, day)


def _over_prediction(axis: Axes, y: Floats, answer: Floats, day: int) -> None:
    """Payers and a sample of the others; a residual of log_mean has mean zero wherever the model is right."""
    residual = np.log1p(answer) - np.log1p(y)
    generator = np.random.default_rng(0)
    for colour, label, rows in (
        (COLOURS[0], "no revenue", np.flatnonzero(y <= 0.0)),
        (COLOURS[1], "revenue", np.flatnonzero(y > 0.0)),
    ):
        shown = np.sort(generator.permutation(rows)[: DOTS // 2])
        x = np.maximum(answer[shown], LEAST)
        axis.plot(x, residual[shown], ".", color=colour, markersize=2.5, alpha=0.35, label=label, rasterized=True)
    order = np.argsort(answer, kind="stable")
    parts = [part for part in np.array_split(order, 20) if part.size]
    middle = [max(float(np.median(answer[part])), LEAST) for part in parts]
    axis.plot(middle, [float(residual[part].mean()) for part in parts], "o-", color="black", ms=3, lw=1, label="mean")
    axis.axhline(0.0, color=GREY, lw=1)
    axis.set(xscale="log", xlabel="log_mean, US dollars", ylabel="log1p ŷ − log1p y")
    axis.set_title(f"Residuals of log_mean, day {day}")
    legend(axis)


def _of_payers(axis: Axes, y: Floats, ltv: Floats, day: int) -> None:
    """Realised over expected revenue of those who paid: how heavy the tail is that a mean has to cover."""
    payers = y > 0.0
    ratio = np.log10(y[payers] / np.maximum(ltv[payers], LEAST))
    if ratio.size:
        axis.hist(ratio, bins=40, color=COLOURS[1], alpha=0.85)
        axis.axvline(float(np.median(ratio)), color="black", lw=1, label=f"median ×{10 ** np.median(ratio):.3g}")
    axis.axvline(0.0, color=GREY, lw=1)
    axis.set(xlabel="log10 (revenue / ltv)", ylabel="payers", title=f"Payers: revenue over ltv, day {day}")
    legend(axis)


def _against_oracle(axis: Axes, expected: Floats, ltv: Floats, day: int) -> None:
    """Prediction over truth, row by row: 1 is perfect; the band holds 80 % of the rows with such a truth."""
    order = np.argsort(expected, kind="stable")
    parts = [part for part in np.array_split(order, 25) if part.size]
    x = [max(float(np.median(expected[part])), LEAST) for part in parts]
    log_ratio = np.log(np.maximum(ltv, LEAST) / np.maximum(expected, LEAST))
    low, middle, high = (np.exp([np.quantile(log_ratio[part], q) for part in parts]) for q in (0.1, 0.5, 0.9))
    axis.fill_between(x, low, high, color=COLOURS[0], alpha=0.2, label="80 % of rows")
    axis.plot(x, middle, "o-", color=COLOURS[0], markersize=3, label="median")
    sums = [float(ltv[part].sum() / max(float(expected[part].sum()), LEAST)) for part in parts]
    axis.plot(x, sums, "s", color=COLOURS[1], markersize=3, label="Σŷ / ΣE[y | x]")
    axis.axhline(1.0, color=GREY, lw=1)
    axis.set(xscale="log", yscale="log", xlabel="oracle E[y | x], US dollars", ylabel="ltv / E[y | x]")
    axis.set_title(f"ltv against the truth, day {day}")
    legend(axis)


def _realised_ratio(axis: Axes, lift: list[dict[str, Any]], day: int) -> None:
    """Mean prediction over realised mean by decile, with the interval of the realised mean."""
    shown = [b for b in lift if b["realised"] > 0.0 and b["predicted"] > 0.0]
    ratio = [b["realised"] / b["predicted"] for b in shown]
    ends = [[None if b[n] is None else b[n] / b["predicted"] for b in shown] for n in ("realised_low", "realised_high")]
    axis.errorbar([11 - b["bin"] for b in shown], ratio, bars(ratio, *ends), fmt="o", color=COLOURS[0], capsize=2)
    axis.axhline(1.0, color=GREY, lw=1)
    axis.set(xlabel="decile of the prediction, lowest first", ylabel="mean y / mean ŷ", xticks=range(1, 11))
    axis.set_title(f"Realised over predicted, day {day}")
