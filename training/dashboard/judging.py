"""Answers to rows with labels enter; every figure with its interval, and the report's pictures of them, leave."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from training.dashboard.scoring import Answered, evaluation_rows
from training.evaluation.blocks import figure, number
from training.evaluation.pictures import groups, performance
from training.evaluation.report import evaluate
from training.evaluation.sections import CLASSIFIER_COLUMNS, HEADLINE

REPLICATES = 100
"""Of the bootstrap: fewer than a report has, so that a page opens in seconds."""

FEWEST_BUYERS = 5

Evaluation = dict[str, Any]

PICTURES: Mapping[str, tuple[str, Callable[[Path, Evaluation], None]]] = {
    "Reliability": (
        "Share of buyers against the mean probability of bins with equal numbers of rows; on the line is calibrated.",
        performance.reliability,
    ),
    "Calibration by decile": (
        "Mean prediction and mean revenue in each decile of the prediction; bars are 95 % intervals.",
        performance.calibration_by_decile,
    ),
    "Bias by cohort": (
        "Sum of predictions over sum of what came (or of the oracle's, where it is known); the line is 1.",
        groups.bias,
    ),
    "Cumulative gains": (
        "Share of revenue within the best-scored share of rows: the higher the curve, the better the order.",
        performance.cumulative_gains,
    ),
    "Lift": ("Mean revenue of each decile over that of all rows.", performance.lift),
}


def judge(first: Answered, others: Sequence[Answered] = ()) -> Evaluation:
    """`training.evaluation.report.evaluate` of one bundle, or of several on the same rows, the first against the rest.

    Raises
    ------
    DataError
        When the rows have no labels that could be judged by.
    """
    targets = first.bundle.predictor.declaration.targets
    return evaluate(
        evaluation_rows(first),
        [one.scored() for one in (first, *others)],
        targets.horizons,
        bootstrap_replicates=REPLICATES,
        seed=0,
        log_horizon=targets.log_mean,
    )


def too_few(answered: Answered) -> str | None:
    """Why the rows can not be judged by, in one line; None where they can."""
    if not answered.rows.labelled:
        gate = answered.bundle.predictor.declaration.targets.gate
        return f"These rows have no labels ({gate} and the revenue of each horizon): nothing to compare with."
    buyers = int(answered.rows.sample.labels.buyer.sum())
    if buyers < FEWEST_BUYERS:
        return f"{buyers} of {len(answered.rows):,} rows bought: take more rows, or other hours."
    return None


def draw(evaluation: Evaluation) -> dict[str, tuple[str, bytes]]:
    """The report's pictures: title → (caption, PNG)."""
    with tempfile.TemporaryDirectory(prefix="pltv-pictures-") as place:
        path = Path(place) / "picture.png"
        found = {}
        for title, (caption, picture) in PICTURES.items():
            picture(path, evaluation)
            found[title] = (caption, path.read_bytes())
        return found


def headline(evaluation: Evaluation) -> list[tuple[str, str, str]]:
    """Title, value and interval of the four figures to look at first, of the first predictor."""
    ours, day = evaluation["predictors"][0], f"d{evaluation['log_horizon']}"
    buyers, amounts = evaluation["classifier"][ours], evaluation["amounts"][ours][day]
    bias = "bias_oracle" if evaluation["bias_against"] == "oracle" else "bias_realised"
    chosen = {
        "AUC of P(buy)": buyers["auc"],
        "Calibration error of P(buy)": buyers["ece"],
        f"Normalised Gini, day {day[1:]}": amounts["normalised_gini"],
        f"Predicted / due, day {day[1:]}": amounts[bias],
    }
    return [
        (title, number(one["value"]), f"{number(one['low'])} to {number(one['high'])}") for title, one in chosen.items()
    ]


def figures(evaluation: Evaluation) -> dict[str, list[dict[str, str]]]:
    """Tables of `value [low, high]`: a table for the buyers and one a horizon, a line a predictor."""
    tables = {"Buyers": _lines(evaluation["classifier"], CLASSIFIER_COLUMNS)}
    for day in (f"d{h}" for h in evaluation["horizons"]):
        one_day = {who: found[day] for who, found in evaluation["amounts"].items()}
        tables[f"Revenue, day {day[1:]}"] = _lines(one_day, HEADLINE)
    return tables


def verdicts(evaluation: Evaluation) -> list[dict[str, str]]:
    """What differs between the first predictor and the others beyond chance: metric, where, verdict, figures."""
    return [
        {
            "metric": one["metric"],
            "of": one["where"],
            "verdict": one["verdict"],
            "improvement": figure(one["improvement"]),
        }
        for one in evaluation["verdicts"]
    ]


def _lines(estimates: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> list[dict[str, str]]:
    shown = [name for name in names if any(name in one for one in estimates.values())]
    return [{"predictor": who, **{n: figure(one.get(n)) for n in shown}} for who, one in estimates.items()]
