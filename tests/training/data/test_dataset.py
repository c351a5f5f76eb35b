from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.errors import DataError
from tests.training.data.oracle import DECLARATION, LAYOUT, NOW, expected, same, unpacked
from tests.training.data.rows import PLAIN, table
from training.data.dataset import Dataset, Partition, cells, concatenate

HOURS = ("2025-10-01-18-00", "2025-10-01-19-00")
LABELS = {"buyer": pa.int8(), "revenue_d1": pa.float64(), "revenue_d7": pa.float32()}


def rows(n: int, seed: int = 0) -> list[dict[str, Any]]:
    """Seeded raw rows with enough repeated keys, nulls and empty maps."""
    rng = np.random.default_rng(seed)
    keys = ["a", "b", "c", "18", None]

    def text() -> Any:
        return keys[int(rng.integers(len(keys)))]

    def pairs(value: Callable[[], Any]) -> Any:
        return None if rng.random() < 0.3 else [(text(), value()) for _ in range(int(rng.integers(0, 5)))]

    def number() -> Any:
        return None if rng.random() < 0.1 else float(rng.integers(-8, 8)) / 4

    def second() -> int:
        return int(rng.integers(0, 2**31))

    return [
        {
            **{name: text() for name in ("country", "bundle", "last_action")},
            **{name: number() for name in ("price", "bid", "ratio")},
            "first_seen": second(),
            "spend": pairs(number),
            "by_hour": pairs(number),
            "bought": pairs(second),
            "apps": None if rng.random() < 0.3 else [text() for _ in range(int(rng.integers(0, 5)))],
            "actions": pairs(lambda: pairs(number)),
            "acted": pairs(lambda: pairs(second)),
        }
        for _ in range(n)
    ]


def full(raw: list[dict[str, Any]], first: int = 0) -> pa.Table:
    """The rows with identity, labels and a column that nobody declared."""
    n = len(raw)
    whole = table(raw, PLAIN)
    whole = whole.append_column("row_id", pa.array([f"r{first + i}" for i in range(n)]))
    for name, kind in LABELS.items():
        whole = whole.append_column(name, pa.array(np.arange(n) % 2).cast(kind))
    return whole.append_column("undeclared", pa.array([b"x"] * n))


def write(root: Path, whole: pa.Table, hour: str = HOURS[0], name: str = "part-0.parquet", **options: Any) -> Path:
    folder = root / f"datetime={hour}"
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(whole, folder / name, **options)
    return folder / name


def with_column(whole: pa.Table, name: str, column: pa.Array) -> pa.Table:
    return whole.drop_columns([name]).append_column(name, column)


def test_partitions_are_hours_in_time_with_their_rows(tmp_path: Path) -> None:
    """Folders are sorted by hour, rows counted from the footers, other entries ignored."""
    raw = rows(5)
    write(tmp_path, full(raw), HOURS[1])
    write(tmp_path, full(raw), HOURS[0])
    write(tmp_path, full(raw[:2]), HOURS[0], "part-1.parquet")
    (tmp_path / "_SUCCESS").touch()
    data = Dataset(tmp_path, DECLARATION)
    assert [(p.name, p.now, p.rows, len(p.files)) for p in data.partitions] == [
        (f"datetime={HOURS[0]}", NOW, 7, 2),
        (f"datetime={HOURS[1]}", NOW + 3600, 5, 1),
    ]
    assert data.rows == 12


@pytest.mark.parametrize(
    "options", [{}, {"row_group_size": 7}, {"use_dictionary": False}, {"dictionary_pagesize_limit": 1}]
)
@pytest.mark.parametrize("batch_rows", [5, 1000])
def test_rows_are_read_as_the_oracle_reads_them(tmp_path: Path, options: dict[str, Any], batch_rows: int) -> None:
    """Row groups, batches and the dictionaries of the file change nothing: rows, identities and labels in order."""
    raw = rows(40)
    write(tmp_path, full(raw[:25]), **options)
    write(tmp_path, full(raw[25:], first=25), HOURS[1], **options)
    batches = list(Dataset(tmp_path, DECLARATION).read(targets=True, batch_rows=batch_rows))
    assert max(b.columns.n_rows for b in batches) <= batch_rows
    whole = concatenate([b.columns for b in batches])
    times = [NOW] * 25 + [NOW + 3600] * 15
    assert same(unpacked(whole), [expected(r, now) for r, now in zip(raw, times, strict=True)])
    assert [i for b in batches for i in b.row_id.tolist()] == [f"r{i}" for i in range(40)]
    assert cells(whole.texts, 0).tolist() == [r["country"] for r in raw]
    labels = np.concatenate([b.targets["revenue_d7"] for b in batches if b.targets])
    np.testing.assert_array_equal(labels, np.concatenate((np.arange(25) % 2, np.arange(15) % 2)))


