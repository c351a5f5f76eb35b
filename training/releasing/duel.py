"""Two bundles and later rows enter; which one wins, and why in one line, leave.

The challenger wins if the deciding figure is better by a paired bootstrap interval without zero, and no other figure
that counts (probability, log answer, order, level of the mean) is worse by one. Both are judged on hours that neither
learned from.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from app.errors import DataError
from app.inference.predictor import Predictor
from training.data.dataset import Dataset, Partition
from training.evaluation.ablation_table import deciding
from training.evaluation.report import evaluate
from training.evaluation.rows import Scored
from training.progress import Stages
from training.samples import Sample, read_sample
from training.validation import evaluation_rows, score

Metric = Literal["msle", "log_loss", "gini", "bias"]


@dataclass(frozen=True)
class Terms:
    """What decides.

    Parameters
    ----------
    metric : {"msle", "log_loss", "gini", "bias"}
        Of the log answer; of p_buyer; of the order, or the level, of the mean at the log horizon.
    as_of : str or None
        When the labels were read; None counts all as mature.
    replicates, seed : int
        Of the bootstrap.
    """

    metric: Metric = "msle"
    as_of: str | None = None
    replicates: int = 500
    seed: int = 7


def duel(challenger: Predictor, champion: Predictor, data: Path, terms: Terms, stages: Stages) -> tuple[bool, str]:
    """Judge two bundles on the hours that neither learned from.

    Returns
    -------
    won : bool
    why : str
        The deciding figure of both, its improvement with the interval, the rows; and what else is worse.
    """
    expected, received = champion.declaration.targets, challenger.declaration.targets
    if expected.horizons != received.horizons or expected.log_mean != received.log_mean:
        raise DataError(f"horizons: expected {list(expected.horizons)}, received {list(received.horizons)}")
    dataset = Dataset(data, challenger.declaration)
    hours = _unseen(dataset, [challenger, champion])
    scored = []
    with stages.stage("read and predict the later rows", 2) as advance:
        for label, one in (("challenger", challenger), ("champion", champion)):
            sample = _mature(Dataset(data, one.declaration), hours, terms.as_of)
            columns = sample.columns
            answers = score(one.ensemble, one.plan.transform(columns), columns.row_state)
            scored.append(Scored(label, answers.p_buyer, answers.ltv, answers.log_mean))
            if one is challenger:
                # What came true decides, on generated rows as on real ones, where nobody knows the truth behind it.
                rows = replace(evaluation_rows(sample, one.declaration, (), data), oracle=None)
            advance(1)
    with stages.stage("compare with intervals"):
        evaluation = evaluate(
            rows,
            scored,
            received.horizons,
            bootstrap_replicates=terms.replicates,
            seed=terms.seed,
            log_horizon=received.log_mean,
        )
    won, why = ruling(evaluation, terms.metric)
    return won, f"{why}, on {rows.n:,} rows of {hours[0].name} to {hours[-1].name}"


def ruling(evaluation: dict[str, Any], metric: Metric) -> tuple[bool, str]:
    """Whether the first of two predictors wins, and why, by an evaluation of both.

    Raises
    ------
    DataError
        When the deciding figure is undefined on the rows.
    """
    counting = deciding({"evaluation": evaluation})
    (where, name) = next(one for one in counting if metric in one[1])
    found = {(v["where"], v["metric"]): v for v in evaluation["verdicts"]}
    if (where, name) not in found:
        undefined = f"{name} of {where} is undefined on {evaluation['rows']:,} rows"
        raise DataError(f"{undefined}: expected buyers among them to judge by")
    decisive = found[where, name]
    by = decisive["improvement"]
    words = {"better": "is better by", "worse": "is worse by", "indistinguishable": "differs within chance, by"}
    shown = -1.0 if decisive["verdict"] == "worse" else 1.0
    low, high = sorted((shown * by["low"], shown * by["high"]))
    figures = f"{shown * by['value']:.3g} [{low:.3g}, {high:.3g}]"
    why = f"{name} of {where} {words[decisive['verdict']]} {figures}"
    worse = [f"{m} of {w}" for w, m in counting if (w, m) != (where, name) and _is_worse(found.get((w, m)))]
    if decisive["verdict"] == "better" and worse:
        why += f", but {' and '.join(worse)} {'are' if len(worse) > 1 else 'is'} worse"
    return decisive["verdict"] == "better" and not worse, why


def _is_worse(verdict: dict[str, Any] | None) -> bool:
    return verdict is not None and verdict["verdict"] == "worse"


def _unseen(dataset: Dataset, predictors: list[Predictor]) -> tuple[Partition, ...]:
    last = max(str(one.manifest.data_window["calibration"]["last"]) for one in predictors)
    hours = tuple(hour for hour in dataset.partitions if hour.name > last)
    if not hours:
        raise DataError(f"{dataset.path}: expected hours after {last}, until which a bundle learned; received none")
    return hours


def _mature(dataset: Dataset, hours: tuple[Partition, ...], as_of: str | None) -> Sample:
    sample = read_sample(dataset, hours, as_of, lambda _: None)
    return sample.take(dataset.layout, np.isfinite(sample.labels.buyer))
