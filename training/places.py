"""Folders that results go to: made before long work, and gone again where nothing came of it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path


def made(folder: Path) -> list[Path]:
    """Make a folder with its parents; what was not there before, innermost first.

    Raises
    ------
    OSError
        What could be made is gone again.
    """
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(mode=0o775, parents=True, exist_ok=True)  # less the umask; never for everybody to write
    except OSError:
        unmade(missing)
        raise
    return missing


def unmade(folders: Sequence[Path]) -> None:
    """Remove those in which nothing lies."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()