def test_partitions_are_read_by_choice(tmp_path: Path) -> None:
    """Only the partitions asked for are read; without targets none are there."""
    for hour in HOURS:
        write(tmp_path, full(rows(3)), hour)
    data = Dataset(tmp_path, DECLARATION)
    (batch,) = data.read(data.partitions[1:], targets=False)
    assert (batch.now, batch.targets) == (NOW + 3600, None)


def test_test_files_lack_targets(tmp_path: Path) -> None:
    """Files without labels are read; asking for labels names the file and the column."""
    path = write(tmp_path, full(rows(3)).drop_columns(list(LABELS)))
    data = Dataset(tmp_path, DECLARATION)
    assert len(list(data.read(targets=False))) == 1
    with pytest.raises(DataError) as fault:
        list(data.read(targets=True))
    assert str(fault.value) == f"{path}: buyer: expected a target, numbers, received no such column"


def test_labels_are_looked_for_in_every_file_before_any_row_is_read(tmp_path: Path) -> None:
    """A label that only the last hour lacks, or that is a text there, is found at the start."""
    write(tmp_path, full(rows(3)))
    last = write(tmp_path, full(rows(3)).drop_columns(["revenue_d7"]), HOURS[1])
    with pytest.raises(DataError) as fault:
        Dataset(tmp_path, DECLARATION).check_labels()
    assert str(fault.value) == f"{last}: revenue_d7: expected a target, numbers, received no such column"
    write(tmp_path, with_column(full(rows(3)), "revenue_d7", pa.array(["1", "2", "3"])), HOURS[1])
    with pytest.raises(DataError, match="revenue_d7: expected a target, numbers, received string"):
        Dataset(tmp_path, DECLARATION).check_labels()
    write(tmp_path, full(rows(3)), HOURS[1])
    Dataset(tmp_path, DECLARATION).check_labels()


def test_a_file_without_rows_gives_no_batch(tmp_path: Path) -> None:
    """An hour in which nothing happened is no mistake."""
    write(tmp_path, full(rows(3))[:0])
    assert list(Dataset(tmp_path, DECLARATION).read(targets=True)) == []


MAP = pa.map_(pa.string(), pa.float64())
WRONG = [
    ("country", pa.array([1, 2, 3]), "country: expected category, texts, received int64"),
    ("price", pa.array(["1"] * 3), "price: expected number, numbers, received string"),
    ("price", pa.array([True] * 3), "price: expected number, numbers, received bool"),
    ("price", pa.array([0] * 3, pa.timestamp("s")), "price: expected number, numbers, received timestamp"),
    (
        "first_seen",
        pa.array(["x"] * 3),
        "first_seen: expected timestamp, instants (unix seconds or timestamps), received",
    ),
    (
        "spend",
        pa.array([1.0] * 3),
        "spend: expected histogram, a map or list of (key, value) from text to numbers, received",
    ),
    ("spend", pa.array([{"a": 1.0}] * 3), "spend: expected histogram"),
    ("spend", pa.array([[("a", "1")]] * 3, pa.map_(pa.string(), pa.string())), "spend: expected histogram"),
    ("spend", pa.array([[(1, 1.0)]] * 3, pa.map_(pa.int64(), pa.float64())), "spend: expected histogram"),
    ("spend", pa.array([[("a", True)]] * 3, pa.map_(pa.string(), pa.bool_())), "spend: expected histogram"),
    ("apps", pa.array([[1]] * 3), "apps: expected strings, a list of texts, received list"),
    ("apps", pa.array([[("a", 1.0)]] * 3, MAP), "apps: expected strings, a list of texts, received map"),
    ("actions", pa.array([[("a", 1.0)]] * 3, MAP), "actions: expected nested_histogram, a map or list of (key, value)"),
    ("row_id", pa.array([1, 2, 3]), "row_id: expected the row's identity, a text, received int64"),
]


@pytest.mark.parametrize(("name", "column", "line"), WRONG, ids=lambda v: v if isinstance(v, str) else "")
def test_a_wrong_type_is_one_line(tmp_path: Path, name: str, column: pa.Array, line: str) -> None:
    """The file, the column, what was expected and what came, before any row is read."""
    path = write(tmp_path, with_column(full(rows(3)), name, column))
    with pytest.raises(DataError) as fault:
        Dataset(tmp_path, DECLARATION)
    assert str(fault.value).startswith(f"{path}: {line}")
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize("name", [f.name for f in DECLARATION.fields] + ["row_id"])
def test_a_missing_column_is_one_line(tmp_path: Path, name: str) -> None:
    """Every declared column must be there, in every file."""
    write(tmp_path, full(rows(3)))
    path = write(tmp_path, full(rows(3)).drop_columns([name]), HOURS[1])
    with pytest.raises(DataError) as fault:
        Dataset(tmp_path, DECLARATION)
    assert str(fault.value).startswith(f"{path}: {name}: expected ")
    assert str(fault.value).endswith("received no such column")


