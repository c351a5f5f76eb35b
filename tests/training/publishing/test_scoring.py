"""`predict`: the served answers in a file, in the order of the rows, to the last bit."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from app.errors import InputError
from app.inference.predictor import Predictor
from tests.training.conftest import Tiny
from training.data.dataset import Dataset
from training.publishing import scoring

ALL = ["row_id", "p_buyer", "iap_revenue_d1", "iap_revenue_d7", "iap_revenue_d14", "log_mean_d7"]


@pytest.fixture(scope="module")
def predictor(tiny: Tiny) -> Iterator[Predictor]:
    loaded = Predictor.load(tiny.trained.bundle, golden=False)
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def dataset(tiny: Tiny) -> Dataset:
    return Dataset(tiny.data, tiny.declaration)


def read(path: Path) -> tuple[list[str], list[list[str]]]:
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    return header, rows


def test_all_columns_are_the_predictors_bits(predictor: Predictor, dataset: Dataset, tmp_path: Path) -> None:
    """CSV reads back to the very numbers that the predictor gives for the same rows, in their order."""
    rows = scoring.predict(predictor, dataset, tmp_path / "all.csv", everything=True)
    header, found = read(tmp_path / "all.csv")
    assert header == ALL
    assert rows == len(found) == dataset.rows
    batches = list(dataset.read(targets=False))
    assert [row[0] for row in found] == [i for batch in batches for i in batch.row_id.tolist()]
    answers = [predictor.predict(batch.columns) for batch in batches]
    expected = np.concatenate([np.column_stack([a.p_buyer, a.ltv, a.log_mean]) for a in answers])
    np.testing.assert_array_equal(np.array([[float(v) for v in row[1:]] for row in found]), expected)
    ltv = expected[:, 1:4]
    assert (np.diff(ltv, axis=1) >= 0).all()


def test_parquet_holds_the_same_numbers(predictor: Predictor, dataset: Dataset, tmp_path: Path) -> None:
    """Float64, the same columns, the same bits."""
    scoring.predict(predictor, dataset, tmp_path / "all.parquet", everything=True)
    scoring.predict(predictor, dataset, tmp_path / "all.csv", everything=True)
    table = pq.read_table(tmp_path / "all.parquet")
    assert table.column_names == ALL
    _, rows = read(tmp_path / "all.csv")
    for i, name in enumerate(ALL[1:], start=1):
        np.testing.assert_array_equal(table[name].to_numpy(), [float(row[i]) for row in rows])


@pytest.mark.parametrize(("objective", "column"), [("mean", 3), ("msle", 5)])
def test_a_submission_has_one_column_that_answers_the_objective(
    predictor: Predictor, dataset: Dataset, tmp_path: Path, objective: scoring.Objective, column: int
) -> None:
    """`mean` is the D7 mean, `msle` the log mean, both under the original's column name."""
    scoring.predict(predictor, dataset, tmp_path / "one.csv", objective=objective)
    scoring.predict(predictor, dataset, tmp_path / "all.csv", everything=True)
    header, one = read(tmp_path / "one.csv")
    assert header == ["row_id", "iap_revenue_d7"]
    assert [row[1] for row in one] == [row[column] for row in read(tmp_path / "all.csv")[1]]


def test_a_failed_run_leaves_the_old_file(predictor: Predictor, dataset: Dataset, tmp_path: Path) -> None:
    """What was there stays until the new file is whole, and nothing partial remains."""
    out = tmp_path / "kept.csv"
    out.write_text("old")

    def fail(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scoring.predict(predictor, dataset, out, progress=fail)
    assert out.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["kept.csv"]


def test_another_file_type_is_refused(predictor: Predictor, dataset: Dataset, tmp_path: Path) -> None:
    """One line that names what is understood."""
    with pytest.raises(InputError, match=r"expected a \.csv or \.parquet file, received x\.json"):
        scoring.predict(predictor, dataset, tmp_path / "x.json")
