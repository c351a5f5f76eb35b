"""Tests of training.dashboard.judging."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from training.dashboard.judging import PICTURES, Evaluation, draw, figures, headline, judge, too_few, verdicts
from training.dashboard.scoring import Answered


@pytest.fixture(scope="module")
def found(answered: Answered, doubled: Answered) -> Evaluation:
    """The bundle and the one that doubles every price, on the same rows."""
    return judge(answered, [doubled])


def test_figures_are_of_the_rows_at_hand(answered: Answered, found: Evaluation) -> None:
    """scikit-learn's AUC, the sums' ratio, and a line for the oracle; intervals stand in brackets."""
    tiles = {title: (value, interval) for title, value, interval in headline(found)}
    buyer, oracle = answered.rows.sample.labels.buyer, answered.rows.oracle
    assert oracle is not None
    assert float(tiles["AUC of P(buy)"][0]) == pytest.approx(
        roc_auc_score(buyer, answered.predictions.p_buyer), rel=1e-3
    )
    due = float(answered.predictions.ltv[:, 1].sum() / oracle.ltv[:, 1].sum())
    assert float(tiles["Predicted / due, day 7"][0]) == pytest.approx(due, rel=1e-3)
    assert " to " in tiles["AUC of P(buy)"][1]
    tables = figures(found)
    assert [*tables] == ["Buyers", "Revenue, day 1", "Revenue, day 7", "Revenue, day 14"]
    assert [line["predictor"] for line in tables["Buyers"]] == ["first", "double", "oracle"]
    assert tables["Revenue, day 7"][0]["normalised_gini"] == tables["Revenue, day 7"][1]["normalised_gini"]
    assert "[" in tables["Revenue, day 7"][0]["normalised_gini"]


def test_verdicts_tell_inflated_prices_from_the_others(answered: Answered) -> None:
    """A hundredfold of every price has the same order and a far worse sum."""
    predictions = dataclasses.replace(answered.predictions, ltv=100.0 * answered.predictions.ltv)
    bundle = dataclasses.replace(answered.bundle, path=Path("hundredfold"))
    lines = verdicts(judge(answered, [dataclasses.replace(answered, bundle=bundle, predictions=predictions)]))
    of = {(line["of"], line["metric"]): line["verdict"] for line in lines}
    assert of["d7", "normalised_gini"] == "indistinguishable"
    assert of["p_buyer", "auc"] == "indistinguishable"
    assert of["d7", "bias_oracle"] == "better"


def test_pictures_are_drawn(found: Evaluation) -> None:
    """Each one a PNG of its own."""
    pictures = draw(found)
    assert [*pictures] == [*PICTURES]
    contents = [content for _, content in pictures.values()]
    assert all(content.startswith(b"\x89PNG") for content in contents)
    assert len(set(contents)) == len(contents)


def test_rows_that_can_not_judge_say_why(answered: Answered) -> None:
    """Rows without labels, and rows with hardly a buyer, are named; the others pass."""
    assert too_few(answered) is None
    blind = dataclasses.replace(answered, rows=dataclasses.replace(answered.rows, labelled=False))
    assert "no labels (buyer_d7" in str(too_few(blind))
    nobody = dataclasses.replace(answered.rows.sample.labels, buyer=np.zeros(700))
    sample = dataclasses.replace(answered.rows.sample, labels=nobody)
    cold = dataclasses.replace(answered, rows=dataclasses.replace(answered.rows, sample=sample))
    assert too_few(cold) == "0 of 700 rows bought: take more rows, or other hours."
