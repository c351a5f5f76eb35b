"""An open-loop run as a picture: latency by percentile for each level, and what became of the load that was offered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from loadtests.loadtest.answers import Outcome
from loadtests.open_loop.levels import Level, Measured

_LEVEL_COLOURS: Final = ("#86b6ef", "#3987e5", "#1c5cab", "#e34948")
"""Blues that deepen up to the capacity, red past it."""
_OUTCOME_COLOURS: Final = {
    Outcome.GOOD: "#2a78d6",
    Outcome.DEGRADED: "#eda100",
    Outcome.SHED: "#b9b7ae",
    Outcome.FAILED: "#e34948",
}
_NINES: Final = (0.0, 0.5, 0.9, 0.99, 0.999, 0.9999)
_NAMED: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
_INK: Final = "#3d3d3a"
_GRID: Final = "#e4e2da"


def draw(measured: Mapping[str, Measured], title: str, out: Path) -> list[Path]:
    """Write `out` with the suffixes .png and .svg.

    Parameters
    ----------
    measured : mapping of str to Measured
        By corpus; a row of the picture each.
    title : str
        What was measured, on what.
    out : Path
        Without a suffix.

    Returns
    -------
    list of Path
    """
    figure = Figure(figsize=(12.5, 0.9 + 4.1 * len(measured)), layout="constrained")
    figure.suptitle(title, fontsize=10, color=_INK, x=0.01, ha="left")
    axes = figure.subplots(len(measured), 2, squeeze=False, gridspec_kw={"width_ratios": (1.5, 1.0)})
    for (latency, fate), (corpus, found) in zip(axes, measured.items(), strict=True):
        _latencies(latency, corpus, found)
        _fates(fate, corpus, found)
    paths = [out.with_suffix(suffix) for suffix in (".png", ".svg")]
    for path in paths:
        figure.savefig(path, dpi=130, metadata={"Date": None} if path.suffix == ".svg" else None)
    return paths


def quantiles(latencies_ms: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """The curve of a latency by its percentile, on an axis where every nine takes as much room.

    Parameters
    ----------
    latencies_ms : sequence of float, at least one

    Returns
    -------
    tuple of ndarray
        Nines (0.99 is at 2) and the latencies there, ms; each rank that is visible, one in a thousand of the bulk.
    """
    ordered = np.sort(np.asarray(latencies_ms, dtype=np.float64))
    n = len(ordered)
    bulk = np.linspace(0, n - 1, min(n, 1000)).astype(np.intp)
    ranks = np.unique(np.concatenate([bulk, np.arange(max(0, n - 1000), n)]))
    return -np.log10(1.0 - ranks / n), ordered[ranks]


def _latencies(axes: Any, corpus: str, found: Measured) -> None:
    for level, colour in zip(found.levels, _LEVEL_COLOURS, strict=True):
        good = level.tally.latencies_ms[Outcome.GOOD]
        if good:
            axes.plot(*quantiles(good), color=colour, linewidth=1.8, label=_name(level))
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xlim(0.0, 4.05)
    axes.set_xticks([-np.log10(1.0 - share) for share in _NINES], [f"{100 * share:g} %" for share in _NINES])
    axes.set_xlabel("percentile of the good answers")
    axes.set_ylabel("ms from when it was due")
    axes.set_title(f"{corpus}: latency by percentile", **_left())
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    _plain(axes, "both")


def _fates(axes: Any, corpus: str, found: Measured) -> None:
    names = [f"{100 * level.share:.0f} %" for level in found.levels]
    bottom = np.zeros(len(names))
    for outcome, colour in _OUTCOME_COLOURS.items():
        rates = np.array([level.tally.count(outcome) / level.seconds for level in found.levels])
        axes.bar(names, rates, 0.62, bottom, color=colour, edgecolor="white", linewidth=0.8, label=str(outcome))
        bottom += rates
    axes.axhline(found.capacity, color=_INK, linewidth=1.0, linestyle=(0, (4, 3)))
    axes.set_ylim(0.0, 1.18 * max(bottom.max(), found.capacity))
    axes.annotate(
        f"capacity {found.capacity:,.0f}/s",
        (-0.4, found.capacity),
        xytext=(0, 3),
        textcoords="offset points",
        fontsize=8,
        color=_INK,
    )
    for place, level in enumerate(found.levels):
        axes.annotate(
            f"{level.goodput:,.0f}", (place, level.goodput / 2), ha="center", va="center", fontsize=8, color="white"
        )
    axes.set_xlabel("load offered, of the capacity")
    axes.set_ylabel("requests a second")
    axes.set_title(f"{corpus}: what became of them", **_left())
    axes.legend(frameon=False, fontsize=8, loc="upper left", ncols=4, columnspacing=1.0, handlelength=1.0)
    _plain(axes, "y")


def _name(level: Level) -> str:
    found = {text: level.tally.percentile_ms(Outcome.GOOD, share) for text, share in _NAMED.items()}
    told = [f"{text} {value:.1f} ms" for text, value in found.items() if value is not None]
    return f"{100 * level.share:.0f} %: {', '.join(told)}"


def _left() -> dict[str, Any]:
    return {"loc": "left", "fontsize": 10, "color": _INK}


def _plain(axes: Any, grid: str) -> None:
    axes.grid(True, axis=grid, color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_GRID)
    axes.tick_params(colors=_INK, labelsize=8, length=0)
    axes.xaxis.label.set(color=_INK, fontsize=9)
    axes.yaxis.label.set(color=_INK, fontsize=9)
