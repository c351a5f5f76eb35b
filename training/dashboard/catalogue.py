"""What there is to choose from: a folder enters, the bundles or the data sets in it leave."""

from __future__ import annotations

import re
from pathlib import Path

from app.inference.manifest import MANIFEST

_HOUR = re.compile(r"[^=]+=\d{4}-\d\d-\d\d-\d\d-\d\d")


def bundles(models: Path) -> dict[str, Path]:
    """Bundles by the name of their folder, the newest first.

    Links such as `current` name a bundle a second time and are left out, unless what they point to lies elsewhere.
    """
    found = [path.parent for path in models.glob("*/" + MANIFEST)]
    real = {path.resolve() for path in found if not path.is_symlink()}
    kept = [path for path in found if not path.is_symlink() or path.resolve() not in real]
    kept.sort(key=lambda path: (-(path / MANIFEST).stat().st_mtime, path.name))
    return {path.name: path for path in kept}


def current(models: Path, found: dict[str, Path]) -> str | None:
    """The name that `current` points to, where that is one of `found`."""
    target = (models / "current").resolve()
    return next((name for name, path in found.items() if path.resolve() == target), None)


def datasets(data: Path) -> dict[str, Path]:
    """Folders with hourly partitions by their name, in its order."""
    if not data.is_dir():
        return {}
    return {path.name: path for path in sorted(data.iterdir()) if path.is_dir() and _has_hours(path)}


def _has_hours(path: Path) -> bool:
    return any(_HOUR.fullmatch(child.name) and child.is_dir() for child in path.iterdir())
