"""An ablation's figures enter; its table, what did not help, and which default wins within the budget leave."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.evaluation.blocks import Block, Heading, Paragraph, Picture, figure, items, number, table
from training.evaluation.html import render_html
from training.evaluation.markdown import markdown
from training.evaluation.pictures.canvas import COLOURS, GREY, bars, canvas
from training.evaluation.variants import DEFAULT

Found = Mapping[str, Any]


def deciding(found: Found) -> list[tuple[str, str]]:
    """What decides, as (where, metric): probability, log answer, order and level of the log horizon's mean."""
    day = f"d{found['evaluation']['log_horizon']}"
    known = found["evaluation"]["bias_against"] == "oracle"
    gini, bias = ("normalised_gini_oracle", "bias_oracle") if known else ("normalised_gini", "bias_realised")
    return [("p_buyer", "log_loss"), ("log_mean", "msle"), (day, gini), (day, bias)]


def outcomes(found: Found) -> dict[str, str]:
    """Each variant against the default on what decides: `better`, `worse`, `mixed`, `no difference` or `failed`.

    Better is better on at least one figure, by a paired interval without zero, and worse on none.
    """
    # The verdicts speak of the default; a variant is better where the default is worse.
    turned = {"better": "worse", "worse": "better"}
    which, result = deciding(found), {}
    for name, variant in found["variants"].items():
        if name == DEFAULT:
            continue
        mine = [v for v in found["evaluation"]["verdicts"] if v["baseline"] == name]
        words = {turned.get(v["verdict"], "") for v in mine if (v["where"], v["metric"]) in which} - {""}
        one = words.pop() if len(words) == 1 else "mixed" if words else "no difference"
        result[name] = "failed" if variant["failure"] else one
    return result


def winner(found: Found) -> tuple[str, float]:
    """The default, or the variant that is better than it within the budget with the least MSLE; and the budget, µs."""
    cost = {name: one["total_us"]["value"] for name, one in found["cost"].items()}
    budget = found["budget_us"] or cost[DEFAULT]
    better = [name for name, word in outcomes(found).items() if word == "better" and cost[name] <= budget]
    msle = {name: found["evaluation"]["log_mean"][name]["msle"]["value"] for name in (DEFAULT, *better)}
    return min(better, key=lambda name: msle[name], default=DEFAULT), budget


def conclusions(found: Found) -> list[str]:
    """What follows, a line each: what did not help, what is missed when it is off, and which default wins."""
    words, variants = outcomes(found), found["variants"]
    lines = []
    for name, word in words.items():
        what, turns = variants[name]["what"], variants[name]["turns"]
        if word == "failed":
            lines.append(f"`{name}` ({what}) could not be trained: {variants[name]['failure']}")
            continue
        added = figure(found["cost"][name]["added_us"])
        if turns == "off" and word in ("better", "no difference"):
            lines.append(f"**Did not help:** {what}. Without it (`{name}`): {word}, {added} µs added.")
        elif turns == "on" and word != "better":
            lines.append(f"**Did not help:** {what}. With it (`{name}`): {word}, {added} µs added.")
        elif turns == "off" and word == "worse":
            lines.append(f"**Earns its place:** {what}. Without it (`{name}`): {word}, {added} µs added.")
        else:
            lines.append(f"`{name}` ({what}): {word}, {added} µs added.")
    best, budget = winner(found)
    verb = "is" if best == DEFAULT else "would be"
    return [*lines, f"**Within {number(budget)} µs a row the default that wins {verb} `{best}`.**"]


