"""Tests of training.dashboard.explanation."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from training.dashboard.explanation import OTHERS, SCORE, START, contributions, steps, waterfall
from training.dashboard.scoring import Answered
from training.evaluation.contributions import load_models


def test_steps_lead_from_the_trees_to_the_price(answered: Answered) -> None:
    """The first is LightGBM's own score through its link, the last what is answered."""
    ensemble = answered.bundle.predictor.ensemble
    boosters = load_models(answered.bundle.path, answered.bundle.predictor.plan.names)
    row = 17
    X = np.ascontiguousarray(answered.X[row : row + 1])
    found = steps(ensemble, X, int(answered.rows.sample.columns.row_state[row]))
    raw = {name: float(booster.predict(X, raw_score=True)[0]) for name, booster in boosters.items()}
    p = 1.0 / (1.0 + math.exp(-raw["gate"]))
    conditional = [math.exp(raw[f"d{h}"]) for h in (1, 7, 14)]
    assert [step.what for step in found] == [
        "revenue given a purchase", "times P(buy)", "corrected by the meta-learner", "calibrated and ordered",
    ]  # fmt: skip
    assert found[0].p_buyer == pytest.approx(p, rel=1e-9)
    assert found[0].ltv == pytest.approx(conditional, rel=1e-9)
    assert found[1].ltv == pytest.approx([p * one for one in conditional], rel=1e-9)
    assert found[-1].ltv == tuple(answered.predictions.ltv[row].tolist())
    assert found[-1].p_buyer == answered.predictions.p_buyer[row]


@pytest.mark.parametrize("count", [1, 5, 1000])
def test_a_waterfall_ends_at_the_raw_score(answered: Answered, count: int) -> None:
    """Bars hang together from the expectation to LightGBM's raw score, however few are named."""
    boosters = load_models(answered.bundle.path, answered.bundle.predictor.plan.names)
    for one in contributions(answered, boosters, 3):
        parts = waterfall(one, count)
        assert (parts[0].label, parts[-1].label) == (START, SCORE)
        named = [part for part in parts if not part.total and part.label != OTHERS]
        assert len(named) <= count
        sizes = [abs(part.phi) for part in named]
        assert sizes == sorted(sizes, reverse=True)
        for before, after in pairwise(parts):
            assert after.start == pytest.approx(before.end, abs=1e-9)
        raw = float(boosters[one.model].predict(answered.X[3:4], raw_score=True)[0])
        assert parts[-1].end == pytest.approx(raw, abs=1e-9)
        values = dict(zip(one.names, answered.X[3].tolist(), strict=True))
        for part in named:
            assert part.value is None if math.isnan(values[part.label]) else part.value == values[part.label]


def test_the_gate_is_explained_first(answered: Answered) -> None:
    """Models come in the order of the price: whether they buy, then how much, horizon by horizon."""
    boosters = load_models(answered.bundle.path, answered.bundle.predictor.plan.names)
    assert [one.model for one in contributions(answered, boosters, 0)] == ["gate", "d1", "d7", "d14", "log_mean"]
