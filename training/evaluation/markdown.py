"""The report as text: an evaluation → Markdown that a person reads from top to bottom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from training.evaluation.rows import Provenance

CLASSIFIER_COLUMNS = ("auc", "pr_auc", "log_loss", "ece", "ece_oracle", "brier", "f1", "precision", "recall")
HEADLINE = (
    "normalised_gini",
    "normalised_gini_oracle",
    "spearman",
    "msle",
    "mae",
    "nrmse",
    "decile_mape",
    "decile_mape_oracle",
    "bias_oracle",
    "bias_realised",
    "missed_whales",
)
_DUST = 1e-12
LIFT_COLUMNS = ("predicted", "realised", "lift", "cumulative_share")
DETAIL = ("rmsle", "rmse", "r2", "nmae", "mape_payers", "gini", "mutual_gini", "spearman_payers")


def figure(estimate: Mapping[str, float | None] | None) -> str:
    """`value [low, high]` in four digits; — where undefined."""
    if estimate is None or estimate["value"] is None:
        return "—"
    if estimate["low"] is None or estimate["high"] is None:
        return number(estimate["value"])
    return f"{number(estimate['value'])} [{number(estimate['low'])}, {number(estimate['high'])}]"


def number(value: float | None) -> str:
    """Four digits, without the dust of rounding around zero; — where undefined."""
    if value is None:
        return "—"
    return f"{value:.4g}" if abs(value) > _DUST else "0"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table; a bar within a cell is escaped."""
    lines = [list(header), ["---"] * len(header)]
    lines += [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def _by_predictor(estimates: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    """One line a predictor, one column for each of `names` that any of them has."""
    shown = [name for name in names if any(name in one for one in estimates.values())]
    rows = [[who, *(figure(one.get(name)) for name in shown)] for who, one in estimates.items()]
    return [*table(["predictor", *shown], rows), ""]


def _honesty(evaluation: Mapping[str, Any]) -> list[str]:
    ours = evaluation["predictors"][0]
    if not evaluation["baselines"]:
        return ["No baseline was scored.", ""]
    lines = []
    for baseline in evaluation["baselines"]:
        mine = [v for v in evaluation["verdicts"] if v["baseline"] == baseline]
        count = {w: sum(v["verdict"] == w for v in mine) for w in ("better", "worse", "indistinguishable")}
        lines.append(
            f"- against **{baseline}**: better on {count['better']}, indistinguishable on "
            f"{count['indistinguishable']}, worse on {count['worse']} of {len(mine)} figures"
        )
    lines += ["", f"### Where {ours} is not better", ""]
    behind = [v for v in evaluation["verdicts"] if v["verdict"] != "better"]
    behind.sort(key=lambda v: v["verdict"] != "worse")
    lines += [f"- {v['sentence']}" for v in behind] or ["- Nowhere: better on every figure."]
    return [*lines, ""]


def _bias_table(groups: Mapping[str, Mapping[str, Any]], days: Sequence[str]) -> list[str]:
    rows = [[name, f"{group['rows']:,}", *(figure(group[day]) for day in days)] for name, group in groups.items()]
    return [*table(["group", "rows", *days], rows), ""]


def _bias(evaluation: Mapping[str, Any], days: Sequence[str]) -> list[str]:
    against = evaluation["bias_against"]
    lines = ["## Bias: Σŷ / Σtarget", "", f"1 is unbiased; the target is: {against}.", ""]
    if evaluation["simulated_states"]:
        lines += ["### Every row with its history put into a state", ""]
        lines += _bias_table(evaluation["simulated_states"], days)
    for cohort, groups in evaluation["bias_by"].items():
        lines += [f"### By {cohort}", "", *_bias_table(groups, days)]
    return lines


def _lift(evaluation: Mapping[str, Any]) -> list[str]:
    lines = ["## Lift", ""]
    for day, bins in evaluation["lift"].items():
        rows = [[str(b["bin"]), f"{b['rows']:,}", *(number(b[column]) for column in LIFT_COLUMNS)] for b in bins]
        header = ["decile", "rows", "mean ŷ", "mean y", "lift", "cumulative share of revenue"]
        lines += [f"### {day}", "", *table(header, rows), ""]
    return lines


def _source(evaluation: Mapping[str, Any], context: Provenance) -> list[str]:
    bootstrap = evaluation["bootstrap"]
    kind = "generated" if context.generated else "real"
    lines = [
        f"Validation: {evaluation['rows']:,} rows, {evaluation['buyers']:,} buyers, {kind} data from "
        f"{context.data_start} to {context.data_end} ({context.split} split), trained on "
        f"{context.training_rows:,} rows, seed {context.seed}. "
        f"Revenue is in US dollars per {context.label_unit}.",
        "",
        f"Brackets hold {bootstrap['level']:.0%} intervals of {bootstrap['replicates']} bootstrap replicates;"
        " verdicts rest on paired differences over the same replicates.",
        "",
    ]
    return lines + ([*(f"- {note}" for note in context.notes), ""] if context.notes else [])


def render_markdown(evaluation: Mapping[str, Any], plots: Mapping[str, str], context: Provenance) -> str:
    """Text of report.md.

    Parameters
    ----------
    evaluation : mapping
        What `training.evaluation.report.evaluate` returned.
    plots : mapping of title to path
        Pictures, relative to the report.
    context : Provenance

    Returns
    -------
    str
        Markdown that ends with a newline.
    """
    days = [f"d{h}" for h in evaluation["horizons"]]
    lines = [f"# Evaluation of {context.name}", "", *_source(evaluation, context), "## Verdict", ""]
    lines += [*_honesty(evaluation), "## Buyers", ""]
    lines += _by_predictor(evaluation["classifier"], CLASSIFIER_COLUMNS)
    for names, title in ((HEADLINE, "Revenue"), (DETAIL, "Revenue, further metrics")):
        for day in days:
            one_day = {who: one[day] for who, one in evaluation["amounts"].items()}
            lines += [f"## {title}, {day}", "", *_by_predictor(one_day, names)]
        if names is HEADLINE:
            lines += [f"## log_mean, d{evaluation['log_horizon']}", ""]
            lines += _by_predictor(evaluation["log_mean"], ("msle", "rmsle"))
            violations = [[who, f"{count:,}"] for who, count in evaluation["order_violations"].items()]
            lines += ["## Order violations", "", *table(["predictor", "rows"], violations), ""]
    lines += _bias(evaluation, days) + _lift(evaluation)
    if plots:
        lines += ["## Plots", "", *(f"![{title}]({path})\n" for title, path in plots.items())]
    return "\n".join(lines).rstrip("\n") + "\n"