def blocks(found: Found, picture: str | None) -> list[Block]:
    """The report: table, differences, conclusions."""
    evaluation, words = found["evaluation"], outcomes(found)
    which = deciding(found)
    about = (
        f"{evaluation['rows']:,} rows, {evaluation['buyers']:,} buyers; bias against: {evaluation['bias_against']}. "
        f"Brackets hold 95 % intervals: of errors by {evaluation['bootstrap']['replicates']} bootstrap replicates of "
        "the rows, the same for all; of microseconds over rounds in which the bundles took turns, one rotating row a "
        "call. "
        "An interval tells of the rows drawn, not of the luck of a training: `another_seed` shows how much that is."
    )
    rows = [
        [
            name,
            variant["what"],
            *(figure(_estimate(evaluation, name, where, metric)) for where, metric in which),
            *(figure(found["cost"].get(name, {}).get(part)) for part in ("models_us", "features_us", "added_us")),
            words.get(name, "—"),
        ]
        for name, variant in found["variants"].items()
    ]
    header = ["variant", "what", *(f"{metric} {where}" for where, metric in which)]
    header += ["models, µs", "features, µs", "added, µs", "against the default"]
    out: list[Block] = [Heading(1, "Ablation: methods on and off"), Paragraph(about)]
    out += [Heading(2, "Table"), table(header, rows)]
    if picture is not None:
        out.append(Picture("Error and cost", picture, "Left is cheaper, low is better; bars are 95 % intervals."))
    out += [Heading(2, "What did not help, and what wins"), *items(conclusions(found))]
    out += [
        Heading(2, "Differences"),
        Paragraph("Above 0 the variant is better; the interval is of the paired figures."),
    ]
    return [*out, table(["variant", *(f"{metric} {where}" for where, metric in which)], _differences(found))]


def _estimate(evaluation: Found, name: str, where: str, metric: str) -> Any:
    if name not in evaluation["predictors"]:
        return None
    if where == "p_buyer":
        return evaluation["classifier"][name].get(metric)
    if where == "log_mean":
        return evaluation["log_mean"][name].get(metric)
    return evaluation["amounts"][name][where].get(metric)


def _differences(found: Found) -> list[list[str]]:
    verdicts = {(v["baseline"], v["where"], v["metric"]): v["improvement"] for v in found["evaluation"]["verdicts"]}
    rows = []
    for name in found["variants"]:
        if name == DEFAULT or found["variants"][name]["failure"]:
            continue
        rows.append([name, *(figure(_negated(verdicts.get((name, *one)))) for one in deciding(found))])
    return rows


def _negated(one: Mapping[str, float | None] | None) -> dict[str, float | None] | None:
    if one is None:
        return None
    value, low, high = (None if one[k] is None else -float(one[k] or 0.0) for k in ("value", "low", "high"))
    return {"value": value, "low": high, "high": low}


def draw(path: Path, found: Found) -> None:
    """Error against cost: MSLE and log-loss of every variant over its microseconds, the budget as a line."""
    _, budget = winner(found)
    names = found["evaluation"]["baselines"]
    with canvas(path, 2, width=6.4, height=5.0) as axes:
        for axis, (where, metric) in zip(axes, deciding(found)[:2], strict=True):
            for name in (DEFAULT, *names):
                cost, error = found["cost"][name]["total_us"], _estimate(found["evaluation"], name, where, metric)
                colour = COLOURS[1] if name == DEFAULT else COLOURS[0]
                x, y = [cost["value"]], [error["value"]]
                axis.errorbar(
                    x,
                    y,
                    xerr=bars(x, [cost["low"]], [cost["high"]]),
                    yerr=bars(y, [error["low"]], [error["high"]]) if name == DEFAULT else None,
                    fmt="o",
                    color=colour,
                    markersize=4,
                    capsize=2,
                )
                axis.annotate(name, (x[0], y[0]), xytext=(4, 4), textcoords="offset points", fontsize=7)
            axis.axvline(budget, color=GREY, lw=1, ls="--", label=f"budget {budget:.3g} µs")
            axis.set(xlabel="features and models, µs a row", ylabel=f"{metric} of {where}")
            axis.legend(fontsize=8)


def write(out: Path, found: Found) -> list[Path]:
    """Write `ablation.json`, `ablation.md`, `ablation.html` and the picture into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    picture = out / "ablation.png"
    draw(picture, found)
    parts = blocks(found, picture.name)
    texts = {
        "ablation.json": json.dumps(found, indent=1, allow_nan=False) + "\n",
        "ablation.md": markdown(parts),
        "ablation.html": render_html(parts, out),
    }
    for name, text in texts.items():
        (out / name).write_text(text, encoding="utf-8")
    return [*(out / name for name in texts), picture]
