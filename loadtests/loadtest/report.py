"""A run told: what was measured and what the bounds say of it enter; Markdown and JSON leave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from loadtests.benchmarks.report import number
from loadtests.benchmarks.thresholds import Verdict
from loadtests.loadtest import closed
from loadtests.open_loop.levels import Measured

_OUTCOMES: Final = {"sent": "sent", "good": "good", "degraded": "degraded", "shed": "shed", "failed": "failed"}
_LATENCIES: Final = {"p50_ms": "p50", "p95_ms": "p95", "p99_ms": "p99", "p99_9_ms": "p99.9", "shed_p99_ms": "503 p99"}
_LEVEL: Final = {"share": "load", "offered_per_s": "offered/s", "good_per_s": "good/s", **_OUTCOMES, **_LATENCIES,
                 "lag_p99_ms": "lag p99"}  # fmt: skip
_CALLS: Final = {"kind": "calls", **_OUTCOMES, **_LATENCIES}


def write_markdown(
    path: Path,
    about: Mapping[str, Any],
    shapes: Mapping[str, Mapping[str, Any]],
    levels: Mapping[str, Measured],
    verdicts: Sequence[Verdict],
    notes: Sequence[str],
) -> None:
    """Write the whole run for people.

    Parameters
    ----------
    path : Path
        Beside it lie the picture and locust's reports.
    about : mapping
        As `machine.describe`, with `target`, `at` and `bundle`.
    shapes : mapping of str to mapping
        Summaries of locust by shape.
    levels : mapping of str to Measured
        The open loop by corpus.
    verdicts : sequence of Verdict
    notes : sequence of str
    """
    parts = [f"# Load test, {about['at']}\n", _machine(about), "## Held to\n", held(verdicts)]
    parts += [f"- {note}" for note in notes]
    if levels:
        parts += ["\n## Open loop\n", _OPEN_LOOP_SAYS, "\n![latency and outcome by load](open_loop.png)"]
        for corpus, found in levels.items():
            parts += [f"\n### {corpus}: capacity {found.capacity:,.0f} good answers a second\n", level_table(found)]
    for shape, summary in shapes.items():
        parts += [f"\n## locust: {shape}, {summary['seconds']:.0f} s\n", call_table(summary)]
        parts += [f"\n[Report]({shape}.html), [table]({shape}_stats.csv), [history]({shape}_stats_history.csv)"]
    path.write_text("\n".join(parts) + "\n", encoding="utf-8")


def level_table(found: Measured) -> str:
    """The levels of the open loop, a row each."""
    rows = [{**level.as_json(), "share": f"{100 * level.share:.0f} %"} for level in found.levels]
    return _table(_LEVEL, rows)


def call_table(summary: Mapping[str, Any]) -> str:
    """The kinds of calls of a shape, a row each."""
    return _table(_CALLS, closed.table(summary))


def held(verdicts: Sequence[Verdict]) -> str:
    """What each bound says."""
    rows = [
        {
            "what": verdict.threshold.says,
            "corpus": verdict.corpus,
            "measured": "not measured" if verdict.value is None else verdict.value,
            "bound": f"{'≤' if verdict.threshold.upper else '≥'} {number(verdict.threshold.bound)}",
            "aim": verdict.threshold.aim,
            "": "holds" if verdict.passed else "**MISSED**",
        }
        for verdict in verdicts
    ]
    return _table({name: name for name in ("what", "corpus", "measured", "bound", "aim", "")}, rows)


def _machine(about: Mapping[str, Any]) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in about["packages"].items())
    return (
        f"{about['target']}, bundle {about['bundle']}. {about['cpu']}, {about['cores']} cores, load "
        f"{about['load_at_start']} at the start; {about['kernel']}, {about['python']}; {packages}.\n"
    )


def _table(columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [" | ".join(columns.values()), " | ".join("---" for _ in columns)]
    lines += [" | ".join(_cell(row.get(key)) for key in columns) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return number(value)
    return f"{value:,}" if isinstance(value, int) else str(value)


_OPEN_LOOP_SAYS: Final = (
    "Requests leave when they are due (Poisson arrivals), whatever the answers do. Latencies, in ms, count from that "
    "instant, the generator's own lateness (lag) in them. Only a good answer is throughput: 200, checked, nothing "
    "missing. `503 p99` is how long a refusal took."
)