def test_a_column_given_twice_is_one_line(tmp_path: Path) -> None:
    """Two columns of one name leave open which is meant."""
    path = write(tmp_path, full(rows(3)).append_column("price", pa.array([1.0] * 3)))
    with pytest.raises(DataError, match="received 2 columns of this name") as fault:
        Dataset(tmp_path, DECLARATION)
    assert str(fault.value).startswith(f"{path}: price: ")


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"no parquet at all"])
def test_a_truncated_file_is_one_line(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    """A file cut short is named when the data set is opened."""
    path = write(tmp_path, full(rows(50)))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match="expected a sound parquet file, received ") as fault:
        Dataset(tmp_path, DECLARATION)
    assert str(fault.value).startswith(f"{path}: ")
    assert "\n" not in str(fault.value)


def test_damaged_pages_are_one_line(tmp_path: Path) -> None:
    """A sound footer over damaged pages is found when they are read."""
    path = write(tmp_path, full(rows(2000)), compression="zstd")
    raw = bytearray(path.read_bytes())
    raw[100 : len(raw) // 2] = bytes(len(raw) // 2 - 100)
    path.write_bytes(raw)
    data = Dataset(tmp_path, DECLARATION)
    with pytest.raises(DataError) as fault:
        list(data.read(targets=False))
    assert str(fault.value).startswith(f"{path}: expected a sound parquet file, received ")


def test_a_missing_label_is_one_line(tmp_path: Path) -> None:
    """A null label can not be learned from; it is not zero."""
    whole = with_column(full(rows(3)), "revenue_d1", pa.array([1.0, None, float("nan")]))
    path = write(tmp_path, whole)
    with pytest.raises(DataError) as fault:
        list(Dataset(tmp_path, DECLARATION).read(targets=True))
    assert str(fault.value) == f"{path}: revenue_d1: expected a finite label in every row, received 2 missing"


def test_a_missing_identity_is_one_line(tmp_path: Path) -> None:
    """Every row has an identity."""
    write(tmp_path, with_column(full(rows(3)), "row_id", pa.array(["a", None, "b"])))
    with pytest.raises(DataError, match="row_id: expected a text in every row, received null"):
        list(Dataset(tmp_path, DECLARATION).read(targets=False))


@pytest.mark.parametrize("name", ["2025-10-01", "2025-10-01-18-30", "2025-13-01-00-00", "today"])
def test_a_partition_that_is_no_hour_is_one_line(tmp_path: Path, name: str) -> None:
    """The folder's name is the clock: it must be a full hour."""
    write(tmp_path, full(rows(3)), name)
    with pytest.raises(DataError, match=r"expected datetime=YYYY-MM-DD-HH-00, an hour, received datetime="):
        Dataset(tmp_path, DECLARATION)


def test_an_empty_partition_an_empty_folder_and_none_at_all(tmp_path: Path) -> None:
    """Nothing to read is said before training begins."""
    with pytest.raises(DataError, match="expected a folder of hourly partitions, received none"):
        Dataset(tmp_path / "nowhere", DECLARATION)
    with pytest.raises(DataError, match="expected folders named datetime=YYYY-MM-DD-HH-MM, received none"):
        Dataset(tmp_path, DECLARATION)
    (tmp_path / f"datetime={HOURS[0]}").mkdir()
    with pytest.raises(DataError, match=r"18-00: expected \*.parquet files, received an empty partition"):
        Dataset(tmp_path, DECLARATION)


def test_a_target_among_the_features_is_one_line(tmp_path: Path) -> None:
    """Even a declaration that was not checked can not make an outcome a feature."""
    path = write(tmp_path, full(rows(3)))
    leaky = dataclasses.replace(DECLARATION, targets=dataclasses.replace(DECLARATION.targets, excluded=("ratio",)))
    with pytest.raises(DataError) as fault:
        Dataset(tmp_path, leaky)
    assert str(fault.value) == f"{path}: ratio: expected a feature, received a target"


def test_only_declared_columns_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Undeclared columns cost nothing: they are never asked for."""
    write(tmp_path, full(rows(3)))
    asked: list[list[str]] = []
    original = pq.ParquetFile.iter_batches

    def spy(self: Any, *args: Any, **options: Any) -> Any:
        asked.append(options["columns"])
        return original(self, *args, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", spy)
    list(Dataset(tmp_path, DECLARATION).read(targets=False))
    assert asked == [["row_id", *(f.name for f in LAYOUT.declaration.fields)]]


def test_a_partition_is_a_value() -> None:
    """Partitions compare by what they are, so that splits can be compared."""
    assert Partition("a", 0, (), 0) == Partition("a", 0, (), 0)
