"""Tables enter part by part, one file of them leaves: whole or not at all, and a killed run loses only its open part.

`.NAME.parts/` beside the output holds `identity.json` (what the parts were made of), one file a finished part, and the
lock of whoever is at work. A part appears by renaming, so that it is whole where it is there; the output is put
together from all parts in their order, and appears by renaming as well.
"""

from __future__ import annotations

import csv
import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from app.errors import InputError

Table = dict[str, list[float] | list[str]]
IDENTITY: Final = "identity.json"
LOCK: Final = "lock"


class Format(Protocol):
    """How tables lie in a file."""

    def write(self, path: Path, names: Sequence[str], tables: Iterable[Table]) -> None:
        """Write the tables one after the other as a part."""
        ...

    def join(self, path: Path, names: Sequence[str], parts: Iterable[Path]) -> None:
        """Put parts together."""
        ...


class Csv:
    """Lines of comma-separated values; parts have no header."""

    def write(self, path: Path, names: Sequence[str], tables: Iterable[Table]) -> None:
        """Write floats by repr: the shortest text that reads back as the same bits."""
        with path.open("w", newline="", encoding="utf-8") as file:
            lines = csv.writer(file, lineterminator="\n")
            for table in tables:
                lines.writerows(zip(*table.values(), strict=True))

    def join(self, path: Path, names: Sequence[str], parts: Iterable[Path]) -> None:
        """Write the header, then the bytes of every part."""
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerow(names)
        with path.open("ab") as whole:
            for part in parts:
                with part.open("rb") as piece:
                    shutil.copyfileobj(piece, whole)


class Parquet:
    """A text column, then float64 columns; a row group a table."""

    def write(self, path: Path, names: Sequence[str], tables: Iterable[Table]) -> None:
        """Write a row group a table."""
        schema = _schema(names)
        with pq.ParquetWriter(path, schema) as writer:
            for table in tables:
                writer.write_table(pa.table(table, schema=schema))

    def join(self, path: Path, names: Sequence[str], parts: Iterable[Path]) -> None:
        """Copy the row groups of every part."""
        with pq.ParquetWriter(path, _schema(names)) as writer:
            for part in parts:
                with pq.ParquetFile(part) as piece:
                    for group in range(piece.num_row_groups):
                        writer.write_table(piece.read_row_group(group))


FORMATS: Final[dict[str, Format]] = {".csv": Csv(), ".parquet": Parquet()}


class Work:
    """The folder of parts of one output, held by one run at a time.

    Parameters
    ----------
    out : Path
        Its suffix is one of `FORMATS`.
    names : sequence of str
        Columns.
    identity : list
        JSON values. Parts that were made of anything else are dropped.

    Raises
    ------
    InputError
        On entering, where another run holds the folder.
    """

    def __init__(self, out: Path, names: Sequence[str], identity: list[object]) -> None:
        self._out, self._names, self._format = out, names, FORMATS[out.suffix]
        self._folder = out.with_name(f".{out.name}.parts")
        self._identity = json.dumps(identity)
        self._count = 0

    def __enter__(self) -> Work:
        """Take the folder, with the parts that are still good."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = (self._folder / LOCK).open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise InputError("expected to be written by one run, received a second one", str(self._out)) from None
        self._drop_others()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Let go of it; a folder in which nothing was finished goes."""
        if not any(self._parts()):
            shutil.rmtree(self._folder, ignore_errors=True)
        self._lock.close()

    def has(self, number: int) -> bool:
        """Whether a part is whole; parts are asked for in their order."""
        self._count = number + 1
        return self._part(number).exists()

    def write(self, number: int, tables: Iterable[Table]) -> None:
        """Write a part."""
        partial = self._part(number).with_suffix(".partial")
        self._format.write(partial, self._names, tables)
        partial.replace(self._part(number))

    def finish(self) -> None:
        """Put the parts together, and leave nothing but the output."""
        whole = self._folder / "whole"
        self._format.join(whole, self._names, map(self._part, range(self._count)))
        _settle(whole)
        whole.replace(self._out)
        shutil.rmtree(self._folder)

    def _part(self, number: int) -> Path:
        return self._folder / f"{number:06d}{self._out.suffix}"

    def _parts(self) -> Iterator[Path]:
        return self._folder.glob(f"*{self._out.suffix}")

    def _drop_others(self) -> None:
        note = self._folder / IDENTITY
        if note.exists() and note.read_text(encoding="utf-8") == self._identity:
            return
        # The note first: a run killed between the two finds parts without one, and drops them.
        note.unlink(missing_ok=True)
        for part in self._parts():
            part.unlink()
        note.write_text(self._identity, encoding="utf-8")


def _schema(names: Sequence[str]) -> pa.Schema:
    return pa.schema([(names[0], pa.string()), *((name, pa.float64()) for name in names[1:])])


def _settle(path: Path) -> None:
    """Wait until the file is on the disk, since the parts go once it is in its place."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
