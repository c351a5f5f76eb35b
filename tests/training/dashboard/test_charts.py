"""Tests of training.dashboard.charts."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import jsonschema
import numpy as np
import pytest

from training.dashboard import charts, comparing
from training.dashboard.distributions import by_group, concentration, histogram, log_edges
from training.dashboard.explanation import Part
from training.dashboard.scoring import Answered, cohorts

altair: Any = import_module("altair")  # of the extra `dashboard`: checkers of types may lack it

PARTS = (
    Part("expectation", None, -3.0, -3.0, True),
    Part("spend", 12.5, -3.0, -1.0),
    Part("all other features", None, -1.0, -1.5),
    Part("raw score", None, -1.5, -1.5, True),
)


@pytest.fixture(scope="module")
def specifications(answered: Answered, doubled: Answered) -> dict[str, dict[str, Any]]:
    """Every kind of chart, of real figures."""
    ltv = answered.predictions.ltv[:, 1]
    groups = cohorts(answered)["country"]
    return {
        "waterfall": charts.waterfall(PARTS, "log-odds"),
        "histograms": charts.histograms(histogram(ltv, log_edges(ltv), "day 7"), "price", ["day 7"]),
        "quantiles": charts.quantiles(by_group(ltv, groups, 6), "price"),
        "scatter": charts.scatter(comparing.pairs(answered, doubled, 1), "first", "double"),
        "dumbbells": charts.dumbbells(comparing.by_group(answered, doubled, 1, groups, 6), "first", "double"),
        "shares": charts.shares(concentration(ltv)),
    }


def test_charts_are_vega_lite(specifications: dict[str, dict[str, Any]]) -> None:
    """Each one holds to the schema of Vega-Lite that Altair brings along."""
    for specification in specifications.values():
        altair.Chart.from_dict({"$schema": altair.SCHEMA_URL, **specification}).to_dict()


def test_a_misspelt_mark_would_be_noticed() -> None:
    """The schema does refuse what is none."""
    with pytest.raises(jsonschema.ValidationError):
        altair.Chart.from_dict({**charts.shares([]), "mark": "barr"})


def test_every_field_that_is_drawn_is_in_the_data(specifications: dict[str, dict[str, Any]]) -> None:
    """A field that the data lack would draw an empty chart without a word."""

    def fields(node: Any) -> set[str]:
        if isinstance(node, dict):
            own = {node["field"]} if isinstance(node.get("field"), str) else set()
            return own.union(*(fields(child) for key, child in node.items() if key != "data"))
        return set().union(*map(fields, node)) if isinstance(node, list) else set()

    for name, specification in specifications.items():
        parts = [specification] if "data" in specification else specification["layer"]
        for part in parts:
            calculated = {"right"} if name == "waterfall" else set()
            assert fields(part) - calculated <= set(part["data"]["values"][0]), name


def test_bars_say_what_they_do() -> None:
    """Named with the feature's value, coloured by their sign, in the order of the parts."""
    chart = charts.waterfall(PARTS, "log-odds")
    lines = chart["data"]["values"]
    assert [(line["label"], line["kind"]) for line in lines] == [
        ("expectation", "total"), ("spend = 12.5", "raises"), ("all other features", "lowers"), ("raw score", "total"),
    ]  # fmt: skip
    assert [line["phi"] for line in lines] == [-3.0, 2.0, -0.5, -1.5]
    assert chart["encoding"]["y"]["sort"] == [line["label"] for line in lines]


def test_the_diagonal_spans_both_prices(answered: Answered, doubled: Answered) -> None:
    """From the least price of either bundle to the largest."""
    chart = charts.scatter(comparing.pairs(answered, doubled, 0), "a", "b")
    ends = [end["first"] for end in chart["layer"][0]["data"]["values"]]
    ltv = answered.predictions.ltv[:, 0]
    np.testing.assert_array_equal(ends, [ltv.min(), 2.0 * ltv.max()])
