"""Fixtures shared by the tests of evaluation."""

from __future__ import annotations

from typing import Any

import pytest

from tests.training.evaluation.market import HORIZONS, constant, market, noisy_oracle
from training.evaluation.report import evaluate
from training.evaluation.rows import EvaluationRows, Provenance, Scored


@pytest.fixture(scope="session")
def rows() -> EvaluationRows:
    """3,000 rows of the known market."""
    return market(3000, 11)[1]


@pytest.fixture(scope="session")
def scored(rows: EvaluationRows) -> list[Scored]:
    """A model near the truth, a blurred one, a constant."""
    return [noisy_oracle(rows, "pltv", 0.1), noisy_oracle(rows, "blurred", 1.5, seed=1), constant(rows)]


@pytest.fixture(scope="session")
def evaluation(rows: EvaluationRows, scored: list[Scored]) -> dict[str, Any]:
    """The evaluation of them all, with two simulated states."""
    half = Scored("pltv", scored[0].p_buyer, scored[0].ltv * 0.5, scored[0].log_mean)
    simulated = {"present": scored[0], "unavailable": half}
    return evaluate(rows, scored, HORIZONS, bootstrap_replicates=60, seed=0, simulated=simulated)


@pytest.fixture(scope="session")
def provenance() -> Provenance:
    """A generated market's papers."""
    return Provenance(
        name="tiny",
        created="2025-10-09T00:00:00Z",
        data_start="2025-10-01-00-00",
        data_end="2025-10-06-23-00",
        training_rows=8000,
        calibration_rows=1000,
        validation_rows=3000,
        seed=7,
        generated=True,
        versions={"lightgbm": "4.7.0", "numpy": "2.4.6"},
        notes=("3 refunds were clipped at zero",),
    )
