"""The report: held-out rows and every predictor's answers → metrics, intervals, verdicts, written to disk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from app.errors import DataError
from training.data.weights import effective_rows
from training.evaluation import curves, pictures
from training.evaluation.bootstrap import LEVEL, Estimate, Weights, poisson_weights
from training.evaluation.cohorts import bias_by, bias_targets, errors_by, worst_rows
from training.evaluation.contributions import Contributions
from training.evaluation.html import render_html
from training.evaluation.markdown import markdown, render_markdown
from training.evaluation.metrics import order_violations
from training.evaluation.ranking import Floats
from training.evaluation.rows import ORACLE, EvaluationRows, Oracle, Provenance, Scored, check
from training.evaluation.scores import Scores
from training.evaluation.sections import sections

WORST = 20
"""Rows with the largest errors that are named."""

__all__ = ["EvaluationRows", "Oracle", "Provenance", "Scored", "evaluate", "render_markdown", "write_report"]


def _to_json(tree: Any) -> Any:
    if isinstance(tree, Estimate):
        return tree.to_json()
    if isinstance(tree, Mapping):
        return {str(key): _to_json(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_to_json(value) for value in tree]
    return None if isinstance(tree, float) and not np.isfinite(tree) else tree


def with_oracle(rows: EvaluationRows, scored: Sequence[Scored]) -> list[Scored]:
    """The predictors, and the oracle after them where it is known and not among them."""
    listed = list(scored)
    if rows.oracle is not None and all(one.name != ORACLE for one in listed):
        listed.append(Scored(ORACLE, rows.oracle.p_buyer, rows.oracle.ltv, None))
    return listed


def _curves(
    rows: EvaluationRows, scored: Sequence[Scored], horizons: Sequence[int], weights: Weights
) -> dict[str, Any]:
    """Lift of the first predictor, gains of all, and the Lorenz curves of revenue and of the first's predictions."""
    ours = scored[0]
    lift, gains, lorenz = {}, {}, {}
    for column, horizon in enumerate(horizons):
        known = np.isfinite(rows.y[:, column])
        y: Floats = rows.y[known, column]
        expected = None if rows.oracle is None else rows.oracle.ltv[known, column]
        day, y_hat = f"d{horizon}", ours.ltv[known, column]
        own = rows.weight_of(known)
        lift[day] = curves.lift(y, y_hat, expected, weights if known.all() else weights[:, known], own)
        truth = y if expected is None else expected
        gains[day] = {one.name: curves.gains(truth, one.ltv[known, column], own) for one in scored}
        lorenz[day] = {"realised": curves.lorenz_curve(y, own), ours.name: curves.lorenz_curve(y_hat, own)}
        if expected is not None:
            lorenz[day]["oracle E[y | x]"] = curves.lorenz_curve(expected, own)
    return {"lift": lift, "gains": gains, "lorenz": lorenz}


def _check_all(rows: EvaluationRows, scored: Sequence[Scored], horizons: Sequence[int], log_horizon: int) -> None:
    if not scored or rows.n == 0:
        raise DataError("an evaluation needs at least one predictor and one row")
    if log_horizon not in horizons:
        raise DataError(f"log_horizon: expected one of {list(horizons)}, got {log_horizon}")
    for one in scored:
        check(rows, one, len(horizons))
    for column, horizon in enumerate(horizons):
        if not np.isfinite(rows.y[:, column]).any():
            raise DataError(f"no held-out row has a mature label for day {horizon}")


