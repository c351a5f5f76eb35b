"""What a report says, in order: an evaluation → blocks. Explanations and drift have their own module, `insights`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from training.evaluation.blocks import Block, Heading, Paragraph, figure, items, number, table
from training.evaluation.insights import Pictures, drift_section, errors_section, explanations_section
from training.evaluation.rows import Provenance

CLASSIFIER_COLUMNS = (
    "auc", "pr_auc", "log_loss", "ece", "ece_oracle", "brier", "mean_p_over_rate", "f1", "precision", "recall",
)  # fmt: skip
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
LIFT_COLUMNS = ("predicted", "realised", "realised_low", "realised_high", "expected", "lift", "cumulative_share")
LIFT_NAMES = {
    "predicted": "mean ŷ",
    "realised": "mean y",
    "realised_low": "low",
    "realised_high": "high",
    "expected": "oracle",
    "lift": "lift",
    "cumulative_share": "cumulative share of revenue",
}
DETAIL = ("rmsle", "rmse", "r2", "nmae", "mape_payers", "gini", "mutual_gini", "spearman_payers")

Evaluation = Mapping[str, Any]


def sections(evaluation: Evaluation, plots: Mapping[str, str], context: Provenance) -> list[Block]:
    """The whole report.

    Parameters
    ----------
    evaluation : mapping
        What `training.evaluation.report.evaluate` returned, with `drift`, `explanations` and `stacking` where known.
    plots : mapping of title to path
        Pictures, relative to the report.
    context : Provenance
    """
    pictures = Pictures(plots)
    days = [f"d{h}" for h in evaluation["horizons"]]
    blocks = [Heading(1, f"Evaluation of {context.name}"), *_source(evaluation, context)]
    blocks += [Heading(2, "Verdict"), *_honesty(evaluation), Heading(2, "Buyers")]
    blocks += _by_predictor(evaluation["classifier"], CLASSIFIER_COLUMNS)
    blocks += pictures.take("Reliability", "Bins hold equal numbers of rows; bars are 95 % intervals of the share.")
    blocks += _amounts(evaluation, days, pictures)
    blocks += _bias(evaluation, days, pictures) + _lift(evaluation, pictures)
    blocks += errors_section(evaluation, pictures) + explanations_section(evaluation, pictures)
    blocks += drift_section(evaluation, pictures)
    rest = pictures.rest()
    return [*blocks, Heading(2, "Plots"), *rest] if rest else blocks


def _amounts(evaluation: Evaluation, days: Sequence[str], pictures: Pictures) -> list[Block]:
    blocks: list[Block] = []
    for day in days:
        one_day = {who: one[day] for who, one in evaluation["amounts"].items()}
        blocks += [Heading(2, f"Revenue, {day}"), *_by_predictor(one_day, HEADLINE)]
    blocks += pictures.take("Calibration by decile", "Bars are 95 % intervals of the realised mean.")
    blocks += pictures.take("Cumulative gains", "The area between a curve and the diagonal is half its Gini.")
    blocks += pictures.take(
        "Lorenz curves", "Each side in its own order: a calibrated mean is always less concentrated than revenue."
    )
    blocks += [Heading(2, f"log_mean, d{evaluation['log_horizon']}")]
    blocks += _by_predictor(evaluation["log_mean"], ("msle", "rmsle"))
    violations = [[who, f"{count:,}"] for who, count in evaluation["order_violations"].items()]
    blocks += [Heading(2, "Order violations"), table(["predictor", "rows"], violations)]
    for day in days:
        one_day = {who: one[day] for who, one in evaluation["amounts"].items()}
        blocks += [Heading(2, f"Revenue, further metrics, {day}"), *_by_predictor(one_day, DETAIL)]
    return blocks


def _by_predictor(estimates: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> list[Block]:
    """One line a predictor, one column for each of `names` that any of them has."""
    shown = [name for name in names if any(name in one for one in estimates.values())]
    rows = [[who, *(figure(one.get(name)) for name in shown)] for who, one in estimates.items()]
    return [table(["predictor", *shown], rows)]


def _honesty(evaluation: Evaluation) -> list[Block]:
    ours = evaluation["predictors"][0]
    if not evaluation["baselines"]:
        return [Paragraph("No baseline was scored.")]
    lines = []
    for baseline in evaluation["baselines"]:
        mine = [v for v in evaluation["verdicts"] if v["baseline"] == baseline]
        count = {w: sum(v["verdict"] == w for v in mine) for w in ("better", "worse", "indistinguishable")}
        lines.append(
            f"against **{baseline}**: better on {count['better']}, indistinguishable on "
            f"{count['indistinguishable']}, worse on {count['worse']} of {len(mine)} figures"
        )
    behind = [v for v in evaluation["verdicts"] if v["verdict"] != "better"]
    behind.sort(key=lambda v: v["verdict"] != "worse")
    sentences = [v["sentence"] for v in behind] or ["Nowhere: better on every figure."]
    return [*items(lines), Heading(3, f"Where {ours} is not better"), *items(sentences)]


def _bias_table(groups: Mapping[str, Mapping[str, Any]], days: Sequence[str]) -> Block:
    rows = [[name, f"{group['rows']:,}", *(figure(group[day]) for day in days)] for name, group in groups.items()]
    return table(["group", "rows", *days], rows)


def _bias(evaluation: Evaluation, days: Sequence[str], pictures: Pictures) -> list[Block]:
    against = evaluation["bias_against"]
    blocks: list[Block] = [Heading(2, "Bias: Σŷ / Σtarget"), Paragraph(f"1 is unbiased; the target is: {against}.")]
    blocks += pictures.take("Bias by cohort", "Points are Σŷ / Σtarget, bars their 95 % intervals, the line is 1.")
    if evaluation["simulated_states"]:
        title = Heading(3, "Every row with its history put into a state")
        blocks += [title, _bias_table(evaluation["simulated_states"], days)]
    for cohort, groups in evaluation["bias_by"].items():
        blocks += [Heading(3, f"By {cohort}"), _bias_table(groups, days)]
    return blocks


def _lift(evaluation: Evaluation, pictures: Pictures) -> list[Block]:
    blocks: list[Block] = [Heading(2, "Lift"), *pictures.take("Lift", "Realised mean of a decile over that of all.")]
    for day, bins in evaluation["lift"].items():
        shown = [column for column in LIFT_COLUMNS if any(column in b for b in bins)]
        rows = [[str(b["bin"]), f"{b['rows']:,}", *(number(b[column]) for column in shown)] for b in bins]
        header = ["decile", "rows", *(LIFT_NAMES[column] for column in shown)]
        blocks += [Heading(3, day), table(header, rows)]
    return blocks


def _source(evaluation: Evaluation, context: Provenance) -> list[Block]:
    bootstrap = evaluation["bootstrap"]
    kind = "generated" if context.generated else "real"
    first = (
        f"Validation: {evaluation['rows']:,} rows, {evaluation['buyers']:,} buyers, {kind} data from "
        f"{context.data_start} to {context.data_end} ({context.split} split), trained on "
        f"{context.training_rows:,} rows, seed {context.seed}. "
        f"Revenue is in US dollars per {context.label_unit}."
    )
    second = (
        f"Brackets hold {bootstrap['level']:.0%} intervals of {bootstrap['replicates']} bootstrap replicates; "
        "verdicts rest on paired differences over the same replicates."
    )
    return [Paragraph(first), Paragraph(second), *items(context.notes)]
