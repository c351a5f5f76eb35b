"""Tests of training.dashboard.scoring."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from app.errors import BundleError
from tests.training.dashboard.conftest import Place
from training.dashboard.scoring import Answered, cohorts, csv_of, evaluation_rows, load, table, totals
from training.data.dataset import Dataset
from training.publishing.scoring import predict


def test_prices_are_those_of_the_command_line(answered: Answered, place: Place, tmp_path: Path) -> None:
    """Every price, downloaded as CSV, equals what `pltv predict` writes for the same row, to the last bit."""
    predictor = answered.bundle.predictor
    out = tmp_path / "all.csv"
    predict(predictor, Dataset(place.data / "day", predictor.declaration), out, everything=True)
    with out.open(encoding="utf-8") as file:
        expected = {line["row_id"]: line for line in csv.DictReader(file)}
    downloaded = list(csv.DictReader(io.StringIO(csv_of(table(answered)).decode())))
    assert len(downloaded) == 700
    for line in downloaded:
        theirs = expected[line["row_id"]]
        for ours, name in (
            ("p_buyer", "p_buyer"), ("ltv_d1", "iap_revenue_d1"), ("ltv_d7", "iap_revenue_d7"),
            ("ltv_d14", "iap_revenue_d14"), ("log_mean", "log_mean_d7"),
        ):  # fmt: skip
            assert float(line[ours]) == float(theirs[name])


def test_the_table_holds_answers_truth_and_categories(answered: Answered) -> None:
    """One line a row; what came, what was due, and every category of request and campaign with the history state."""
    lines = table(answered)
    labels, oracle = answered.rows.sample.labels, answered.rows.oracle
    assert oracle is not None
    assert lines.num_rows == 700
    np.testing.assert_array_equal(lines["revenue_d14"].to_numpy(), labels.revenue[:, 2])
    np.testing.assert_array_equal(lines["expected_d1"].to_numpy(), oracle.ltv[:, 0])
    assert {"country", "dev_os", "advertiser_bundle", "history_state"} <= set(lines.column_names)
    assert set(lines["history_state"].to_pylist()) == {"present", "new"}
    assert next(iter(cohorts(answered))) == "history_state"


def test_totals_are_means(answered: Answered) -> None:
    """Of the answers and of what came."""
    found, labels = totals(answered), answered.rows.sample.labels
    assert found["rows"] == 700
    assert found["ltv_d7"] == pytest.approx(sum(answered.predictions.ltv[:, 1].tolist()) / 700)
    assert found["revenue_d7"] == pytest.approx(sum(labels.revenue[:, 1].tolist()) / 700)
    assert found["buyers"] == pytest.approx(sum(labels.buyer.tolist()) / 700)


def test_rows_are_judged_by_their_labels(answered: Answered) -> None:
    """The evaluation reads the sample's labels and every group that can be chosen."""
    rows = evaluation_rows(answered)
    np.testing.assert_array_equal(rows.y, answered.rows.sample.labels.revenue)
    assert [*rows.cohorts] == [*cohorts(answered)]


def test_a_signature_is_asked_for_where_there_is_a_key(place: Place) -> None:
    """With a key, a bundle that nobody signed is refused, as the service refuses it."""
    with pytest.raises(BundleError, match="expected a signature"):
        load(place.models / "first", key=b"secret")
