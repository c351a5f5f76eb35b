"""Tests of training.evaluation.model_card."""

from __future__ import annotations

import dataclasses
from typing import Any

from training.evaluation.model_card import model_card
from training.evaluation.rows import Provenance


def test_the_unit_stands_in_bold(evaluation: dict[str, Any], provenance: Provenance) -> None:
    """Whoever bids reads in bold that revenue is per install and what to multiply by."""
    text = model_card(evaluation, provenance)
    unit = (
        "**Every number is revenue per install, not per impression: "
        "multiply by your own P(install | impression) before you bid.**"
    )
    assert unit in text
    session = model_card(evaluation, dataclasses.replace(provenance, label_unit="click"))
    assert "revenue per click, not per impression" in session


def test_the_card_is_complete(evaluation: dict[str, Any], provenance: Provenance) -> None:
    """Window, rows, metrics, states, limits, versions and notes are all there."""
    text = model_card(evaluation, provenance)
    for part in (
        "# Model card: tiny",
        "from 2025-10-01-00-00 to 2025-10-06-23-00",
        "Training 8,000, calibration 1,000, validation 3,000 rows",
        "| normalised_gini_oracle |",
        "Order violations: 0.",
        "| withheld | privacy rules forbid its use | — | — | — |",
        "- 3 refunds were clipped at zero",
        "| lightgbm | 4.7.0 |",
    ):
        assert part in text, part


def test_synthetic_rows_are_called_so(evaluation: dict[str, Any], provenance: Provenance) -> None:
    """Generated data are a limit of the model; real data carry no such line."""
    assert "**The rows are synthetic.**" in model_card(evaluation, provenance)
    assert "synthetic" not in model_card(evaluation, dataclasses.replace(provenance, generated=False))


def test_what_is_worse_is_a_limit(evaluation: dict[str, Any], provenance: Provenance) -> None:
    """Each figure on which a baseline wins is listed among the limits."""
    lost = {**evaluation, "verdicts": [{"verdict": "worse", "sentence": "worse than tweedie on mae of d7"}]}
    assert "- The model is worse than tweedie on mae of d7." in model_card(lost, provenance)
