"""Pictures of how good the answers are: reliability, calibration, gains, Lorenz curves and lift."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from pathlib import Path
from typing import Any

from training.evaluation.pictures.canvas import COLOURS, GREY, bars, canvas, legend
from training.evaluation.rows import ORACLE

Evaluation = Mapping[str, Any]


def _axes_title(axis: Any, day: str) -> None:
    axis.set_title(f"Day {day.removeprefix('d')}")


def reliability(path: Path, evaluation: Evaluation) -> None:
    """Share of buyers against mean probability, logarithmic: all predictors, and ours alone with intervals."""
    found = evaluation["reliability"]
    with canvas(path, 2) as axes:
        for axis, names in zip(axes, ([*found][:1], [*found]), strict=True):
            ends: list[float] = []
            for colour, name in zip(cycle(COLOURS), names, strict=False):
                bins = [b for b in found[name] if b["p"] > 0.0 and b["rate"] > 0.0]
                p, rate = [b["p"] for b in bins], [b["rate"] for b in bins]
                ends += p + rate
                if len(names) == 1:
                    lengths = bars(rate, [b["rate_low"] for b in bins], [b["rate_high"] for b in bins])
                    axis.errorbar(p, rate, lengths, fmt="o", color=colour, capsize=2, markersize=4, label=name)
                else:
                    axis.plot(p, rate, "o-", color=colour, markersize=3, lw=1, label=name)
            if ends:
                axis.plot([min(ends), max(ends)], [min(ends), max(ends)], color=GREY, lw=1, label="perfect")
                axis.set_ylim(min(ends) / 1.6, max(ends) * 1.6)
            axis.set(xscale="log", yscale="log", xlabel="mean predicted P(buy) of the bin", ylabel="share of buyers")
            axis.set_title("Reliability of p_buyer" + ("" if len(names) == 1 else ", all predictors"))
            legend(axis)


def calibration_by_decile(path: Path, evaluation: Evaluation) -> None:
    """Mean prediction, realised mean with its interval, and the oracle's, in each decile, logarithmic.

    A decile without revenue has no place on a log scale and is left out.
    """
    lift_tables = evaluation["lift"]
    with canvas(path, len(lift_tables)) as axes:
        for axis, (day, bins) in zip(axes, lift_tables.items(), strict=True):
            curves = [("predicted", "predicted", "o-"), ("realised", "realised", "s")]
            if any("expected" in b for b in bins):
                curves.append(("expected", "oracle E[y | x]", "^:"))
            for colour, (name, label, style) in zip(COLOURS, curves, strict=False):
                shown = [b for b in bins if b[name] > 0.0]
                x, y = [11 - b["bin"] for b in shown], [b[name] for b in shown]
                lengths = None
                if name == "realised":
                    lengths = bars(y, [b["realised_low"] for b in shown], [b["realised_high"] for b in shown])
                axis.errorbar(x, y, lengths, fmt=style, color=colour, label=label, capsize=2, markersize=5, lw=1.2)
            axis.set(xlabel="decile of the prediction, lowest first", xticks=range(1, 11), yscale="log")
            axis.set_ylabel("mean revenue, US dollars per install")
            positive = [b[n] for b in bins for n in ("predicted", "realised") if b[n] > 0.0]
            if positive:
                axis.set_ylim(min(positive) / 3.0, max(positive) * 3.0)
            _axes_title(axis, day)
            legend(axis, "upper left")


def cumulative_gains(path: Path, evaluation: Evaluation) -> None:
    """Share of revenue within the best-scored share of rows: what Gini is the area of."""
    what = "realised" if evaluation["bias_against"] != ORACLE else "expected"
    with canvas(path, len(evaluation["gains"])) as axes:
        for axis, (day, curves) in zip(axes, evaluation["gains"].items(), strict=True):
            axis.plot([0.0, 1.0], [0.0, 1.0], color=GREY, lw=1, label="no order")
            for colour, (name, curve) in zip(cycle(COLOURS), curves.items(), strict=False):
                style = "--" if name == ORACLE else "-"
                width = 2.0 if name == next(iter(curves)) else 1.1
                axis.plot(curve["rows"], curve["share"], style, color=colour, lw=width, label=name)
            axis.set(xlabel="share of rows, best first", ylabel=f"share of {what} revenue", xlim=(0, 1), ylim=(0, 1.01))
            _axes_title(axis, day)
            legend(axis, "lower right")


def lorenz_curves(path: Path, evaluation: Evaluation) -> None:
    """How concentrated revenue and predictions are, each in its own order; rows on a logarithmic scale."""
    with canvas(path, len(evaluation["lorenz"])) as axes:
        for axis, (day, curves) in zip(axes, evaluation["lorenz"].items(), strict=True):
            for colour, (name, curve) in zip(COLOURS, curves.items(), strict=False):
                shown = [(x, y) for x, y in zip(curve["rows"], curve["share"], strict=True) if x > 0.0]
                axis.plot(*zip(*shown, strict=True), color=colour, label=name)
            axis.set(xscale="log", xlabel="share of rows, richest first", ylabel="share of its own sum", ylim=(0, 1.01))
            _axes_title(axis, day)
            legend(axis, "upper left")


def lift(path: Path, evaluation: Evaluation) -> None:
    """Realised mean of each decile over that of all rows, with intervals, logarithmic."""
    with canvas(path, len(evaluation["lift"])) as axes:
        for axis, (day, bins) in zip(axes, evaluation["lift"].items(), strict=True):
            shown = [b for b in bins if b["lift"] is not None and b["lift"] > 0.0]
            y = [b["lift"] for b in shown]
            lengths = bars(y, [b["lift_low"] for b in shown], [b["lift_high"] for b in shown])
            axis.bar([b["bin"] for b in shown], y, yerr=lengths, color=COLOURS[0], alpha=0.85, capsize=3)
            axis.axhline(1.0, color=GREY, lw=1)
            if y:
                axis.set_yscale("log")
                axis.set_ylim(min(y) / 2.0, max(y) * 2.0)
            axis.set(xlabel="decile of the prediction, highest first", xticks=range(1, 11))
            axis.set_ylabel("lift: mean y of the decile / mean y")
            _axes_title(axis, day)
