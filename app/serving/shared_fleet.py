"""A fleet of several workers: they share a directory, in which one file tells the motion and two each worker.

`motion.json` is the last motion; `NAME.member` is locked by its worker for as long as it lives, and `NAME.ballot` holds
what it said last. Every file is written aside and renamed: a reader finds it whole or not at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

from app.errors import BundleError
from app.serving.fleet import NO_MOTION, PATIENCE_S, SETTLE_S, TICK_S, Ballot, Busy, Fleet, Motion
from app.serving.links import Stamp

_MEMBER: Final = ".member"
_BALLOT: Final = ".ballot"


class SharedFleet(Fleet):
    """The workers that share a directory.

    Parameters
    ----------
    directory : Path
        Exists, and is of this service alone.
    patience_s, settle_s : float
    """

    def __init__(self, directory: Path, *, patience_s: float = PATIENCE_S, settle_s: float = SETTLE_S) -> None:
        self._directory = directory
        self._patience, self._settle = patience_s, settle_s
        self._name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._held: int | None = None

    @contextlib.asynccontextmanager
    async def charge(self, wait_s: float = PATIENCE_S) -> AsyncIterator[None]:
        """See `Fleet`."""
        until = asyncio.get_running_loop().time() + wait_s
        while (lock := self._take_charge()) is None:
            if asyncio.get_running_loop().time() >= until:
                raise Busy("another reload is under way")
            await asyncio.sleep(TICK_S)
        try:
            yield
        finally:
            os.close(lock)

    def join(self) -> None:
        """See `Fleet`. The lock is held before the file has its name: a file without one is a dead worker's."""
        aside = self._directory / f"{self._name}.joining"
        self._held = _lock(aside)
        aside.rename(self._directory / f"{self._name}{_MEMBER}")

    def leave(self) -> None:
        """See `Fleet`."""
        if self._held is not None:
            _forget(self._directory / f"{self._name}{_MEMBER}")
            os.close(self._held)
            self._held = None

    def motion(self) -> Motion:
        """See `Fleet`."""
        found = _read(self._directory / "motion.json")
        return Motion(**{**found, "stamp": tuple(found["stamp"])}) if found else NO_MOTION

    def vote(self, ballot: Ballot) -> None:
        """See `Fleet`."""
        self._write(f"{self._name}{_BALLOT}", _fields(ballot))

    def unanimous(self, stamp: Stamp) -> bool:
        """See `Fleet`."""
        told = tuple(json.loads(json.dumps(stamp, default=str)))
        return all(b is not None and (b.state, b.stamp) == ("live", told) for _, b in self._others())

    def leaderless(self) -> bool:
        """See `Fleet`."""
        lock = self._take_charge()
        if lock is None:
            return False
        os.close(lock)
        return True

    async def agree(self, path: Path, stamp: Stamp) -> None:
        """See `Fleet`."""
        last = self.motion()
        self._move(Motion(last.generation + 1, "proposed", str(path), stamp, last.agreed))
        silent = await self._hear(last.generation + 1, ("ready", "live"), self._patience)
        if silent:
            raise BundleError(f"{path}: worker {silent[0]} has not loaded it within {self._patience:g} s")

    def carry(self) -> None:
        """See `Fleet`."""
        last = self.motion()
        self._move(Motion(last.generation, "agreed", last.path, last.stamp, last.path))

    def withdraw(self) -> None:
        """See `Fleet`."""
        last = self.motion()
        if last.state == "proposed":
            self._move(Motion(last.generation, "withdrawn", last.path, last.stamp, last.agreed))

    async def settle(self) -> tuple[int, int]:
        """See `Fleet`."""
        with contextlib.suppress(BundleError):  # it was ready and is not now: among those who have not
            await self._hear(self.motion().generation, ("live",), self._settle)
        generation = self.motion().generation
        live = [b is not None and (b.generation, b.state) == (generation, "live") for _, b in self._others()]
        return 1 + sum(live), len(live) - sum(live)

    async def _hear(self, generation: int, states: tuple[str, ...], wait_s: float) -> list[str]:
        """Wait for the others; the process ids of those who have not spoken when the time is over."""
        until = asyncio.get_running_loop().time() + wait_s
        while True:
            silent = []
            for name, ballot in self._others():
                if ballot is None or ballot.generation != generation or ballot.state not in (*states, "refused"):
                    silent.append(name.partition("-")[0])
                elif ballot.state == "refused":
                    raise BundleError(f"worker {name.partition('-')[0]} refuses it: {ballot.reason}")
            if not silent or asyncio.get_running_loop().time() >= until:
                return silent
            await asyncio.sleep(TICK_S)

    def _others(self) -> Iterator[tuple[str, Ballot | None]]:
        """Every other worker that lives, and what it said last."""
        for member in sorted(self._directory.glob(f"*{_MEMBER}")):
            if member.stem == self._name or not _is_held(member):
                continue
            found = _read(member.with_suffix(_BALLOT))
            yield member.stem, Ballot(**{**found, "stamp": tuple(found["stamp"])}) if found else None

    def _take_charge(self) -> int | None:
        return _lock(self._directory / "charge")

    def _move(self, motion: Motion) -> None:
        self._write("motion.json", _fields(motion))

    def _write(self, name: str, content: dict[str, Any]) -> None:
        aside = self._directory / f".{name}.{self._name}"
        aside.write_text(json.dumps(content, default=str))
        aside.replace(self._directory / name)


def _fields(record: Motion | Ballot) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__slots__}


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    return found


def _lock(path: Path) -> int | None:
    """Hold the file's lock until the descriptor is closed; None where somebody else does."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _is_held(member: Path) -> bool:
    """Whether a worker lives; what a dead one left is removed."""
    try:
        descriptor = os.open(member, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    _forget(member)
    return False


def _forget(member: Path) -> None:
    member.unlink(missing_ok=True)
    member.with_suffix(_BALLOT).unlink(missing_ok=True)
