"""Room on disk: the folder of all runs and a bound enter; the runs unused for longest go, those that went leave.

A run that is used is held by a lock on its folder, which the system frees even when the process is killed. Whoever
removes one takes the lock alone, so that nothing goes that somebody reads or writes, on this machine or over a network
file system that knows locks.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.errors import DataError

_RUN: Final = re.compile(r"[0-9a-f]{24}")
_GONE: Final = re.compile(r"\.[0-9a-f]{24}\.\d+\.gone")
_MODE: Final = 0o775  # less the umask: what lies there is run, so that not everybody may write it


@dataclass(frozen=True)
class Removed:
    """A run that went.

    Parameters
    ----------
    name : str
    size : int, bytes
    """

    name: str
    size: int


def hold(directory: Path) -> int:
    """Take a share in a run's folder, made where it is missing, and count it as used now.

    Returns
    -------
    int
        A descriptor; the run is held until it is closed.

    Raises
    ------
    DataError
        The folder can not be made, read or locked, or everybody may write it or the one that it is in.
    """
    while True:
        try:
            directory.parent.mkdir(mode=_MODE, parents=True, exist_ok=True)
            directory.mkdir(mode=_MODE, exist_ok=True)
            descriptor = os.open(directory, os.O_RDONLY)
        except FileNotFoundError:  # it went between the two
            continue
        except OSError as fault:
            raise DataError(f"{directory}: can not be written ({fault.strerror})") from fault
        with ExitStack() as closing:
            closing.callback(os.close, descriptor)
            if _share(descriptor, directory):
                closing.pop_all()
                return descriptor


def check_trusted(folder: Path) -> None:
    """Refuse a folder that everybody may write.

    Raises
    ------
    DataError
    """
    mode = folder.stat().st_mode
    if mode & stat.S_IWOTH:
        expected = "expected a folder that not everybody may write, since what lies there is run"
        raise DataError(f"{folder}: {expected}; received mode {stat.S_IMODE(mode):o}")


def prune(processed: Path, most: float) -> list[Removed]:
    """Remove runs, the one that was used longest ago first, until all that are left take `most` bytes or less.

    Neither a run in use goes nor the one that was used last, which may be gone on with, nor what is no run.

    Parameters
    ----------
    processed : Path
        Folder of all runs; there need not be one.
    most : float, bytes
        May be infinite.

    Returns
    -------
    list of Removed
        In the order in which they went.
    """
    if not processed.is_dir():
        return []
    for left in processed.iterdir():  # by whoever was interrupted
        if _GONE.fullmatch(left.name):
            shutil.rmtree(left, ignore_errors=True)
    runs = sorted((p for p in processed.iterdir() if p.is_dir() and _RUN.fullmatch(p.name)), key=_used_at)
    sizes = {run: _size(run) for run in runs}
    excess, removed = sum(sizes.values()) - most, []
    for run in runs[:-1]:
        if excess > 0 and _remove(run):
            removed.append(Removed(run.name, sizes[run]))
            excess -= sizes[run]
    return removed


def _share(descriptor: int, directory: Path) -> bool:
    """Take a share; whether the folder is still there."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    except OSError as fault:
        raise DataError(f"{directory}: can not be locked ({fault.strerror})") from fault
    if not _is_at(descriptor, directory):
        return False
    check_trusted(directory.parent)  # whoever may write it puts another in the run's place
    check_trusted(directory)
    with suppress(OSError):  # somebody else's folder, which is read only
        os.utime(directory)
    return True


def _remove(run: Path) -> bool:
    """Whether nobody held it, and it went."""
    try:
        descriptor = os.open(run, os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError as fault:
        raise DataError(f"{run}: can not be removed ({fault.strerror})") from fault
    away = run.with_name(f".{run.name}.{os.getpid()}.gone")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not _is_at(descriptor, run):
            return False
        run.rename(away)  # at once: whoever comes now makes a folder of their own
    except BlockingIOError:
        return False
    except OSError as fault:
        raise DataError(f"{run}: can not be removed ({fault.strerror})") from fault
    finally:
        os.close(descriptor)
    shutil.rmtree(away, ignore_errors=True)
    return True


def _is_at(descriptor: int, directory: Path) -> bool:
    """Whether the folder that is open is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(descriptor), directory.stat())
    except FileNotFoundError:
        return False


def _used_at(run: Path) -> float:
    try:
        return run.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _size(run: Path) -> int:
    size = 0
    for file in run.rglob("*"):
        with suppress(FileNotFoundError):  # a partial file that became a whole one
            size += file.lstat().st_size
    return size
