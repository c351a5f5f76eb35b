"""A comparison as people read it: JSON and Markdown files, and the same tables for a terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from app.errors import DataError
from training.evaluation.markdown import figure, number, table

HEADER: Final = ("predictor", "MAE", "RMSE", "normalised Gini", "Spearman", "decile MAPE", "bias")
NAMES: Final = {
    "mae": "MAE",
    "nrmse": "RMSE",  # divided by the same mean on both sides, so that the verdict is that of RMSE
    "normalised_gini": "Gini",
    "spearman": "Spearman",
    "decile_mape": "decile MAPE",
    "bias_realised": "bias",
}
NOTES: Final = """\
- **pltv** and the boosters learn from histories and labels of the customers who teach; **tweedie** and **ziln** see
  recency, frequency and money only.
- **bgnbd_gg**: BG/NBD for the number of purchases times Gamma-Gamma for their value, maximum likelihood on the
  histories of all customers until the cut. It sees no label.
- **bgnbd_gg_scaled**: the same, each horizon multiplied by one number, Σ revenue / Σ prediction of the customers who
  teach.
- **constant**: their mean.
- Bias is Σ prediction / Σ revenue with each customer's revenue capped at the payers' 99.9th percentile: 1 is unbiased.
  A constant has no order and no deciles.
"""


def write(directory: Path, comparison: Mapping[str, Any]) -> tuple[Path, Path]:
    """Write `cdnow.json` and `cdnow.md` into a directory, which is made where it is missing.

    Raises
    ------
    DataError
        The directory can not be written.
    """
    paths = directory / "cdnow.json", directory / "cdnow.md"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        paths[0].write_text(json.dumps(comparison, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        paths[1].write_text(markdown(comparison), encoding="utf-8")
    except OSError as error:
        raise DataError(f"{directory}: can not be written ({error.strerror})") from None
    return paths


def markdown(comparison: Mapping[str, Any]) -> str:
    """Return the tables with what they rest on, as Markdown."""
    protocol, bootstrap = comparison["protocol"], comparison["protocol"]["bootstrap"]
    lines = ["# CDNOW: expected revenue after 30 September 1997", ""]
    lines.append(
        f"{protocol['customers_learning']:,} customers teach, {protocol['customers_judging']:,} others judge. "
        f"US dollars a customer; brackets hold {bootstrap['level']:.0%} intervals of {bootstrap['replicates']} "
        "bootstrap replicates of the customers who judge."
    )
    lines.append("")
    for day in _days(comparison):
        payers = protocol["payers_judging"][day]
        lines += [f"## {day[1:]} days ({payers:,} of them pay)", "", *table(HEADER, _rows(comparison, day)), ""]
    lines += ["## Against each peer", "", *_verdicts(comparison), "", "## What they are", "", NOTES.rstrip(), ""]
    lines += [f"- {name}: {_named(values)}" for name, values in comparison["models"].items()]
    return "\n".join(lines) + "\n"


def text(comparison: Mapping[str, Any]) -> str:
    """Return the tables for a terminal, columns aligned."""
    blocks = []
    for day in _days(comparison):
        rows = [[f"{day[1:]} days", *HEADER[1:]], *_rows(comparison, day)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        blocks += ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows] + [""]
    return "\n".join(blocks).rstrip()


def _days(comparison: Mapping[str, Any]) -> list[str]:
    return list(next(iter(comparison["amounts"].values())))


def _rows(comparison: Mapping[str, Any], day: str) -> list[list[str]]:
    return [[who, *(figure(one) for one in days[day].values())] for who, days in comparison["amounts"].items()]


def _verdicts(comparison: Mapping[str, Any]) -> list[str]:
    """By paired replicates: on which figures ours is better, on which worse; the rest can not be told apart."""
    rows = []
    for peer in dict.fromkeys(v["baseline"] for v in comparison["verdicts"]):
        mine = [v for v in comparison["verdicts"] if v["baseline"] == peer and v["metric"] in NAMES]
        rows.append([peer, *(_list(mine, word) for word in ("better", "indistinguishable", "worse"))])
    return table(["pltv against", "better", "not to be told apart", "worse"], rows)


def _list(verdicts: Sequence[Mapping[str, Any]], word: str) -> str:
    by_metric: dict[str, list[str]] = {}
    for v in verdicts:
        if v["verdict"] == word:
            by_metric.setdefault(NAMES[v["metric"]], []).append(v["where"][1:])
    return "; ".join(f"{metric} {'/'.join(days)}" for metric, days in by_metric.items()) or "—"


def _named(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{k} {number(v) if isinstance(v, float) else v}" for k, v in values.items())
