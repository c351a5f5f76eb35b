"""Results enter, a table for people leaves: each beside the references and beside us."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Final

from rich.table import Table

from loadtests.benchmarks.report import number
from loadtests.peers.results import OURS, Result, against

_COLUMNS: Final = (
    "requests/s", "p50 ms", "p99 ms", "÷ no-op", "÷ echo", "ours ÷ it", "CPU µs", "RSS MB", "processes", "checked",
)  # fmt: skip


def table(results: Sequence[Result], case: str) -> Table:
    """All candidates, those that failed with their reason.

    Parameters
    ----------
    results : sequence of Result
    case : str
        Which job the peers had.
    """
    shown = Table(title=f"The whole job beside ready rows ({case})", title_justify="left")
    shown.add_column("stack")
    for column in _COLUMNS:
        shown.add_column(column, justify="right")
    by_name = {result.name: result for result in results}
    for result in results:
        name = f"{result.title}, {result.setting}" if result.setting else result.title
        if result.failure is not None:
            shown.add_row(f"{name}: [bold red]{_plain(result.failure)}[/]", *("–" for _ in _COLUMNS))
        else:
            shown.add_row(name, *_cells(result, by_name))
    return shown


def _cells(result: Result, by_name: Mapping[str, Result]) -> list[str]:
    tail = [number(result.middle(figure)) for figure in ("rate", "p50_ms", "p99_ms")]
    references = [_ratio(against(result, by_name.get(name))) for name in ("noop", "echo")]
    own = [_ratio(against(by_name.get(name), result)) for name in OURS.values()]
    checked = str(result.checked.right) if result.checked.right else "constant"
    cost = [number(median(result.cpu_us)), number(result.rss_mb), str(result.processes)]
    return [*tail, *references, " … ".join(own), *cost, checked]


def _ratio(value: float | None) -> str:
    return "–" if value is None else number(value)


def _plain(text: str) -> str:
    """What a server said, without what the terminal would take for its own marks."""
    return text.replace("[", "\\[")
