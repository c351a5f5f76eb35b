"""Tests of training.data.cdnow.partitions and .histories: rows by hand, ages, splits, and what may be replaced."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from app.errors import DataError
from app.features.matrix import FeaturePlan
from app.features.spec import Declaration
from tests.support.cdnow import line, made_up, real_file, write
from training.config import load
from training.data.cdnow import prepare
from training.data.cdnow.histories import read_histories
from training.data.dataset import Dataset

CONFIG = Path(__file__).parents[4] / "config" / "cdnow.yaml"
CUT = date(1997, 9, 30)
ANN, BEN, LATE = "00001", "00002", "00003"
LINES = [
    line(ANN, date(1997, 1, 10), 2, 20.0),
    line(ANN, date(1997, 9, 1), 1, 5.0),
    line(ANN, CUT, 1, 7.0),
    line(ANN, CUT + timedelta(days=1), 1, 1.0),
    line(ANN, CUT + timedelta(days=30), 1, 2.0),
    line(ANN, CUT + timedelta(days=31), 1, 4.0),
    line(ANN, CUT + timedelta(days=270), 1, 8.0),
    line(ANN, CUT + timedelta(days=271), 1, 16.0),
    line(BEN, date(1997, 3, 25), 1, 0.0),
    line(BEN, CUT + timedelta(days=91), 1, 0.0),
    line(LATE, CUT + timedelta(days=2), 1, 9.0),
]


@pytest.fixture(scope="module")
def declaration() -> Declaration:
    """Of config/cdnow.yaml."""
    return load(CONFIG)[0]


def rows(folder: Path) -> dict[str, dict[str, Any]]:
    """Every row by customer."""
    tables = [pq.ParquetFile(path).read() for path in sorted(folder.glob("*/*.parquet"))]
    return {row["customer_id"]: row for table in tables for row in table.to_pylist()}


def test_a_row_holds_the_history_before_and_the_revenue_after(tmp_path: Path) -> None:
    """By hand: the cut's own day is history, the day after is day 1, day 30 is within 30 days and day 31 is not."""
    done = prepare(write(tmp_path / "raw.txt", LINES), tmp_path / "out")
    assert (done.customers, done.lines, done.purchases, done.free, done.late) == (2, 11, 11, 2, 1)
    found = rows(tmp_path / "out")
    assert set(found) == {ANN, BEN}
    ann, ben = found[ANN], found[BEN]
    assert ann["cohort"] == "1997-01"
    assert ann["amount"] == [("1997-01-10", 20.0), ("1997-09-01", 5.0), ("1997-09-30", 7.0)]
    assert ann["cds"] == [("1997-01-10", 2), ("1997-09-01", 1), ("1997-09-30", 1)]
    assert ann["gap_days"] == [("1997-09-01", 234), ("1997-09-30", 29)]
    assert ann["amount_l30d"] == ann["amount_l90d"] == [("1997-09-01", 5.0), ("1997-09-30", 7.0)]
    assert (ann["revenue_d30"], ann["revenue_d90"], ann["revenue_d270"]) == (3.0, 7.0, 15.0)
    assert (ann["buyer_d30"], ann["buyer_d90"], ann["buyer_d270"]) == (1, 1, 1)
    assert (ben["amount"], ben["gap_days"], ben["amount_l180d"]) == ([("1997-03-25", 0.0)], [], [])
    assert (ben["revenue_d270"], ben["buyer_d90"], ben["buyer_d270"]) == (0.0, 0, 1)


def test_every_declared_column_is_written(tmp_path: Path, declaration: Declaration) -> None:
    """The house's own check of a data set against the declaration passes, labels included."""
    prepare(made_up(tmp_path / "raw.txt", 50), tmp_path / "out")
    dataset = Dataset(tmp_path / "out", declaration)
    batches = list(dataset.read(targets=True))
    assert sum(len(batch.row_id) for batch in batches) == dataset.rows == 50


def test_features_do_not_depend_on_the_hour_of_a_customer(tmp_path: Path, declaration: Declaration) -> None:
    """Dealt anew, customers change hours and keep every feature, bit for bit: an age is a whole number of days."""
    raw = made_up(tmp_path / "raw.txt", 80)
    found = []
    for seed in (0, 1):
        prepare(raw, tmp_path / str(seed), seed=seed)
        plan = FeaturePlan.unfitted(declaration)
        batches = list(Dataset(tmp_path / str(seed), declaration).read(targets=False))
        X = np.concatenate([plan.transform(batch.columns) for batch in batches])
        ids = np.concatenate([batch.row_id for batch in batches])
        hours = np.concatenate([np.full(len(batch.row_id), batch.now) for batch in batches])
        found.append((X[np.argsort(ids)], hours[np.argsort(ids)]))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    assert (found[0][1] != found[1][1]).mean() > 0.8
    latest = found[0][0][:, plan.names.index("purchase_ts.latest")]
    np.testing.assert_array_equal(latest % 24.0, 0.0)


