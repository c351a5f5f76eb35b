"""LightGBM is the oracle of compiled trees."""

from __future__ import annotations

import gc
import threading
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest
from numpy.typing import NDArray

from app.errors import BundleCorrupt
from app.inference.compiled import CompiledModel
from tests.inference.conftest import N_FEATURES, make_rows
from training.publishing.certificate import lightgbm_raw
from training.publishing.compilation import compile_library


def test_equals_lightgbm_to_the_last_bit(base_library: Path, base_boosters: list[lgb.Booster]) -> None:
    """Raw scores are LightGBM's, whatever the number of rows beside the block's size."""
    model = CompiledModel(base_library, N_FEATURES, 4)
    for n_rows in (1, 2, 63, 64, 65, 300):
        X = make_rows(n_rows, n_rows)
        assert np.array_equal(model.predict_raw(X), lightgbm_raw(base_boosters, X))


def test_a_row_alone_equals_the_row_in_a_batch(base_library: Path) -> None:
    """A row's scores do not depend on its batch."""
    model = CompiledModel(base_library, N_FEATURES, 4)
    X = make_rows(9, 150)
    alone = np.concatenate([model.predict_raw(np.ascontiguousarray(row[None])) for row in X])
    assert np.array_equal(alone, model.predict_raw(X))


def test_leaves_the_callers_rows_alone(base_library: Path) -> None:
    """Binning happens in private copies: the caller's X keeps every bit, and a read-only X is welcome."""
    model = CompiledModel(base_library, N_FEATURES, 4)
    X = make_rows(5, 70)
    before = X.tobytes()
    first = model.predict_raw(X)
    assert X.tobytes() == before
    X.flags.writeable = False
    assert np.array_equal(model.predict_raw(X), first)


def test_any_nan_is_missing(base_library: Path) -> None:
    """The bits of a NaN do not matter: quiet, negative and all-ones read as missing alike."""
    model = CompiledModel(base_library, N_FEATURES, 4)
    X = make_rows(6, 40)
    expected = model.predict_raw(X)
    for bits in (0x7FF8000000000000, 0xFFF8000000000000, 0xFFFFFFFFFFFFFFFF, 0x7FF0000000000001):
        other = X.copy()
        other.view(np.uint64)[np.isnan(X)] = bits
        assert np.array_equal(model.predict_raw(other), expected)


def test_fills_out_without_reading_it(base_library: Path) -> None:
    """`out` is zeroed inside and returned."""
    model = CompiledModel(base_library, N_FEATURES, 4)
    X = make_rows(7, 5)
    out = np.full((5, 4), 1e9)
    assert model.predict_raw(X, out) is out
    assert np.array_equal(out, model.predict_raw(X))


def test_no_rows_are_no_scores(base_library: Path) -> None:
    """An empty matrix has an empty answer."""
    assert CompiledModel(base_library, N_FEATURES, 4).predict_raw(np.empty((0, N_FEATURES))).shape == (0, 4)


@pytest.mark.parametrize(
    ("X", "received"),
    [
        (np.zeros((2, 7)), r"\(2, 7\) float64 C-contiguous"),
        (np.zeros(8), r"\(8,\) float64 C-contiguous"),
        (np.zeros((2, 8), dtype=np.float32), r"\(2, 8\) float32 C-contiguous"),
        (np.zeros((8, 2)).T, r"\(2, 8\) float64 not C-contiguous"),
        (np.zeros((2, 8), dtype=">f8"), r"\(2, 8\) >f8 C-contiguous"),
    ],
)
def test_refuses_another_matrix(base_library: Path, X: NDArray[Any], received: str) -> None:
    """A wrong shape, dtype or memory order is named beside what was expected."""
    model = CompiledModel(base_library, N_FEATURES, 4)
    with pytest.raises(ValueError, match=rf"X: expected \(n_rows, 8\) float64 C-contiguous, received {received}"):
        model.predict_raw(X)


def test_refuses_another_out(base_library: Path) -> None:
    """A wrong `out` is named."""
    model = CompiledModel(base_library, N_FEATURES, 4)
    with pytest.raises(ValueError, match=r"out: expected \(2, 4\) float64 C-contiguous, received \(2, 3\)"):
        model.predict_raw(np.zeros((2, 8)), np.zeros((2, 3)))


def test_refuses_a_library_of_other_widths(base_library: Path) -> None:
    """A library says itself how wide it is."""
    with pytest.raises(BundleCorrupt, match=r"base\.so: expected n_targets 5, the library has 4"):
        CompiledModel(base_library, N_FEATURES, 5)


def test_refuses_what_is_no_library(tmp_path: Path) -> None:
    """A file that can not be loaded is a corrupt bundle, in one line."""
    path = tmp_path / "base.so"
    path.write_text("not a library")
    with pytest.raises(BundleCorrupt, match=r"base\.so: not a library of this platform"):
        CompiledModel(path, N_FEATURES, 4)


def test_threads_do_not_meet(base_library: Path) -> None:
    """Calls at once on several threads answer as one call does."""
    model = CompiledModel(base_library, N_FEATURES, 4)
    batches = [make_rows(seed, 400) for seed in range(4)]
    expected = [model.predict_raw(X) for X in batches]
    wrong: list[int] = []

    def run(i: int) -> None:
        wrong.extend(i for _ in range(30) if not np.array_equal(model.predict_raw(batches[i]), expected[i]))

    threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_close_refuses_and_unloads(tmp_path: Path, base_boosters: list[lgb.Booster]) -> None:
    """A closed model answers no more, and its library leaves the address space."""
    path = tmp_path / "closing.so"
    compile_library(base_boosters[:1], path)
    model = CompiledModel(path, N_FEATURES, 1)
    model.close()
    model.close()
    gc.collect()
    with pytest.raises(ValueError, match=r"closing\.so was closed"):
        model.predict_raw(np.zeros((1, N_FEATURES)))
    maps = Path("/proc/self/maps")
    assert not maps.exists() or str(path) not in maps.read_text()


def test_a_file_replaced_in_place_is_loaded_anew(tmp_path: Path, base_boosters: list[lgb.Booster]) -> None:
    """A library at the path of one still loaded answers with its own trees, the old one with its own."""
    path = tmp_path / "base.so"
    X = make_rows(8, 20)
    compile_library(base_boosters[1:2], path)
    old = CompiledModel(path, N_FEATURES, 1)
    compile_library(base_boosters[2:3], tmp_path / "new.so")
    (tmp_path / "new.so").replace(path)
    new = CompiledModel(path, N_FEATURES, 1)
    assert np.array_equal(new.predict_raw(X), lightgbm_raw(base_boosters[2:3], X))
    assert np.array_equal(old.predict_raw(X), lightgbm_raw(base_boosters[1:2], X))
