"""Where a generation goes: a folder of partitions, the oracle beside it, requests if asked for; all or nothing.

Everything is written under temporary names next to its place and renamed when complete.
"""

from __future__ import annotations

import datetime
import os
import re
import shutil
from pathlib import Path
from types import TracebackType

from app.errors import DataError
from training.data.synthetic.columns import Columns
from training.data.synthetic.parquet import TableWriter, is_generated, oracle_columns
from training.data.synthetic.requests import RequestWriter
from training.data.synthetic.truth import Truth

_PARTITION = re.compile(r"datetime=\d{4}-\d\d-\d\d-\d\d-\d\d")


class Output:
    """A context: blocks are written hour after hour; leaving it without an error puts the files in their places.

    Parameters
    ----------
    out : Path
        Folder of the partitions. May exist if it is empty or holds generated data, which is then replaced.
    requests : Path or None
        File of `/predict` bodies.

    Raises
    ------
    DataError
        `out` holds something else, or a path cannot be written.
    """

    def __init__(self, out: Path, requests: Path | None) -> None:
        if out.name in ("", ".."):
            raise DataError(f"{out}: has no name of its own; expected a folder that can be replaced")
        self.out = out
        self.oracle = out.with_name(f"{out.name}.oracle.parquet")
        _refuse_foreign(out, requests)
        self._folder = _temporary(out)
        self._oracle = TableWriter(_temporary(self.oracle))
        self._requests = None if requests is None else RequestWriter(_temporary(requests))
        self._final_requests = requests
        self._hour: datetime.datetime | None = None
        self._part: TableWriter | None = None

    def __enter__(self) -> Output:
        try:
            self._folder.mkdir(parents=True)
            if self._requests is not None:
                self._requests.open()
        except OSError as error:
            self._discard()
            raise DataError(f"{self.out}: cannot be written: {error.strerror}") from None
        return self

    def write(self, hour: datetime.datetime, columns: Columns, truth: Truth) -> None:
        """Append a block of `hour`; hours come in order."""
        if hour != self._hour:
            self._next_part(hour)
        assert self._part is not None  # opened for this hour
        self._part.write(columns)
        self._oracle.write(oracle_columns(columns["row_id"], truth.p7, truth.expected()))
        if self._requests is not None:
            self._requests.write(hour, columns)

    def _next_part(self, hour: datetime.datetime) -> None:
        if self._part is not None:
            self._part.close()
        folder = self._folder / f"datetime={hour:%Y-%m-%d-%H-%M}"
        folder.mkdir()
        self._hour, self._part = hour, TableWriter(folder / "part-0.parquet")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for writer in (self._part, self._oracle, self._requests):
            if writer is not None:
                writer.close()
        if kind is not None:
            self._discard()
            if isinstance(error, OSError):
                raise DataError(f"{self.out}: cannot be written: {error.strerror or error}") from None
            return
        self._publish()

    def _publish(self) -> None:
        if self._requests is not None and self._final_requests is not None:
            self._requests.path.replace(self._final_requests)
        self._oracle.path.replace(self.oracle)
        former = self.out.with_name(f".{self.out.name}.{os.getpid()}.former")
        if self.out.exists():
            self.out.replace(former)
        self._folder.replace(self.out)
        shutil.rmtree(former, ignore_errors=True)

    def _discard(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._oracle.path.unlink(missing_ok=True)
        if self._requests is not None:
            self._requests.path.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


def _refuse_foreign(out: Path, requests: Path | None) -> None:
    if requests is not None and requests.is_dir():
        raise DataError(f"{requests}: is a folder; expected a file to write requests to")
    if requests is not None and out.absolute() in requests.absolute().parents:
        raise DataError(f"{requests}: lies in {out}, which is replaced as a whole; expected a file elsewhere")
    if not out.exists():
        return
    if not out.is_dir():
        raise DataError(f"{out}: is a file; expected a folder to write partitions to")
    if not all(_is_partition(entry) for entry in out.iterdir()):
        raise DataError(f"{out}: is not empty and not generated data; expected a new folder or one to replace")


def _is_partition(entry: Path) -> bool:
    if not (entry.is_dir() and _PARTITION.fullmatch(entry.name)):
        return False
    return all(file.suffix == ".parquet" and is_generated(file) for file in entry.iterdir())
