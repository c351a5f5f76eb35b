"""Tests of training.evaluation.verdicts."""

from __future__ import annotations

import numpy as np
import pytest

from training.evaluation.bootstrap import Estimate
from training.evaluation.verdicts import AMOUNTS, CLASSIFIER, DIRECTION, compare, verdict


def _around(value: float, noise: float = 0.0) -> Estimate:
    return Estimate(value, value + noise * np.linspace(-1.0, 1.0, 101))


@pytest.mark.parametrize(
    ("metric", "ours", "theirs", "word"),
    [
        ("auc", 0.9, 0.8, "better"),
        ("auc", 0.8, 0.9, "worse"),
        ("log_loss", 0.1, 0.2, "better"),
        ("mae", 3.0, 2.0, "worse"),
        ("bias_oracle", 0.98, 1.1, "better"),
        ("bias_oracle", 2.0, 0.6, "worse"),
        ("bias_oracle", 1.0, 0.0, "better"),
    ],
)
def test_direction_follows_the_metric(metric: str, ours: float, theirs: float, word: str) -> None:
    """More AUC, less loss and a bias nearer to one are better."""
    found = verdict(metric, "d7", "tweedie", _around(ours), _around(theirs))
    if theirs > 0.0:
        assert found["verdict"] == word
    assert f"tweedie on {metric} of d7" in found["sentence"]


def test_noise_decides_nothing() -> None:
    """Where the interval of the paired difference holds zero, neither is called better."""
    found = verdict("auc", "p_buyer", "two_stage", _around(0.9, noise=0.2), _around(0.89))
    assert found["verdict"] == "indistinguishable"
    assert found["sentence"].startswith("indistinguishable from two_stage on auc of p_buyer")


def test_only_defined_figures_are_compared() -> None:
    """A metric that one side lacks, or that is NaN, gets no verdict."""
    ours = {"auc": _around(0.9), "log_loss": _around(float("nan"))}
    theirs = {"auc": _around(0.8), "log_loss": _around(0.1), "pr_auc": _around(0.3)}
    assert [v["metric"] for v in compare("p_buyer", CLASSIFIER, ours, "b", theirs)] == ["auc"]


def test_every_compared_metric_has_a_direction() -> None:
    """No metric is compared without saying which way is better."""
    assert set(AMOUNTS) | set(CLASSIFIER) <= set(DIRECTION)
