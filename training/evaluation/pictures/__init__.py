"""Pictures of an evaluation: its figures, rows and predictions → PNG files, drawn without a display."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.evaluation.contributions import Contributions
from training.evaluation.pictures import explanations, groups, performance
from training.evaluation.pictures.residuals import residuals
from training.evaluation.rows import EvaluationRows, Scored


def draw_all(
    directory: Path,
    evaluation: Mapping[str, Any],
    rows: EvaluationRows,
    scored: Sequence[Scored],
    importance: Mapping[str, Mapping[str, float]],
    contributions: Sequence[Contributions] = (),
) -> dict[str, Path]:
    """Draw every picture that there is something to see in into `directory`.

    Parameters
    ----------
    evaluation : mapping
        What `training.evaluation.report.evaluate` returned for these rows and predictors.
    importance : mapping of model name to (mapping of feature name to gain)
    contributions : sequence of Contributions

    Returns
    -------
    dict
        Title → file, in the order of the report.
    """
    directory.mkdir(parents=True, exist_ok=True)
    drawn = {
        "Reliability": directory / "reliability.png",
        "Calibration by decile": directory / "calibration.png",
        "Cumulative gains": directory / "gains.png",
        "Lorenz curves": directory / "lorenz.png",
        "Lift": directory / "lift.png",
        "Residuals": directory / "residuals.png",
    }
    performance.reliability(drawn["Reliability"], evaluation)
    performance.calibration_by_decile(drawn["Calibration by decile"], evaluation)
    performance.cumulative_gains(drawn["Cumulative gains"], evaluation)
    performance.lorenz_curves(drawn["Lorenz curves"], evaluation)
    performance.lift(drawn["Lift"], evaluation)
    residuals(drawn["Residuals"], evaluation, rows, scored[0])
    if evaluation["bias_by"]:
        drawn["Bias by cohort"] = directory / "bias.png"
        groups.bias(drawn["Bias by cohort"], evaluation)
    if evaluation.get("drift", {}).get("columns"):
        drawn["Drift"] = directory / "drift.png"
        groups.drift(drawn["Drift"], evaluation["drift"]["columns"])
    for one in contributions:
        drawn[f"SHAP, {one.model}"] = directory / f"shap_{one.model}.png"
        explanations.beeswarm(drawn[f"SHAP, {one.model}"], one)
    for model, gain in importance.items():
        drawn[f"Feature importance, {model}"] = directory / f"importance_{model}.png"
        explanations.feature_importance(drawn[f"Feature importance, {model}"], model, gain)
    return drawn
