"""One at a time: a path enters, the right to work beside it leaves, until the block or the process ends."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.errors import InputError


@contextmanager
def exclusive(path: Path, doing: str) -> Iterator[None]:
    """Hold the lock file `path`, made where it is missing; the system frees it even when the process is killed.

    Raises
    ------
    InputError
        When somebody else holds it, or the file can not be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Left behind on purpose: to remove it would let two hold two files of one name.
        file = path.open("a")
    except OSError as error:
        raise InputError(f"can not be written ({error.strerror})", str(path)) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"expected to {doing} alone, received another process that does", str(path)) from None
        yield