def evaluate(
    rows: EvaluationRows,
    scored: Sequence[Scored],
    horizons: Sequence[int],
    *,
    bootstrap_replicates: int = 200,
    seed: int,
    log_horizon: int = 7,
    simulated: Mapping[str, Scored] | None = None,
    top: int = 10,
) -> dict[str, Any]:
    """Score every predictor on the held-out rows.

    Parameters
    ----------
    rows : EvaluationRows
    scored : sequence of Scored
        The model first, then its baselines; the oracle is added from `rows` where it is known.
    horizons : sequence of int
        Days, in the order of the columns of `ltv`.
    bootstrap_replicates, seed : int
        Replicates of the 95 % intervals, and their seed.
    log_horizon : int
        The horizon, in days, that `log_mean` speaks of.
    simulated : mapping of str to Scored, optional
        The model's answers for the same rows with their history put into each state; adds `simulated_states`.
    top : int
        Labels of a cohort that are kept by name.

    Returns
    -------
    dict
        Ready for JSON: every figure is {"value", "low", "high"}, None where undefined.

    Raises
    ------
    DataError
        When shapes differ, a prediction is negative or not finite, or a horizon has no mature label.
    """
    everyone = with_oracle(rows, scored)
    _check_all(rows, [*everyone, *(simulated or {}).values()], horizons, log_horizon)
    weights = poisson_weights(rows.n, bootstrap_replicates, seed)
    scores = Scores(rows, horizons, log_horizon, weights)
    for one in everyone:
        scores.add(one)
    ours, targets = everyone[0], bias_targets(rows)
    everything = np.full(rows.n, "all")
    states = {
        state: bias_by(everything, one, targets, horizons, weights, 1, rows.sample_weight)["all"]
        for state, one in (simulated or {}).items()
    }
    by_cohort = {
        cohort: bias_by(labels, ours, targets, horizons, weights, top, rows.sample_weight)
        for cohort, labels in rows.cohorts.items()
    }
    baselines = [one.name for one in everyone[1:] if one.name != ORACLE]
    found = {
        "rows": rows.n,
        "buyers": int(rows.buyer.sum()),
        "effective_rows": float(rows.n) if rows.sample_weight is None else effective_rows(rows.sample_weight),
        "mature_rows": {f"d{h}": int(np.isfinite(rows.y[:, c]).sum()) for c, h in enumerate(horizons)},
        "horizons": list(horizons),
        "log_horizon": log_horizon,
        "bootstrap": {"replicates": bootstrap_replicates, "seed": seed, "level": LEVEL},
        "bias_against": "oracle" if rows.oracle is not None else "realised, capped",
        "predictors": [one.name for one in everyone],
        "baselines": baselines,
        "classifier": scores.classifier,
        "amounts": scores.amounts,
        "log_mean": scores.log_mean,
        "order_violations": {one.name: order_violations(one.ltv) for one in everyone},
        "bias_by": by_cohort,
        "simulated_states": states,
        "reliability": {
            one.name: curves.reliability(rows.buyer.astype(np.float64), one.p_buyer, weights, rows.sample_weight)
            for one in everyone
            if one.p_buyer is not None
        },
        **_curves(rows, everyone, horizons, weights),
        "errors_by": {
            cohort: errors_by(labels, rows, ours, list(horizons).index(log_horizon), weights, top)
            for cohort, labels in rows.cohorts.items()
        },
        "worst_rows": worst_rows(rows, ours, list(horizons).index(log_horizon), WORST),
        "verdicts": scores.verdicts(ours.name, baselines),
    }
    result: dict[str, Any] = _to_json(found)
    return result


def write_report(
    directory: Path,
    evaluation: Mapping[str, Any],
    *,
    rows: EvaluationRows,
    scored: Sequence[Scored],
    context: Provenance,
    importance: Mapping[str, Mapping[str, float]] | None = None,
    contributions: Sequence[Contributions] = (),
    draw: bool = True,
) -> list[Path]:
    """Write `report.html`, `report.md`, `report.json` and `plots/*.png` into `directory`, made where it is missing.

    Parameters
    ----------
    directory : Path
    evaluation : mapping
        What `evaluate` returned for the same rows and predictors; `drift` and `explanations` where they are known.
    context : Provenance
        Where the data and the model came from.
    importance : mapping of model name to (mapping of feature name to gain), optional
    contributions : sequence of Contributions
        Of the models, for their pictures.
    draw : bool
        Whether there are pictures: they take longer than the figures.

    Returns
    -------
    list of Path
        The files written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    drawn = {}
    if draw:
        drawn = pictures.draw_all(directory / "plots", evaluation, rows, scored, importance or {}, contributions)
    relative = {title: path.relative_to(directory).as_posix() for title, path in drawn.items()}
    blocks = sections(evaluation, relative, context)
    texts = {
        "report.json": json.dumps(evaluation, indent=1, allow_nan=False) + "\n",
        "report.md": markdown(blocks),
        "report.html": render_html(blocks, directory),
    }
    for name, text in texts.items():
        (directory / name).write_text(text, encoding="utf-8")
    return [*(directory / name for name in texts), *drawn.values()]
