"""A bundle's directory and rows enter; what drives its models on them, and what has drifted since training, leave."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.features.layout import Layout
from app.features.matrix import FeaturePlan
from training.evaluation.contributions import Contributions, explain, explanations, gains, load_models
from training.evaluation.drift import Reference, drift
from training.learning.boosting import Floats
from training.samples import Sample, cohort

REFERENCE_ROWS = 50_000
"""Training rows that the reference is made of: a share of a decile is then known to 1 %."""


@dataclass(frozen=True)
class Examined:
    """A bundle's directory (or what will be one), rows with their X, and how finely to look at them."""

    directory: Path
    X: Floats
    plan: FeaturePlan
    sample: Sample
    replicates: int
    seed: int
    threads: int


def examine(what: Examined, evaluation: dict[str, Any]) -> tuple[list[Contributions], dict[str, dict[str, float]]]:
    """Explain the models on the rows and look for drift: `evaluation` gains `explanations` and `drift`.

    Returns
    -------
    contributions : list of Contributions
    importance : dict of model name to (dict of feature name to gain)
    """
    names = what.plan.names
    boosters = load_models(what.directory, names)
    contributions = explain(boosters, what.X, names, seed=what.seed, num_threads=what.threads)
    evaluation["explanations"] = explanations(contributions)
    reference = Reference.load(what.directory)
    columns = []
    if reference is not None:
        texts = category_texts(what.plan.layout, what.sample)
        columns = drift(reference, what.X, names, texts, replicates=what.replicates, seed=what.seed)
    rows = None if reference is None else reference.rows
    evaluation["drift"] = {"about": _about_drift(rows, len(what.X)), "columns": columns}
    return contributions, gains(boosters, names)


def _about_drift(training: int | None, rows: int) -> str:
    if training is None:
        return "The bundle does not hold the distribution of its training rows: drift can not be computed."
    return (
        f"Population stability index of each column between {training:,} training rows and these {rows:,} rows, over "
        "the deciles of training and a bin for missing. Below 0.1 nothing has moved; above 0.25 train anew. Hours and "
        "weekdays shift by themselves where the data are short."
    )


def training_reference(sample: Sample, plan: FeaturePlan) -> Reference:
    """The distribution of at most `REFERENCE_ROWS` training rows, as the service would compute their features."""
    keep = np.zeros(len(sample), dtype=bool)
    keep[:: max(1, -(-len(sample) // REFERENCE_ROWS))] = True
    some = sample.take(plan.layout, keep)
    return Reference.fit(plan.transform(some.columns), plan.names, category_texts(plan.layout, some))


def category_texts(layout: Layout, sample: Sample) -> dict[str, NDArray[np.object_]]:
    """(n,) texts of every column of the request and the campaign, by name; None where missing."""
    fields = [field.name for field in (*layout.texts, *layout.campaign_texts)]
    return {name: cohort(layout, sample.columns, name) for name in fields}
