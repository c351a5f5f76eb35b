"""A run told: verdicts and measurements enter, a table for people and a JSON file leave."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from loadtests.benchmarks.measurements import Measurements
from loadtests.benchmarks.thresholds import Verdict


def show(console: Console, machine: Mapping[str, Any], measurements: Measurements, verdicts: Sequence[Verdict]) -> None:
    """Print the machine, every metric, and what each bound says."""
    show_machine(console, machine)
    console.print(held(verdicts))
    console.print(_measured(measurements))
    show_notes(console, measurements)


def show_machine(console: Console, machine: Mapping[str, Any]) -> None:
    """Print what the numbers were measured on."""
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    console.print(f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_at_start']} at the start")
    console.print(f"{machine['kernel']}, {machine['python']}; {packages}", highlight=False)


def show_notes(console: Console, measurements: Measurements) -> None:
    """Print what a reader has to know."""
    for note in measurements.notes:
        console.print(f"- {note}", highlight=False)


def write(path: Path, content: Mapping[str, Any], verdicts: Sequence[Verdict]) -> None:
    """Write a run as JSON, its verdicts added."""
    told = [
        {
            "metric": v.threshold.metric,
            "corpus": v.corpus,
            "value": v.value,
            "bound": v.threshold.bound,
            "upper": v.threshold.upper,
            "aim": v.threshold.aim,
            "passed": v.passed,
        }
        for v in verdicts
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**content, "thresholds": told}, indent=1) + "\n", encoding="utf-8")


def held(verdicts: Sequence[Verdict]) -> Table:
    """What each bound says of what was measured."""
    table = Table(title="Held to", title_justify="left")
    for column in ("what", "corpus"):
        table.add_column(column)
    for column in ("measured", "bound", "aim"):
        table.add_column(column, justify="right")
    table.add_column("")
    for v in verdicts:
        sign = "≤" if v.threshold.upper else "≥"
        value = "not measured" if v.value is None else number(v.value)
        aim = "" if v.threshold.aim is None else number(v.threshold.aim)
        verdict = "[green]holds[/]" if v.passed else "[bold red]MISSED[/]"
        table.add_row(v.threshold.says, v.corpus, value, f"{sign} {number(v.threshold.bound)}", aim, verdict)
    return table


def _measured(measurements: Measurements) -> Table:
    corpora = list(dict.fromkeys(corpus for values in measurements.metrics.values() for corpus in values))
    table = Table("metric", title="Measured", title_justify="left")
    for corpus in corpora:
        table.add_column(corpus, justify="right")
    for metric, values in measurements.metrics.items():
        table.add_row(metric, *(number(values[corpus]) if corpus in values else "" for corpus in corpora))
    return table


def number(value: float) -> str:
    """Three or four significant digits, without an exponent."""
    if abs(value) >= 100.0:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10.0 else f"{value:.3g}"
