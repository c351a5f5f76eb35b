"""Sections of a report that explain: where the errors are, what drives the predictions, what has drifted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from training.evaluation.blocks import Block, Heading, Paragraph, Picture, figure, items, number, table

DRIFT_ROWS = 25
Evaluation = Mapping[str, Any]


class Pictures:
    """The pictures of a report, each taken where it belongs and shown once."""

    def __init__(self, plots: Mapping[str, str]) -> None:
        self._left = dict(plots)

    def take(self, title: str, caption: str = "") -> list[Block]:
        """The picture of that title, where there is one."""
        path = self._left.pop(title, None)
        return [] if path is None else [Picture(title, path, caption)]

    def beginning(self, start: str, caption: str = "") -> list[Block]:
        """All pictures whose titles begin so."""
        return [block for title in [*self._left] if title.startswith(start) for block in self.take(title, caption)]

    def rest(self) -> list[Block]:
        """Those that no section took."""
        return [block for title in [*self._left] for block in self.take(title)]


def errors_section(evaluation: Evaluation, pictures: Pictures) -> list[Block]:
    """Residuals, errors by cohort and the rows with the largest errors."""
    blocks: list[Block] = [Heading(2, "Errors")]
    blocks += pictures.take(
        "Residuals",
        "Left: log1p ŷ − log1p y over the prediction, all buyers and as many others; middle: buyers' residuals; "
        "right: against the oracle where it is known, else Σŷ / Σy by decile.",
    )
    day = f"d{evaluation['log_horizon']}"
    if evaluation.get("errors_by"):
        blocks.append(
            Paragraph(
                f"Squared log error of `log_mean` at {day} by cohort. Where a cohort's share of the error lies far "
                "above its share of the revenue, work pays."
            )
        )
    for cohort, groups in evaluation.get("errors_by", {}).items():
        names = [name for name in next(iter(groups.values())) if name not in ("rows", "buyers")]
        rows = [
            [label, f"{g['rows']:,}", f"{g['buyers']:,}", *(figure(g[name]) for name in names)]
            for label, g in groups.items()
        ]
        blocks += [Heading(3, f"Errors by {cohort}"), table(["group", "rows", "buyers", *names], rows)]
    if worst := evaluation.get("worst_rows"):
        names = list(worst[0])
        cells = [[number(v) if isinstance(v := row[name], float) else str(v) for name in names] for row in worst]
        blocks += [Heading(3, "Rows with the largest errors"), table(names, cells)]
    return blocks


def explanations_section(evaluation: Evaluation, pictures: Pictures) -> list[Block]:
    """Gain and TreeSHAP of each model."""
    found = evaluation.get("explanations")
    if found is None:
        return []
    blocks: list[Block] = [Heading(2, "What drives the predictions"), Paragraph(found["about"])]
    for model, features in found["shap"].items():
        rows = [[f["feature"], number(f["mean_abs"]), f"{f['share']:.1%}", number(f["direction"])] for f in features]
        header = ["feature", "mean |φ|", "share", "direction"]
        blocks += [Heading(3, f"Contributions to {model}")]
        blocks += pictures.take(
            f"SHAP, {model}", "A point is a row; its place is the contribution, its colour the rank of the value."
        )
        blocks += [table(header, rows)]
        blocks += pictures.take(f"Feature importance, {model}")
    return blocks + pictures.beginning("Feature importance, ")


def drift_section(evaluation: Evaluation, pictures: Pictures) -> list[Block]:
    """PSI of features and categories between training and these rows."""
    found = evaluation.get("drift")
    if found is None:
        return []
    blocks: list[Block] = [Heading(2, "Drift since training"), Paragraph(found["about"])]
    columns = found["columns"]
    if not columns:
        return blocks
    count = {word: sum(one["verdict"] == word for one in columns) for word in ("stable", "moved", "shifted")}
    blocks += items(
        [
            f"{count['stable']:,} of {len(columns):,} columns are stable (PSI ≤ 0.1), {count['moved']:,} have moved "
            f"(≤ 0.25), {count['shifted']:,} have shifted (above it)."
        ]
    )
    blocks += pictures.take("Drift", "The columns with the largest PSI; bars are 95 % intervals, lines the bounds.")
    rows = [
        [
            one["feature"],
            one["kind"],
            figure(one["psi"]),
            f"{one['missing_then']:.1%}",
            f"{one['missing_now']:.1%}",
            one["verdict"],
        ]
        for one in columns[:DRIFT_ROWS]
    ]
    header = ["column", "kind", "PSI", "missing in training", "missing now", "verdict"]
    return [*blocks, table(header, rows)]
