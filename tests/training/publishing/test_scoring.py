"""`predict`: the served answers in a file, in the order of the rows, to the last bit."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from app.errors import InputError
from app.features.columns import Columns
from app.inference.ensemble import Predictions
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
    """What was there stays until the new file is whole; a run that finished no part leaves nothing else."""
    out = tmp_path / "kept.csv"
    out.write_text("old")

    def fail(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scoring.predict(predictor, dataset, out, progress=fail)
    assert out.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["kept.csv"]


KILLED = """
import os, signal, sys
from pathlib import Path
from app.inference.predictor import Predictor
from training.data.dataset import Dataset
from training.publishing.scoring import predict

bundle, data, out = map(Path, sys.argv[1:])
predictor = Predictor.load(bundle, golden=False)
calls = []

def kill(rows):
    calls.append(rows)
    if len(calls) == 5:
        os.kill(os.getpid(), signal.SIGKILL)

predict(predictor, Dataset(data, predictor.declaration), out, everything=True, progress=kill)
"""


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_killed_run_is_taken_up_with_nothing_lost_or_doubled(
    predictor: Predictor, dataset: Dataset, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    """Killed in its fifth file, the same call predicts the last six only; the bytes are an unbroken run's."""
    out, whole = tmp_path / f"out{suffix}", tmp_path / f"whole{suffix}"
    command = [sys.executable, "-c", KILLED, str(tiny.trained.bundle), str(tiny.data), str(out)]
    assert subprocess.run(command, check=False, timeout=120).returncode == -signal.SIGKILL
    assert not out.exists()
    scoring.predict(predictor, dataset, whole, everything=True)
    predicted: list[int] = []
    original = predictor.predict

    def spy(columns: Columns) -> Predictions:
        predicted.append(columns.n_rows)
        return original(columns)

    monkeypatch.setattr(predictor, "predict", spy)
    told: list[int] = []
    assert scoring.predict(predictor, dataset, out, everything=True, progress=told.append) == dataset.rows
    assert predicted == [hour.rows for hour in dataset.partitions[4:]]
    assert sum(told) == dataset.rows
    assert out.read_bytes() == whole.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([out.name, whole.name])


def test_parts_of_anything_else_are_not_taken_up(predictor: Predictor, dataset: Dataset, tmp_path: Path) -> None:
    """Another question begins anew: its file holds nothing of the answers that were begun."""
    out = tmp_path / "out.csv"

    def fail_later(_: int) -> None:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt

    calls: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        scoring.predict(predictor, dataset, out, objective="mean", progress=fail_later)
    assert (tmp_path / ".out.csv.parts").is_dir()
    scoring.predict(predictor, dataset, out, objective="msle")
    scoring.predict(predictor, dataset, tmp_path / "clean.csv", objective="msle")
    assert out.read_bytes() == (tmp_path / "clean.csv").read_bytes()


def test_a_second_run_at_the_same_file_is_refused(predictor: Predictor, dataset: Dataset, tmp_path: Path) -> None:
    """Two runs would take each other's parts: the later one is told so, and the earlier one ends well."""
    out = tmp_path / "out.csv"
    refused: list[str] = []

    def again(_: int) -> None:
        if not refused:
            with pytest.raises(InputError, match="expected to be written by one run") as fault:
                scoring.predict(predictor, dataset, out)
            refused.append(str(fault.value))

    assert scoring.predict(predictor, dataset, out, progress=again) == len(read(out)[1])
    assert refused


def test_a_file_that_can_not_be_written_is_one_line(predictor: Predictor, dataset: Dataset, tmp_path: Path) -> None:
    """Where the folder is a file, say."""
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="can not be written"):
        scoring.predict(predictor, dataset, tmp_path / "file" / "out.csv")


def test_another_file_type_is_refused(predictor: Predictor, dataset: Dataset, tmp_path: Path) -> None:
    """One line that names what is understood."""
    with pytest.raises(InputError, match=r"expected a \.csv or \.parquet file, received x\.json"):
        scoring.predict(predictor, dataset, tmp_path / "x.json")
