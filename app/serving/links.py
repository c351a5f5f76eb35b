"""Where a path leads: what tells one bundle from another, and a symbolic link that moves in one step."""

from __future__ import annotations

import os
from pathlib import Path

from app.errors import BundleCorrupt, BundleError
from app.inference.manifest import MANIFEST

Stamp = tuple[Path, int, int, int]
"""Directory, and inode, time of change (ns) and size (bytes) of its manifest."""


def stamp_of(path: Path) -> Stamp:
    """What changes when the path leads to another bundle.

    Raises
    ------
    BundleCorrupt
        No bundle is there.
    """
    try:
        real = path.resolve(strict=True)
        found = (real / MANIFEST).stat()
    except OSError as error:
        raise BundleCorrupt(f"{path}: no bundle, {MANIFEST} can not be read ({error.strerror})") from error
    return real, found.st_ino, found.st_mtime_ns, found.st_size


def point(link: Path, target: Path) -> None:
    """Move a symbolic link in one step.

    Raises
    ------
    BundleError
        The directory can not be written to.
    """
    aside = link.with_name(f".{link.name}.{os.getpid()}")
    try:
        aside.unlink(missing_ok=True)
        aside.symlink_to(os.path.relpath(target.resolve(), link.parent.resolve()))  # where else it may be mounted
        aside.replace(link)
    except OSError as error:
        raise BundleError(f"{link}: the link can not be moved to {target} ({error.strerror})") from error
