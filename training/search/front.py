"""A study enters; the Pareto front as table and picture, and the point that a budget chooses, leave."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import optuna
from optuna.trial import TrialState

from app.errors import InputError
from training.evaluation.pictures.canvas import COLOURS, GREY, canvas, legend
from training.search.study import Reference

JSON: Final = "tune.json"
PICTURE: Final = "pareto.png"
TABLE: Final = "tune.md"


@dataclass(frozen=True)
class Point:
    """A trial: its error relative to the configuration as it is, microseconds of the ensemble, and its values."""

    trial: int
    error: float
    us: float
    errors: dict[str, float]
    values: dict[str, Any]


@dataclass(frozen=True)
class Front:
    """What a search found.

    Parameters
    ----------
    points : tuple of Point
        All that were measured, by trial.
    best : tuple of Point
        Those that none beats in both, the cheapest first.
    pruned : dict of int to str
        Trial → why it was not trained.
    reference : Reference
    """

    points: tuple[Point, ...]
    best: tuple[Point, ...]
    pruned: dict[int, str]
    reference: Reference


def front_of(study: optuna.Study, reference: Reference) -> Front:
    """Read the front off a study."""
    trials = study.get_trials(deepcopy=False)
    points = tuple(
        Point(t.number, t.values[0], t.values[1], dict(t.user_attrs["errors"]), dict(t.params))
        for t in trials
        if t.state is TrialState.COMPLETE
    )
    pruned = {t.number: str(t.user_attrs["pruned"]) for t in trials if t.state is TrialState.PRUNED}
    return Front(points, undominated(points), pruned, reference)


def undominated(points: Sequence[Point]) -> tuple[Point, ...]:
    """Points that no other is at least as good as in both and better in one, the cheapest first."""
    best: list[Point] = []
    for point in sorted(points, key=lambda p: (p.us, p.error, p.trial)):
        if not best or point.error < best[-1].error:
            best.append(point)
    return tuple(best)


def choose(front: Front, budget_us: float | None) -> tuple[Point, float]:
    """The point of least error within the budget (None: what the configuration as it is takes), and the budget.

    Raises
    ------
    InputError
        When nothing that was measured is within it.
    """
    budget = front.reference.us if budget_us is None else budget_us
    within = [point for point in front.best if point.us <= budget]
    if not within:
        cheapest = f"the cheapest of {len(front.points)} took {front.best[0].us:.1f}" if front.best else "none"
        raise InputError(f"expected a configuration of at most {budget:.1f} µs, received {cheapest}", "budget-us")
    return within[-1], budget


def lines(front: Front, chosen: Point | None) -> list[str]:
    """The front as a Markdown table, a line a point, the chosen one marked."""
    names = sorted({name for point in front.best for name in point.values})
    head = ["trial", "error", "µs", "log loss", "MSLE", "deviance", *(name.removeprefix("training.") for name in names)]
    table = [head, ["---"] * len(head)]
    reference = front.reference
    own = [f"{reference.errors[name]:.5f}" for name in ("log_loss", "msle", "deviance")]
    table.append(["as it is", "1.0000", f"{reference.us:.1f}", *own, *([""] * len(names))])
    for point in front.best:
        mark = f"**{point.trial}**" if point == chosen else str(point.trial)
        shown = [f"{point.errors[name]:.5f}" for name in ("log_loss", "msle", "deviance")]
        values = [_short(point.values.get(name)) for name in names]
        table.append([mark, f"{point.error:.4f}", f"{point.us:.1f}", *shown, *values])
    return ["| " + " | ".join(row) + " |" for row in table]


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def draw(path: Path, front: Front, chosen: Point | None, budget_us: float) -> None:
    """All points, the front as a step line, the configuration as it is, the budget and the choice."""
    with canvas(path, 1, width=7.2, height=5.0) as (axis,):
        axis.scatter([p.us for p in front.points], [p.error for p in front.points], s=14, color=GREY, label="trials")
        us, errors = [p.us for p in front.best], [p.error for p in front.best]
        axis.step(us, errors, where="post", color=COLOURS[0], marker="o", markersize=4, label="Pareto front")
        axis.plot([front.reference.us], [1.0], "s", color=COLOURS[1], label="the configuration as it is")
        if chosen is not None:
            axis.plot([chosen.us], [chosen.error], "*", ms=14, color=COLOURS[2], label=f"chosen: trial {chosen.trial}")
        axis.axvline(budget_us, color=GREY, lw=1, ls="--", label=f"budget {budget_us:.3g} µs")
        axis.set(xlabel="compiled ensemble, µs for one row", ylabel="validation error, relative")
        legend(axis)


def write(out: Path, front: Front, chosen: Point | None, budget_us: float) -> list[Path]:
    """Write `tune.json`, `tune.md` and `pareto.png` into `out`."""
    found = {
        "reference": asdict(front.reference),
        "budget_us": budget_us,
        "chosen": None if chosen is None else chosen.trial,
        "front": [asdict(point) for point in front.best],
        "points": [asdict(point) for point in front.points],
        "pruned": front.pruned,
    }
    paths = [out / JSON, out / TABLE, out / PICTURE]
    paths[0].write_text(json.dumps(found, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    about = (
        f"{len(front.points)} configurations measured, {len(front.pruned)} refused untrained. Those that none beats in "
        "both error and microseconds; errors are relative to the configuration as it is, which every timing takes "
        "turns with."
    )
    text = ["# Search: error and microseconds", "", about, "", *lines(front, chosen), "", f"![front]({PICTURE})", ""]
    paths[1].write_text("\n".join(text), encoding="utf-8")
    draw(paths[2], front, chosen, budget_us)
    return paths
