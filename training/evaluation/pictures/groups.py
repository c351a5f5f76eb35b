"""Pictures of groups: bias by cohort and drift by column, each with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.evaluation.drift import ALARM, WATCH
from training.evaluation.pictures.canvas import COLOURS, GREY, bars, canvas

LABEL = 28
TOP_DRIFT = 25
LEAST = 1e-3
WIDEST = (1 / 8, 8)
"""Bias beyond which the axis ends: a group of few payers has an interval that would flatten all others."""


def _short(text: str) -> str:
    return text if len(text) <= LABEL else text[: LABEL - 1] + "…"


def bias(path: Path, evaluation: Mapping[str, Any]) -> None:
    """Σŷ / Σtarget of every group at the log horizon, a column a cohort, logarithmic."""
    cohorts, day = evaluation["bias_by"], f"d{evaluation['log_horizon']}"
    tallest = max(len(groups) for groups in cohorts.values())
    with canvas(path, len(cohorts), width=4.0, height=1.3 + 0.26 * tallest) as axes:
        for axis, (cohort, groups) in zip(axes, cohorts.items(), strict=True):
            known = {name: g for name, g in groups.items() if g[day]["value"]}
            values = [g[day]["value"] for g in known.values()]
            lengths = bars(values, [g[day]["low"] for g in known.values()], [g[day]["high"] for g in known.values()])
            places = range(len(known))
            axis.errorbar(values, places, xerr=lengths, fmt="o", color=COLOURS[0], capsize=2, markersize=4)
            axis.axvline(1.0, color=GREY, lw=1)
            axis.set_xscale("log")
            axis.set_xlim(
                max(WIDEST[0], min([0.5, *(v / 1.3 for v in values)])),
                min(WIDEST[1], max([2.0, *(v * 1.3 for v in values)])),
            )
            axis.set_xticks([0.5, 1.0, 2.0], ["0.5", "1", "2"])
            axis.minorticks_off()
            axis.set_yticks(places, [f"{_short(name)} ({g['rows']:,})" for name, g in known.items()], fontsize=8)
            axis.set_ylim(tallest - 0.4, -0.6)
            axis.set(title=f"By {cohort}", xlabel=f"Σŷ / Σtarget, {day}")


def drift(path: Path, columns: Sequence[Mapping[str, Any]]) -> None:
    """The columns with the largest PSI, the largest on top, logarithmic."""
    top = list(columns[:TOP_DRIFT])[::-1]
    values = [one["psi"]["value"] for one in top]
    lengths = bars(values, [one["psi"]["low"] for one in top], [one["psi"]["high"] for one in top])
    with canvas(path, width=8.5, height=1.4 + 0.26 * len(top)) as (axis,):
        axis.barh(range(len(top)), values, xerr=lengths, color=COLOURS[0], alpha=0.85, capsize=2)
        axis.set_xscale("log")
        axis.set_xlim(LEAST, max([1.0, *values]) * 1.5)
        axis.set_yticks(range(len(top)), [one["feature"] for one in top], fontsize=8)
        for bound, word, colour in ((WATCH, "moved", COLOURS[4]), (ALARM, "shifted", COLOURS[1])):
            axis.axvline(bound, color=colour, lw=1, ls="--", label=f"{word}: PSI > {bound}")
        axis.legend(loc="lower right", fontsize=8)
        axis.set(xlabel="population stability index (logarithmic)", title="Drift since training")
        axis.margins(y=0.01)
