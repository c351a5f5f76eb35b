"""What the command line shows: stages and mistakes on stderr, results as text for stdout."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from training.progress import Advance

CONSOLE = Console(stderr=True, highlight=False)


class Bars:
    """Draws every stage as a bar on a terminal; elsewhere writes one line as it ends."""

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Advance]:
        """Open a stage of `total` steps, None for unknown."""
        started = time.monotonic()
        columns = (TextColumn("{task.description:32}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        with Progress(*columns, console=CONSOLE, transient=True, disable=not CONSOLE.is_terminal) as progress:
            task = progress.add_task(name, total=total)
            yield lambda steps: progress.advance(task, steps)
        CONSOLE.print(f"{name:32} {time.monotonic() - started:7.1f} s")


def fail(message: str, code: int) -> int:
    """Print one line `error: …` on stderr and return the exit code."""
    print("error:", " ".join(message.split()), file=sys.stderr, flush=True)
    return code


def summary(evaluation: dict[str, Any]) -> str:
    """A table of an evaluation, a line a predictor: what decides, at the log horizon."""
    day = f"d{evaluation['log_horizon']}"
    known = evaluation["bias_against"] == "oracle"
    gini, bias = ("normalised_gini_oracle", "bias_oracle") if known else ("normalised_gini", "bias_realised")
    lines = [f"{evaluation['rows']} rows; {day} against {evaluation['bias_against']}", ""]
    lines.append(f"{'predictor':12} {'AUC':>7} {'Gini':>7} {'bias':>7} {'MSLE':>8}")
    for name in evaluation["predictors"]:
        figures = (
            evaluation["classifier"].get(name, {}).get("auc"),
            evaluation["amounts"][name][day].get(gini),
            evaluation["amounts"][name][day].get(bias),
            evaluation["log_mean"].get(name, {}).get("msle"),
        )
        lines.append(
            f"{name:12} {_cell(figures[0], 7)} {_cell(figures[1], 7)} {_cell(figures[2], 7)} {_cell(figures[3], 8)}"
        )
    lines.append("")
    lines.append(f"order violations: {evaluation['order_violations'][evaluation['predictors'][0]]}")
    return "\n".join(lines)


def _cell(figure: dict[str, Any] | None, width: int) -> str:
    value = None if figure is None else figure["value"]
    return f"{'—' if value is None else format(value, f'.{width - 3}f'):>{width}}"


def description(manifest: dict[str, Any]) -> str:
    """A manifest for people."""
    horizons = ", ".join(f"D{h}" for h in manifest["horizons"])
    rows = {
        "name": manifest["name"],
        "created": manifest["created"],
        "platform": " ".join(str(manifest["platform"].get(k, "")) for k in ("system", "machine", "libc")),
        "predicts": f"{horizons}, {manifest['currency']} per {manifest['label_unit']}",
        "features": len(manifest["feature_names"]),
        "seed": manifest["seed"],
        "declaration": manifest["declaration_fingerprint"],
        "signed": "yes" if manifest["signature"] else "no",
    }
    rows |= {part: f"{w['first']} to {w['last']}, {w['rows']} rows" for part, w in manifest["data_window"].items()}
    rows |= {f"  {name}": f"{entry['bytes']:>10} bytes" for name, entry in manifest["files"].items()}
    return "\n".join(
        f"{name:40} {value}" if name.startswith("  ") else f"{name:12} {value}" for name, value in rows.items()
    )
