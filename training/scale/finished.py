"""Stages that were finished stay on disk: what a stage rests on enters as its key, its result leaves, computed or read.

`data/processed/KEY/` holds everything that was made of the same rows, declaration, code and settings. A change of any
of them is another key, so that nothing that is stale is ever read. `training.scale.pruning` removes what was not used
for longest; by hand, folders may be removed whenever no training runs.

The folder is trusted as the code is: results are pickles and the features' twin is a library, and both run in whoever
reads them. It is for those alone who may start a training; one that everybody may write is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import platform
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Final, TypeVar

from app.errors import DataError
from training.publishing.codegen import FEATURE_SOURCES
from training.scale.pruning import hold

T = TypeVar("T")

ROOT: Final = Path(__file__).resolve().parents[2]
FEATURES: Final = (
    "app/features",
    "training/data",
    "training/samples.py",
    "training/scale",
    *(f"training/publishing/{name}" for name in FEATURE_SOURCES),
)
"""Code that rows, encodings and features depend on."""
LEARNERS: Final = (*FEATURES, "app/inference", "training/learning", "training/config.py", "training/pipeline.py")
"""Code that models depend on as well."""


class Finished:
    """The folder of one run.

    Parameters
    ----------
    processed : Path
        Folder of all runs.
    *rests_on : JSON values
        What every stage of the run rests on.

    keeps : bool
        Whether results of stages are written; features are in any case.

    Attributes
    ----------
    directory : Path
    """

    def __init__(self, processed: Path, *rests_on: object, keeps: bool = True) -> None:
        self.directory = processed / digest(code(FEATURES), *rests_on)
        self._keeps = keeps
        self._held = False
        if self.directory.is_dir():
            self.hold()

    @classmethod
    def temporary(cls) -> Finished:
        """A folder that goes with the object; only features are written there."""
        directory = Path(tempfile.mkdtemp(prefix="pltv-features-"))
        found = cls(directory, keeps=False)
        weakref.finalize(found, shutil.rmtree, directory, ignore_errors=True)
        return found

    def hold(self) -> None:
        """Make the folder where it is missing, and keep it from being removed for as long as this object is there.

        Raises
        ------
        DataError
            It can not be made or read, or everybody may write it.
        """
        if not self._held:
            weakref.finalize(self, os.close, hold(self.directory))
            self._held = True

    def stage(self, name: str, compute: Callable[[], T], *rests_on: object) -> T:
        """The result of a stage, computed unless it is there.

        Parameters
        ----------
        name : str
        compute : callable
        *rests_on : JSON values
            What this stage rests on beside what the run does.

        Raises
        ------
        DataError
            Where the folder can not be written.
        """
        if not self._keeps:
            return compute()
        path = self.directory / f"{name}-{digest(*rests_on)}.pickle"
        found = _read(path)
        if found is None:
            found = (compute(),)
            self.hold()
            _write(path, found)
        result: T = found[0]
        return result


def once(finished: Finished | None, name: str, compute: Callable[[], T], *rests_on: object) -> T:
    """As `Finished.stage`; where nothing is kept, computed."""
    return compute() if finished is None else finished.stage(name, compute, *rests_on)


def digest(*parts: object) -> str:
    """24 hexadecimal digits over JSON values; what is none, a date say, counts as its text."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


@cache
def code(paths: Iterable[str]) -> str:
    """One digest over source files and the versions of what they compute with."""
    found = hashlib.sha256()
    for path in paths:
        place = ROOT / path
        for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            found.update(f"{file.relative_to(ROOT)}\n".encode())
            found.update(file.read_bytes())
    learn = ("lightgbm", "numpy", "pyarrow", "scikit-learn", "xgboost-cpu")
    versions: dict[str, Any] = {name: metadata.version(name) for name in learn}
    return digest(found.hexdigest(), versions, platform.python_version(), platform.machine())


def _read(path: Path) -> tuple[Any] | None:
    """A result, in a tuple of its own; None where there is none, or half a file of a disk that was full."""
    try:
        with path.open("rb") as file:
            found: tuple[Any] = pickle.load(file)
    except (OSError, EOFError, pickle.UnpicklingError, AttributeError, ImportError):
        return None
    return found


def _write(path: Path, result: tuple[Any]) -> None:
    partial = path.with_suffix(f".{os.getpid()}.partial")
    try:
        partial.write_bytes(pickle.dumps(result, protocol=pickle.HIGHEST_PROTOCOL))
        partial.replace(path)
    except OSError as fault:
        raise DataError(f"{path}: can not be written ({fault.strerror})") from fault
