"""The model card: an evaluation and where the model came from → MODEL_CARD.md, for whoever bids on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from training.evaluation.markdown import figure, table
from training.evaluation.rows import Provenance

_AMOUNTS = (
    "normalised_gini",
    "normalised_gini_oracle",
    "spearman",
    "decile_mape",
    "bias_oracle",
    "bias_realised",
)
_STATE_MEANING = {
    "present": "the user's history was at hand",
    "new": "the user is known to have none",
    "unavailable": "a history may exist but could not be read in time",
    "withheld": "privacy rules forbid its use",
}


def _unit(unit: str) -> str:
    return (
        f"**Every number is revenue per {unit}, not per impression: "
        f"multiply by your own P({unit} | impression) before you bid.**"
    )


def _use(evaluation: Mapping[str, Any], source: Provenance) -> list[str]:
    days = ", ".join(f"D{h}" for h in evaluation["horizons"])
    return [
        "## Intended use",
        "",
        f"Pricing bid requests: the calibrated expected in-app revenue of a user within {days}, "
        "in US dollars, and the probability that the user buys at all.",
        "",
        _unit(source.label_unit),
        "",
        "- `ltv` is a mean: bid on it. `log_mean` answers squared log error and lies far below the mean: "
        "never bid on it.",
        "- Not for credit, insurance, employment, or any decision about a person other than the price of an "
        "advertisement.",
        "",
    ]


def _data(source: Provenance) -> list[str]:
    kind = "**generated** by `pltv generate`" if source.generated else "collected from bid requests"
    lines = [
        "## Data",
        "",
        f"- Rows {kind}, from {source.data_start} to {source.data_end}.",
        f"- Training {source.training_rows:,}, calibration {source.calibration_rows:,}, "
        f"validation {source.validation_rows:,} rows, split in time ({source.split}).",
        f"- Seed {source.seed}.",
    ]
    return [*lines, *(f"- {note}" for note in source.notes), ""]


def _metrics(evaluation: Mapping[str, Any]) -> list[str]:
    ours = evaluation["predictors"][0]
    amounts = evaluation["amounts"][ours]
    rows = [
        [name, *(figure(estimates.get(name)) for estimates in amounts.values())]
        for name in _AMOUNTS
        if name in next(iter(amounts.values()))
    ]
    buyer = [[name, figure(one)] for name, one in evaluation["classifier"].get(ours, {}).items()]
    return [
        "## Metrics on the held-out rows",
        "",
        f"{evaluation['rows']:,} rows, {evaluation['buyers']:,} buyers; 95 % intervals in brackets.",
        "",
        *table(["ltv", *amounts], rows),
        "",
        *table(["p_buyer", "value"], buyer),
        "",
        f"Order violations: {evaluation['order_violations'][ours]}.",
        "",
    ]


def _limits(evaluation: Mapping[str, Any], source: Provenance) -> list[str]:
    lines = ["## Limits", ""]
    if source.generated:
        lines.append(
            "- **The rows are synthetic.** They follow published facts of a real table, but no figure here "
            "says how the model does on real users. Train on your own data before you spend money."
        )
    worse = [v["sentence"] for v in evaluation["verdicts"] if v["verdict"] == "worse"]
    lines += [f"- The model is {sentence}." for sentence in worse]
    lines += [
        "- Advertisers and values unseen in training are answered from what they share with the seen ones.",
        "- Markets drift: the bundle's age is a metric of the service; retrain on a schedule.",
        "",
    ]
    return lines


def _states(evaluation: Mapping[str, Any], source: Provenance) -> list[str]:
    simulated = evaluation["simulated_states"]
    days = [f"d{h}" for h in evaluation["horizons"]]
    rows = [
        [state, _STATE_MEANING.get(state, ""), *(figure(simulated.get(state, {}).get(day)) for day in days)]
        for state in source.history_states
    ]
    what = f"Σŷ / Σtarget ({evaluation['bias_against']}) with every row's history put into that state"
    head = ["## History states", "", f"{what}; — where it was not simulated.", ""]
    return [*head, *table(["state", "meaning", *days], rows), ""]


def model_card(evaluation: Mapping[str, Any], source: Provenance) -> str:
    """Text of MODEL_CARD.md.

    Parameters
    ----------
    evaluation : mapping
        What `training.evaluation.report.evaluate` returned.
    source : Provenance

    Returns
    -------
    str
        Markdown that ends with a newline.
    """
    versions = table(["library", "version"], [[k, v] for k, v in sorted(source.versions.items())])
    lines = [f"# Model card: {source.name}", "", f"Created {source.created}.", ""]
    lines += _use(evaluation, source) + _data(source) + _metrics(evaluation) + _states(evaluation, source)
    lines += [*_limits(evaluation, source), "## Versions", "", *versions]
    return "\n".join(lines) + "\n"