def test_customers_are_dealt_evenly_and_for_good(tmp_path: Path) -> None:
    """24 hours of about one size; a customer's hour does not change with who else is in the file."""
    many, few = tmp_path / "many", tmp_path / "few"
    prepare(made_up(tmp_path / "many.txt", 1200), many)
    prepare(made_up(tmp_path / "few.txt", 100), few)
    sizes = [pq.read_metadata(path).num_rows for path in many.glob("*/*.parquet")]
    assert len(sizes) == 24
    assert 25 < min(sizes) <= max(sizes) < 80
    hour = {c: path.parent.name for path in many.glob("*/*.parquet") for c in _customers(path)}
    assert all(hour[c] == path.parent.name for path in few.glob("*/*.parquet") for c in _customers(path))


def _customers(path: Path) -> list[str]:
    customers: list[str] = pq.ParquetFile(path).read(columns=["customer_id"])["customer_id"].to_pylist()
    return customers


def test_histories_are_read_back(tmp_path: Path, declaration: Declaration) -> None:
    """Owner, days before the cut and dollars of every purchase, in the order in which the data set gives the rows."""
    prepare(write(tmp_path / "raw.txt", LINES), tmp_path / "out")
    dataset = Dataset(tmp_path / "out", declaration)
    found = read_histories(dataset.partitions)
    assert found.customer_id.tolist() == [i for b in dataset.read(targets=False) for i in b.row_id.tolist()]
    who = found.customer_id[found.owner]
    purchases = sorted(zip(who.tolist(), found.days_before.tolist(), found.dollars.tolist(), strict=True))
    assert purchases == [(ANN, 0.0, 7.0), (ANN, 29.0, 5.0), (ANN, 263.0, 20.0), (BEN, 189.0, 0.0)]


def test_prepared_customers_give_way_and_nothing_else_does(tmp_path: Path) -> None:
    """A second preparation replaces the first; a folder of anything else and a file are refused as they are."""
    raw, out = write(tmp_path / "raw.txt", LINES), tmp_path / "out"
    prepare(made_up(tmp_path / "many.txt", 60), out)
    prepare(raw, out)
    assert set(rows(out)) == {ANN, BEN}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["many.txt", "out", "raw.txt"]
    (out / "notes.txt").write_text("mine")
    for path in (out, raw):
        with pytest.raises(DataError, match="received something else"):
            prepare(raw, path)
    assert (out / "notes.txt").read_text() == "mine"


def test_purchases_that_end_too_early_are_refused(tmp_path: Path) -> None:
    """Revenue within 270 days is not in a file that ends before, nor a history in one that begins after the cut."""
    short = write(tmp_path / "short.txt", LINES[:6])
    with pytest.raises(DataError, match=r"until 1998-06-27, 270 days after the cut, received the last of 1997-10-31"):
        prepare(short, tmp_path / "out")
    late = write(tmp_path / "late.txt", [LINES[-1], line(LATE, date(1998, 6, 30), 1, 1.0)])
    with pytest.raises(DataError, match="customers who bought until 1997-09-30, received none"):
        prepare(late, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_real_file_keeps_every_dollar(tmp_path: Path) -> None:
    """Histories and labels of all 23,570 customers add up to the file's, by a loop over its lines."""
    raw = real_file()
    spent: dict[str, float] = defaultdict(float)
    for words in (text.split() for text in raw.read_text().splitlines()[1:]):
        days = (date.fromisoformat(f"{words[1][:4]}-{words[1][4:6]}-{words[1][6:]}") - CUT).days
        for name in ["history"] * (days <= 0) + [f"revenue_d{h}" for h in (30, 90, 270) if 0 < days <= h]:
            spent[name] += float(words[3])
    prepare(raw, tmp_path / "out")
    found = rows(tmp_path / "out").values()
    assert len(found) == 23_570
    assert sum(v for row in found for _, v in row["amount"]) == pytest.approx(spent["history"])
    for h in (30, 90, 270):
        assert sum(row[f"revenue_d{h}"] for row in found) == pytest.approx(spent[f"revenue_d{h}"])
