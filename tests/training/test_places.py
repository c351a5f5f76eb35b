"""Folders that results go to."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.places import made, unmade


def test_what_was_made_goes_if_nothing_lies_in_it(tmp_path: Path) -> None:
    """The new ones only, and only as far as they are empty."""
    folder = tmp_path / "a" / "b" / "c"
    new = made(folder)
    assert new == [folder, folder.parent, tmp_path / "a"]
    assert made(folder) == []
    (tmp_path / "a" / "kept").touch()
    unmade(new)
    assert list((tmp_path / "a").iterdir()) == [tmp_path / "a" / "kept"]


def test_what_can_not_be_made_leaves_nothing(tmp_path: Path) -> None:
    """A file stands where a folder would have to be, or the last name is too long."""
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file" / "x", tmp_path / "new" / ("x" * 300)):
        with pytest.raises(OSError, match=r"directory|too long"):
            made(folder)
    assert [place.name for place in tmp_path.iterdir()] == ["file"]
