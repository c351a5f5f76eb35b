"""Methods on and off: a configuration, its variants and data enter; bundles, their errors and their costs leave.

Every variant is trained whole, compiled and published like any bundle, and judged on the default's validation hours
by the same replicates, so that differences are paired. What it costs is the time of its own compiled libraries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from app.errors import DataError, PltvError
from app.inference.predictor import Predictor
from training.config import load
from training.data.dataset import Dataset, Partition
from training.data.splits import temporal_split
from training.evaluation.latency import measure, requests_of
from training.evaluation.report import evaluate
from training.evaluation.rows import Scored
from training.evaluation.variants import DEFAULT, Ablations, Variant, changed, read_yaml
from training.pipeline import train
from training.progress import Stages
from training.samples import Sample, read_sample
from training.validation import evaluation_rows, score


@dataclass(frozen=True)
class Plan:
    """What to run.

    Parameters
    ----------
    config, data, out : Path
        The default's configuration, hourly partitions, and the folder of configurations, bundles and tables.
    ablations : Ablations
    replicates : int
        Of the bootstrap.
    rounds : int
        Of the timing.
    """

    config: Path
    data: Path
    out: Path
    ablations: Ablations
    replicates: int
    rounds: int


def ablate(plan: Plan, stages: Stages, key: bytes | None = None) -> dict[str, Any]:
    """Train, judge and time the default and every variant.

    A bundle that an earlier run left in `out`, of the same configuration, is not trained again.

    Returns
    -------
    dict
        Ready for JSON: `evaluation` (of all that could be trained, the default first), `cost`, `variants` (name →
        what, turns, failure), `budget_us`.

    Raises
    ------
    PltvError
        When the default can not be trained; a variant that can not be is told of in the table.
    """
    everyone = (Variant(DEFAULT, "the configuration as it is", "other"), *plan.ablations.variants)
    failures = {variant.name: _trained(plan, variant, stages, key) for variant in everyone}
    names = [name for name, failure in failures.items() if failure is None]
    predictors = {name: Predictor.load(_bundle(plan, name), key=key) for name in names}
    try:
        evaluation, cost = _judged(plan, predictors, stages)
    finally:
        for predictor in predictors.values():
            predictor.close()
    return {
        "evaluation": evaluation,
        "cost": cost,
        "variants": {v.name: {"what": v.what, "turns": v.turns, "failure": failures[v.name]} for v in everyone},
        "budget_us": plan.ablations.budget_us,
    }


def _bundle(plan: Plan, name: str) -> Path:
    return plan.out / "models" / name


def _trained(plan: Plan, variant: Variant, stages: Stages, key: bytes | None) -> str | None:
    """Train a variant into its place; None, or why it could not be."""
    path, bundle = plan.out / "configs" / f"{variant.name}.yaml", _bundle(plan, variant.name)
    text = yaml.safe_dump(changed(read_yaml(plan.config), variant.change), sort_keys=False, allow_unicode=True)
    if bundle.exists() and path.exists() and path.read_text(encoding="utf-8") == text:
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    attempt = path.with_suffix(".attempt.yaml")
    attempt.write_text(text, encoding="utf-8")
    try:
        with stages.stage(f"train {variant.name}"):
            declaration, config = load(attempt)
            # Baselines belong to the default's own report; here the variants stand beside each other.
            report = config.report.model_copy(update={"baseline_rounds": 0, "replicates": 10, "pictures": False})
            train(declaration, config.model_copy(update={"report": report}), plan.data, bundle, key=key)
    except PltvError as error:
        attempt.unlink()
        if variant.name == DEFAULT:
            raise
        return str(error).replace(str(attempt), path.name)
    # Only what was trained keeps its configuration: it is what says that the bundle is there to be used again.
    attempt.replace(path)
    return None


def _judged(
    plan: Plan, predictors: dict[str, Predictor], stages: Stages
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    declaration, config = load(plan.config)
    dataset = Dataset(plan.data, declaration)
    later = temporal_split(dataset.partitions, config.split.options()).validation
    samples: dict[str, Sample] = {}
    scored: list[Scored] = []
    with stages.stage("predict", len(predictors)) as advance:
        for name, predictor in predictors.items():
            _check_hours(name, predictor, later)
            own = Dataset(plan.data, predictor.declaration)
            samples[name] = read_sample(own, later, config.maturity.as_of, lambda _: None)
            columns = samples[name].columns
            answers = score(predictor.ensemble, predictor.plan.transform(columns), columns.row_state)
            scored.append(replace(answers, name=name))
            advance(1)
    rows = evaluation_rows(samples[DEFAULT], declaration, config.report.cohorts, plan.data)
    with stages.stage("score with intervals"):
        evaluation = evaluate(
            rows,
            scored,
            declaration.targets.horizons,
            bootstrap_replicates=plan.replicates,
            seed=config.seed,
            log_horizon=declaration.targets.log_mean,
        )
    with stages.stage("measure the cost"):
        owned = {name: (one, Dataset(plan.data, one.declaration)) for name, one in predictors.items()}
        bundles = {name: (one, requests_of(one, own, later)) for name, (one, own) in owned.items()}
        costs = measure(bundles, rounds=plan.rounds)
    return evaluation, {name: cost.to_json(costs[DEFAULT], config.seed) for name, cost in costs.items()}


def _check_hours(name: str, predictor: Predictor, later: Sequence[Partition]) -> None:
    """A variant with a split of its own may not have learned from the hours that all are judged on."""
    last = predictor.manifest.data_window["calibration"]["last"]
    if later[0].name <= last:
        raise DataError(f"{name}: it was trained until {last}, and all are judged from {later[0].name} on")
