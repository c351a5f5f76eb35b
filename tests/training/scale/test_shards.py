"""X on disk: whatever is asked for, the float64 of an array in memory, down to the bits of what is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import DataError
from app.features.ragged import MISSING
from training.learning.boosting import Floats
from training.scale.shards import StoredX, has_shard, write_shard

ROWS = (5, 1, 7, 3)


def array() -> Floats:
    X = np.random.default_rng(1).normal(size=(sum(ROWS), 4)).astype(np.float32).astype(np.float64)
    X[::3, 1] = MISSING
    X[4, :] = MISSING
    return X


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> StoredX:
    folder = tmp_path_factory.mktemp("shards")
    parts = np.split(array(), np.cumsum(ROWS)[:-1])
    for i, part in enumerate(parts):
        write_shard(folder, f"h{i}", part.astype(np.float32))
    assert sorted(p.name for p in folder.iterdir()) == ["h0.f32", "h1.f32", "h2.f32", "h3.f32"]
    return StoredX(folder, [(f"h{i}", n) for i, n in enumerate(ROWS)], 4)


def test_it_has_the_shape_and_the_bits_of_the_array(stored: StoredX) -> None:
    """All rows at once: the plan's own bits where a feature is missing."""
    assert stored.shape == array().shape
    assert len(stored) == len(array())
    assert np.asarray(stored).tobytes() == array().tobytes()
    assert stored[:].flags["C_CONTIGUOUS"]


@given(places=st.lists(st.integers(-16, 15), max_size=30))
def test_positions_in_any_order_and_repeated(stored: StoredX, places: list[int]) -> None:
    """As numpy's, negative ones too."""
    index = np.array(places, dtype=np.int64)
    assert stored[index].tobytes() == array()[index].tobytes()


@given(start=st.integers(-20, 20), stop=st.integers(-20, 20), step=st.sampled_from([1, 2, 5, -1]))
def test_slices(stored: StoredX, start: int, stop: int, step: int) -> None:
    """As numpy's, past the ends and backwards."""
    assert stored[start:stop:step].tobytes() == array()[start:stop:step].tobytes()


@given(mask=st.lists(st.booleans(), min_size=16, max_size=16))
def test_masks(stored: StoredX, mask: list[bool]) -> None:
    """As numpy's, none at all among them."""
    assert stored[np.array(mask)].tobytes() == array()[np.array(mask)].tobytes()


def test_single_rows_own_their_memory(stored: StoredX) -> None:
    """LightGBM samples row by row and keeps what it gets."""
    for i in range(len(stored)):
        row = stored[i]
        assert row.tobytes() == array()[i].tobytes()
        assert row.base is None


def test_some_columns_in_any_order(stored: StoredX) -> None:
    """Narrowed once and once more."""
    some = stored.narrowed([3, 1, 0])
    assert some.shape == (16, 3)
    assert some[2:9].tobytes() == np.ascontiguousarray(array()[2:9, [3, 1, 0]]).tobytes()
    assert some.narrowed([2, 0])[7].tobytes() == np.ascontiguousarray(array()[7, [0, 3]]).tobytes()


def test_a_shard_that_is_missing_or_short_is_one_line(stored: StoredX, tmp_path: Path) -> None:
    """A worker that sees another folder is found out before anything is learned."""
    write_shard(tmp_path, "h0", np.zeros((5, 4), dtype=np.float32))
    assert has_shard(tmp_path, "h0", 5, 4)
    assert not has_shard(tmp_path, "h0", 6, 4)
    with pytest.raises(DataError, match=r"h1\.f32: expected 1 rows of 4 features, in a folder that every worker"):
        StoredX(tmp_path, [("h0", 5), ("h1", 1)], 4)
