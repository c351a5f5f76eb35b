"""An evaluation of rows that stand for several is that of the rows repeated that often."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from training.evaluation.baselines import fit_baselines
from training.evaluation.report import evaluate
from training.evaluation.rows import EvaluationRows, Scored

N = 400
RNG = np.random.default_rng(11)
TIMES = RNG.integers(1, 4, N)
P = RNG.uniform(0.05, 0.6, N)
BUYER = (RNG.random(N) < P).astype(np.float64)
Y = (BUYER * RNG.lognormal(1.0, 1.0, N))[:, None] * np.array([1.0, 1.5])
STATE = np.where(RNG.random(N) < 0.5, "present", "new")


def evaluated(times: np.ndarray[Any, Any], weight: np.ndarray[Any, Any] | None) -> dict[str, Any]:
    """Figures of the rows, each taken so many times."""
    p, y = np.repeat(P, times), np.repeat(Y, times, axis=0)
    ids = np.arange(len(p)).astype(str)
    cohorts = {"history_state": np.repeat(STATE, times)}
    rows = EvaluationRows(y, np.repeat(BUYER, times), ids, cohorts, sample_weight=weight)
    scored = [Scored("pltv", p, p[:, None] * np.array([2.0, 3.0]), p)]
    return evaluate(rows, scored, (7, 14), bootstrap_replicates=10, seed=1)


def values(tree: Any, path: str = "") -> dict[str, float]:
    """Every figure without its interval, by its path; counts of rows left out."""
    if isinstance(tree, dict) and {"value", "low", "high"} <= set(tree):
        return {path: tree["value"]}
    if isinstance(tree, dict):
        return {k: v for name, one in tree.items() for k, v in values(one, f"{path}/{name}").items()}
    if isinstance(tree, list):
        return {k: v for i, one in enumerate(tree) for k, v in values(one, f"{path}/{i}").items()}
    return {}


def test_every_figure_is_that_of_repeated_rows() -> None:
    """Classifier, amounts, log answer, bias, errors of cohorts; and most differ from those of equal rows."""
    ours = values(evaluated(np.ones(N, dtype=np.int64), TIMES.astype(np.float64)))
    often, plain = values(evaluated(TIMES, None)), values(evaluated(np.ones(N, dtype=np.int64), None))
    assert len(ours) > 50
    # Quantiles of the payers and bins' edges are of the rows themselves.
    own = ("missed_whales", "bias_realised", "/bias_by/", "ece", "decile_mape")
    compared = [name for name in ours if not any(part in name for part in own)]
    for name in compared:
        assert ours[name] == pytest.approx(often[name], rel=1e-9, abs=1e-12), name
    assert sum(ours[name] != plain[name] for name in compared) > len(compared) // 2


def test_bins_hold_equal_weights() -> None:
    """Lift and reliability by the mass of rows, whose means are weighted."""
    found = evaluated(np.ones(N, dtype=np.int64), TIMES.astype(np.float64))
    weight = TIMES.astype(np.float64)
    share = sum(one["rows"] * one["rate"] for one in found["reliability"]["pltv"])
    assert sum(one["rows"] for one in found["reliability"]["pltv"]) == N
    assert share != pytest.approx(float(BUYER.sum()))
    first = found["lift"]["d7"][0]
    order = np.argsort(-P)
    top = order[np.cumsum(weight[order]) - weight[order] / 2.0 < weight.sum() / 10.0]
    assert first["realised"] == pytest.approx(float(np.average(Y[top, 0], weights=weight[top])))


def test_the_effective_rows_are_told() -> None:
    """(Σw)² / Σw² of the judged rows; their number where all count the same."""
    weight = TIMES.astype(np.float64)
    found = evaluated(np.ones(N, dtype=np.int64), weight)
    assert found["effective_rows"] == pytest.approx(weight.sum() ** 2 / (weight**2).sum())
    assert evaluated(np.ones(N, dtype=np.int64), None)["effective_rows"] == N


def test_baselines_learn_from_weighted_rows() -> None:
    """What they answer is what they answer after the rows repeated that often, and not after equal ones."""
    bare = {"bagging_fraction": 1.0, "feature_fraction": 1.0, "min_data_in_leaf": 1, "lambda_l2": 0.0}
    options: dict[str, Any] = {"horizons": (7, 14), "seed": 1, "num_threads": 1}
    options["params"] = {**bare, "num_boost_round": 3}
    X = P.round(1)[:, None]  # so few values that bins do not depend on counts
    found = [
        fit_baselines(
            np.repeat(X, n, axis=0), {7: np.repeat(Y[:, 0], n), 14: np.repeat(Y[:, 1], n)}, np.repeat(BUYER, n),
            **options, sample_weight=weight,
        )[:3]
        for n, weight in ((1, TIMES.astype(np.float64)), (TIMES, None), (1, None))
    ]  # fmt: skip
    for ours, often, plain in zip(*found, strict=True):
        answers = [one.predict(X).ltv for one in (ours, often, plain)]
        assert answers[0] == pytest.approx(answers[1], rel=1e-5), ours.name
        assert np.abs(answers[0] / answers[2] - 1.0).max() > 0.001, ours.name
