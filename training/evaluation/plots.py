"""Pictures of an evaluation: rows and predictions → PNG files, drawn without a display."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from training.evaluation.classification import equal_mass_bins, reliability_bins
from training.evaluation.metrics import DECILES
from training.evaluation.ranking import Floats, TieGroups
from training.evaluation.rows import ORACLE, EvaluationRows, Scored

# Okabe and Ito's colours, told apart with any colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
TOP_FEATURES = 30


@contextmanager
def _figure(path: Path, columns: int = 1, width: float = 5.2, height: float = 4.4) -> Iterator[list[Axes]]:
    figure = Figure(figsize=(width * columns, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, columns, squeeze=False)[0]
    yield list(axes)
    for one in axes:
        one.grid(True, alpha=0.25)
        one.set_axisbelow(True)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _legend(axis: Axes, loc: Literal["best", "lower right"] = "best") -> None:
    """A legend where there is something to name: matplotlib warns of an empty one."""
    if axis.get_legend_handles_labels()[0]:
        axis.legend(loc=loc)


def _decile_means(y_hat: Floats, values: Floats) -> Floats:
    """Mean of `values` in each decile of `y_hat`, lowest decile first; NaN where ties left it empty."""
    ones = np.ones(y_hat.shape[0])
    code = DECILES - 1 - equal_mass_bins(TieGroups(y_hat).positions(ones), float(ones.sum()), DECILES)
    rows = np.bincount(code, minlength=DECILES)
    sums = np.bincount(code, values, minlength=DECILES)
    means: Floats = np.full(DECILES, np.nan)
    np.divide(sums, rows, out=means, where=rows > 0)
    return means


def calibration_by_decile(path: Path, rows: EvaluationRows, ours: Scored, horizons: Sequence[int]) -> None:
    """Mean prediction against realised mean, and the oracle's, in each decile of the prediction, log scale.

    A decile without revenue has no place on a log scale and is left out.
    """
    with _figure(path, len(horizons)) as axes:
        for column, (horizon, axis) in enumerate(zip(horizons, axes, strict=True)):
            known = np.isfinite(rows.y[:, column])
            y_hat = ours.ltv[known, column]
            decile = np.arange(1, DECILES + 1)
            curves = [("predicted", y_hat, "o-"), ("realised", rows.y[known, column], "s--")]
            if rows.oracle is not None:
                curves.append(("oracle E[y | x]", rows.oracle.ltv[known, column], "^:"))
            for colour, (label, values, style) in zip(COLOURS, curves, strict=False):
                means = _decile_means(y_hat, values)
                shown = np.nan_to_num(means) > 0.0
                axis.plot(decile[shown], means[shown], style, color=colour, label=label)
            axis.set(title=f"Day {horizon}", xlabel="decile of the prediction", xticks=decile)
            axis.set_yscale("log")
            axis.set_ylabel("mean revenue, US dollars per install")
            _legend(axis)


def reliability_curve(path: Path, rows: EvaluationRows, scored: Sequence[Scored]) -> None:
    """Share of buyers against mean probability in bins of equal mass, for every predictor that has one."""
    buyer = rows.buyer.astype(np.float64)
    with _figure(path) as (axis,):
        ends: list[float] = []
        for colour, one in zip(cycle(COLOURS), scored, strict=False):
            if one.p_buyer is None:
                continue
            bins = [b for b in reliability_bins(buyer, one.p_buyer) if b["p"] > 0.0 and b["rate"] > 0.0]
            p, rate = [b["p"] for b in bins], [b["rate"] for b in bins]
            axis.plot(p, rate, "o-", color=colour, markersize=4, label=one.name)
            ends += p + rate
        if ends:
            axis.plot([min(ends), max(ends)], [min(ends), max(ends)], color="grey", lw=1, label="perfect")
        axis.set(xscale="log", yscale="log", xlabel="mean predicted P(buy)", ylabel="share of buyers")
        axis.set_title("Reliability of p_buyer")
        _legend(axis)


def _gains(y: Floats, y_hat: Floats) -> tuple[Floats, Floats]:
    groups = TieGroups(y_hat)
    rows, revenue = np.cumsum(groups.sums(np.ones(y.shape[0]))), np.cumsum(groups.sums(y))
    return np.append(0.0, rows / rows[-1]), np.append(0.0, revenue / (revenue[-1] or 1.0))


def cumulative_gains(path: Path, rows: EvaluationRows, scored: Sequence[Scored], horizons: Sequence[int]) -> None:
    """Share of revenue within the best-scored share of rows: the Lorenz curves that Gini is the area of.

    Revenue is the oracle's expectation where it is known, otherwise what was realised.
    """
    with _figure(path, len(horizons)) as axes:
        for column, (horizon, axis) in enumerate(zip(horizons, axes, strict=True)):
            known = np.isfinite(rows.y[:, column])
            y = rows.y[known, column] if rows.oracle is None else rows.oracle.ltv[known, column]
            for colour, one in zip(cycle(COLOURS), scored, strict=False):
                x, share = _gains(y, one.ltv[known, column])
                style = "--" if one.name == ORACLE else "-"
                axis.plot(x, share, style, color=colour, label=one.name)
            what = "realised" if rows.oracle is None else "expected"
            axis.set(title=f"Day {horizon}", xlabel="share of rows, best first")
            axis.set_ylabel(f"share of {what} revenue")
            _legend(axis, "lower right")


def feature_importance(path: Path, model: str, gain: Mapping[str, float]) -> None:
    """The features with the most gain, as shares of all gain, the largest on top."""
    total = sum(gain.values()) or 1.0
    top = sorted(gain.items(), key=lambda item: -item[1])[:TOP_FEATURES][::-1]
    with _figure(path, width=8.5, height=1.2 + 0.24 * len(top)) as (axis,):
        axis.barh([name for name, _ in top], [value / total for _, value in top], color=COLOURS[0])
        axis.set(title=f"Feature importance: {model}", xlabel="share of gain")
        axis.tick_params(axis="y", labelsize=8)
        axis.margins(y=0.01)


def draw_all(
    directory: Path,
    rows: EvaluationRows,
    scored: Sequence[Scored],
    horizons: Sequence[int],
    importance: Mapping[str, Mapping[str, float]],
) -> dict[str, Path]:
    """Draw every picture into `directory`.

    Returns
    -------
    dict
        Title → file, in the order of the report.
    """
    drawn = {
        "Calibration by decile": directory / "calibration.png",
        "Reliability": directory / "reliability.png",
        "Cumulative gains": directory / "gains.png",
    }
    calibration_by_decile(drawn["Calibration by decile"], rows, scored[0], horizons)
    reliability_curve(drawn["Reliability"], rows, scored)
    cumulative_gains(drawn["Cumulative gains"], rows, scored, horizons)
    for model, gain in importance.items():
        path = directory / f"importance_{model}.png"
        feature_importance(path, model, gain)
        drawn[f"Feature importance, {model}"] = path
    return drawn
