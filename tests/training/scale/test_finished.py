"""Stages that were finished: computed once, read after that, and never when anything they rest on has changed."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from app.errors import DataError
from training.scale.finished import FEATURES, LEARNERS, ROOT, Finished, code, once


def test_a_stage_is_computed_once(tmp_path: Path) -> None:
    """Another run over the same reads it; another name, key or run computes."""
    calls: list[int] = []

    def compute() -> list[int]:
        calls.append(1)
        return [*calls]

    assert Finished(tmp_path, "data").stage("models", compute, 7) == [1]
    assert Finished(tmp_path, "data").stage("models", compute, 7) == [1]
    assert Finished(tmp_path, "data").stage("models", compute, 8) == [1, 1]
    assert Finished(tmp_path, "data").stage("plan", compute, 7) == [1, 1, 1]
    assert Finished(tmp_path, "other data").stage("models", compute, 7) == [1, 1, 1, 1]


def test_a_stage_that_failed_leaves_nothing(tmp_path: Path) -> None:
    """An interrupted stage is begun anew."""

    def fail() -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Finished(tmp_path).stage("models", fail)
    assert list(tmp_path.rglob("*")) == []
    assert Finished(tmp_path).stage("models", lambda: 3) == 3


@pytest.mark.parametrize("damage", [b"", b"\x80\x05", b"no pickle"])
def test_a_damaged_result_is_computed_and_written_anew(tmp_path: Path, damage: bytes) -> None:
    """A disk that was full costs a computation, not a training; the next run reads again."""
    Finished(tmp_path).stage("models", lambda: 1)
    (path,) = tmp_path.rglob("*.pickle")
    path.write_bytes(damage)
    assert Finished(tmp_path).stage("models", lambda: 2) == 2
    assert Finished(tmp_path).stage("models", lambda: 3) == 2


def test_a_folder_that_can_not_be_written_is_one_line(tmp_path: Path) -> None:
    """Where a file stands in its place, say."""
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="can not be written"):
        Finished(tmp_path / "file").stage("models", lambda: 1)


def test_nothing_is_kept_unless_asked_for() -> None:
    """A temporary folder goes with its object and holds no results of stages; without one, they are computed."""
    found = Finished.temporary()
    parent = found.directory.parent
    assert parent.is_dir()
    assert found.stage("models", lambda: 1) == 1
    assert found.stage("models", lambda: 2) == 2
    assert list(parent.iterdir()) == []
    del found
    gc.collect()
    assert not parent.exists()
    assert once(None, "models", lambda: 4) == 4


def test_the_code_that_is_watched_is_there() -> None:
    """Every watched path exists, and learners rest on more than features do."""
    assert all((ROOT / path).exists() for path in LEARNERS)
    assert code(FEATURES) == code(FEATURES) != code(LEARNERS)
