"""Tests of training.dashboard.rows."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.errors import DataError
from tests.training.dashboard.conftest import Place
from training.dashboard.rows import Rows, default_hours, read_rows, read_upload, taught
from training.dashboard.scoring import Loaded, answer
from training.data.dataset import Dataset
from training.samples import read_sample


@pytest.fixture(scope="module")
def dataset(place: Place, loaded: Loaded) -> Dataset:
    """The tiny market's ten hours."""
    return Dataset(place.data / "day", loaded.predictor.declaration)


def test_all_rows_are_those_that_training_reads(dataset: Dataset) -> None:
    """Where the limit takes all, rows, labels and columns are `read_sample`'s."""
    hours = dataset.partitions[2:4]
    found = read_rows(dataset, hours[0].name, hours[-1].name, 1_000_000)
    expected = read_sample(dataset, hours, None, lambda _: None)
    assert found.labelled
    assert found.total == len(found) == len(expected)
    assert found.hours == tuple(hour.name for hour in hours)
    np.testing.assert_array_equal(found.sample.row_id, expected.row_id)
    np.testing.assert_array_equal(found.sample.labels.buyer, expected.labels.buyer)
    np.testing.assert_array_equal(found.sample.labels.revenue, expected.labels.revenue)
    np.testing.assert_array_equal(found.sample.columns.values, expected.columns.values)


def test_a_sample_is_of_all_hours_and_answers_as_the_whole_does(dataset: Dataset, loaded: Loaded) -> None:
    """Some rows of every hour, in their order, each with the very price that it has among all."""
    first, last = dataset.partitions[0].name, dataset.partitions[-1].name
    everything = answer(loaded, read_rows(dataset, first, last, 1_000_000))
    some = answer(loaded, read_rows(dataset, first, last, 300))
    assert len(some.rows) == 300
    assert len(np.unique(some.rows.sample.columns.now)) == len(dataset.partitions)
    place = {identity: i for i, identity in enumerate(everything.rows.sample.row_id.tolist())}
    at = [place[identity] for identity in some.rows.sample.row_id.tolist()]
    assert at == sorted(at)
    np.testing.assert_array_equal(some.predictions.ltv, everything.predictions.ltv[at])
    assert some.rows.oracle is not None
    assert everything.rows.oracle is not None
    np.testing.assert_array_equal(some.rows.oracle.ltv, everything.rows.oracle.ltv[at])


def test_equal_choices_draw_equal_rows(dataset: Dataset) -> None:
    """Two bundles are asked for the same rows; another seed draws others."""
    first, last = dataset.partitions[0].name, dataset.partitions[-1].name
    one, same, other = (read_rows(dataset, first, last, 50, seed).sample.row_id.tolist() for seed in (0, 0, 1))
    assert one == same
    assert one != other


def test_hours_begin_after_those_that_taught_the_bundle(dataset: Dataset, loaded: Loaded) -> None:
    """The held-out hours to begin with; what lies before them is counted as taught; later data begin with all."""
    manifest = loaded.predictor.manifest
    window = manifest.data_window
    assert default_hours(dataset.partitions, manifest) == (window["validation"]["first"], window["validation"]["last"])
    assert taught(read_rows(dataset, *default_hours(dataset.partitions, manifest), 10), manifest) == 0
    assert taught(read_rows(dataset, dataset.partitions[0].name, dataset.partitions[-1].name, 10), manifest) == 8
    early = dataset.partitions[:3]
    assert default_hours(early, manifest) == (early[0].name, early[-1].name)


def _file(dataset: Dataset, without: tuple[str, ...] = ()) -> bytes:
    lines = pq.ParquetFile(dataset.partitions[5].files[0]).read()
    sink = pa.BufferOutputStream()
    pq.write_table(lines.drop_columns([*without]), sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def test_an_uploaded_file_is_read_as_its_hour_was(dataset: Dataset, loaded: Loaded) -> None:
    """The same file, given with its hour, is priced to the same bits."""
    hour = dataset.partitions[5]
    moment = datetime.fromtimestamp(hour.now, UTC)
    uploaded = read_upload(_file(dataset), moment, dataset.declaration, 1_000_000)
    stored = read_rows(dataset, hour.name, hour.name, 1_000_000)
    assert uploaded.labelled
    assert uploaded.oracle is None
    np.testing.assert_array_equal(answer(loaded, uploaded).predictions.ltv, answer(loaded, stored).predictions.ltv)


def test_a_file_without_labels_is_priced(dataset: Dataset, loaded: Loaded) -> None:
    """Labels are not needed: they are then not known, and said not to be."""
    content = _file(dataset, (dataset.declaration.targets.gate,))
    found: Rows = read_upload(content, datetime(2025, 10, 1, 5, tzinfo=UTC), dataset.declaration, 20)
    assert not found.labelled
    assert np.isnan(found.sample.labels.revenue).all()
    assert np.isnan(found.sample.labels.buyer).all()
    assert np.isfinite(answer(loaded, found).predictions.ltv).all()


def test_what_is_wrong_with_a_file_is_one_line(dataset: Dataset) -> None:
    """It names the uploaded file and the column, not a folder of ours."""
    moment = datetime(2025, 10, 1, 5, tzinfo=UTC)
    with pytest.raises(DataError, match=r"^the uploaded file: expected a sound parquet file, received [^\n]*$"):
        read_upload(b"no parquet", moment, dataset.declaration, 20)
    with pytest.raises(DataError, match=r"^the uploaded file: country: expected category, texts, received no such"):
        read_upload(_file(dataset, ("country",)), moment, dataset.declaration, 20)


def test_no_hours_are_an_error(dataset: Dataset) -> None:
    """A range between no two hours names the folder and the range."""
    with pytest.raises(DataError, match=r"day: x to y: expected rows, received none$"):
        read_rows(dataset, "x", "y", 20)
