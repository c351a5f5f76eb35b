"""Tests of training.data.weights, and of a data set that is weighted: what is read, and what is refused in one line."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.errors import DataError
from tests.training.conftest import Tiny
from training.data.dataset import Dataset
from training.data.weights import Weighting, effective_rows, read_weights
from training.samples import read_sample
from training.scale.loading import need_buyers


def test_equal_weights_are_worth_their_rows_whatever_the_unit() -> None:
    """And of two rows, one of which counts for nothing, one is left."""
    assert effective_rows(np.full(10, 3.0)) == pytest.approx(10.0)
    assert effective_rows(np.array([5.0, 0.0])) == pytest.approx(1.0)
    assert effective_rows(np.zeros(3)) == 0.0


def test_effective_rows_by_the_variance_of_a_mean() -> None:
    """The variance of a weighted mean of equal variances is that of the mean of so many rows."""
    rng = np.random.default_rng(1)
    w = rng.gamma(0.5, 1.0, 40)
    means = rng.normal(size=(200_000, 40)) @ (w / w.sum())
    assert effective_rows(w) == pytest.approx(1.0 / means.var(), rel=0.02)


def test_weights_are_clipped_from_above() -> None:
    """Whatever numeric type holds them."""
    assert read_weights(pa.array([0, 1, 9]), Weighting("w", 4.0)).tolist() == [0.0, 1.0, 4.0]
    assert read_weights(pa.array([0.5, 9.0]), Weighting("w")).tolist() == [0.5, 9.0]


@pytest.mark.parametrize(
    ("wrong", "what"), [(None, "missing or not finite"), (np.nan, "missing or not finite"), (-0.1, "negative")]
)
def test_a_wrong_weight_names_the_file_and_the_column(
    tiny: Tiny, tmp_path: Path, wrong: float | None, what: str
) -> None:
    """How many there are, and what was expected."""
    hour = next(path for path in sorted(tiny.data.iterdir()) if path.is_dir())
    shutil.copytree(hour, tmp_path / hour.name)
    file = next((tmp_path / hour.name).glob("*.parquet"))
    table = pq.read_table(file, partitioning=None)
    weights = pa.array([wrong, *[1.0] * (table.num_rows - 1)], pa.float64(), from_pandas=False)
    pq.write_table(table.append_column("won_inverse", weights), file)
    dataset = Dataset(tmp_path, tiny.declaration, Weighting("won_inverse"))
    expected = rf"^{file}: won_inverse: expected a weight of 0 or more in every row, received 1 {what}$"
    with pytest.raises(DataError, match=expected):
        list(dataset.read(targets=True))
    assert all(batch.weight is None for batch in dataset.read(targets=False))


def test_a_column_that_is_not_there_is_told_before_rows_are_read(tiny: Tiny) -> None:
    """By the check of the labels, as for a label."""
    dataset = Dataset(tiny.data, tiny.declaration, Weighting("won_inverse"))
    with pytest.raises(DataError, match=r"parquet: won_inverse: expected weights, numbers, received no such column$"):
        dataset.check_labels()


def test_rows_of_no_weight_are_no_buyers(tiny: Tiny) -> None:
    """A part whose buyers count for nothing can teach nothing."""
    dataset = Dataset(tiny.data, tiny.declaration, Weighting("w"))
    labels = read_sample(Dataset(tiny.data, tiny.declaration), dataset.partitions[:4], None, lambda _: None).labels
    need_buyers(dataset, replace(labels, weight=np.ones(len(labels))), "training")
    with pytest.raises(DataError, match=r"w: expected a buyer of some weight in the training part, received none$"):
        need_buyers(dataset, replace(labels, weight=np.zeros(len(labels))), "training")
