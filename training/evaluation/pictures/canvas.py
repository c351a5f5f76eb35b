"""A figure that becomes a file: sizes, colours, grids and bars of intervals, the same in every picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart with any colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = "#7f7f7f"
PER_ROW = 4


@contextmanager
def canvas(path: Path, count: int = 1, width: float = 5.2, height: float = 4.4) -> Iterator[list[Axes]]:
    """Axes of `width` × `height` inches, at most `PER_ROW` in a row; the file is written when they are left."""
    columns = min(count, PER_ROW)
    rows = -(-count // columns)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    places = figure.subplots(rows, columns, squeeze=False).ravel()
    axes = list(places[:count])
    for unused in places[count:]:
        unused.remove()
    yield axes
    for one in axes:
        one.grid(True, which="major", alpha=0.25)
        one.set_axisbelow(True)
        one.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Laid out once here: left to itself, saving draws a figure with a layout twice.
    layout = figure.get_layout_engine()
    if layout is not None:
        layout.execute(figure)
    figure.set_layout_engine("none")
    figure.savefig(path, dpi=110, metadata={"Software": None})


def legend(axis: Axes, loc: Literal["best", "lower right", "upper right", "upper left"] = "best") -> None:
    """A legend where there is something to name: matplotlib warns of an empty one."""
    if axis.get_legend_handles_labels()[0]:
        axis.legend(loc=loc, fontsize=8, framealpha=0.85)


def bars(values: Sequence[float], low: Sequence[float | None], high: Sequence[float | None]) -> Any:
    """Lengths (2, n) of error bars; none where an end is undefined or on the wrong side of its value."""
    middle = np.asarray(values, dtype=np.float64)
    ends = [np.array([np.nan if one is None else one for one in side], dtype=np.float64) for side in (low, high)]
    lengths = np.stack([middle - ends[0], ends[1] - middle])
    return np.maximum(np.nan_to_num(lengths), 0.0)
