"""The store of the live bundle: paths enter, and what a path leads to is put into service in every worker at once.

Whoever is asked to reload, or finds first that the path leads elsewhere, is in charge of the change: it loads the
bundle, has every other worker of the fleet load it, and when all are ready they swap together. Whatever one of them
refuses leaves every live bundle as it is, and a link that led to it is moved back to the live one: a worker that starts
later must not meet it. Outcomes told to the observer: `swapped`, `unchanged`, `refused`, `rolled_back`.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import structlog

from app.errors import BundleCorrupt, BundleError
from app.inference.manifest import MANIFEST
from app.serving.fleet import PATIENCE_S, Ballot, Busy, Fleet, Motion
from app.serving.links import Stamp, point, stamp_of
from app.serving.observing import Observer
from app.serving.seat import Live, Seat

__all__ = ["BundleStore", "Live"]

LOOK_S: Final = 0.05
"""Seconds between two looks at what the fleet moves; while a bundle waits to be put into service, a fifth of it."""

_log = structlog.get_logger(__name__)


class BundleStore:
    """Holds the live bundle and replaces it.

    Parameters
    ----------
    path : Path
        A bundle, or a symbolic link to one.
    key : bytes or None
        Where set, a bundle must be signed with it.
    poll_s : float
        Seconds between two looks at the path.
    telemetry : Observer
    fleet : Fleet or None
        None: this worker is alone.
    """

    def __init__(
        self, path: Path, *, key: bytes | None, poll_s: float, telemetry: Observer, fleet: Fleet | None = None
    ) -> None:
        self.path = path
        self._poll_s, self._observer = poll_s, telemetry
        self._fleet = fleet or Fleet()
        self._seat = Seat(key, telemetry)
        self._seen: Stamp | None = None  # of the bundle tried last: one that was refused is not tried at every poll
        self._heeded = (0, "none")  # generation and state of the motion that was acted on last
        self._lock = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def live(self) -> Live:
        """The bundle that answers.

        Raises
        ------
        NotReady
            Before `open` has loaded one.
        """
        return self._seat.live

    async def open(self) -> None:
        """Load the bundle, which is the one that the fleet agreed on if it ever did; then watch the path and the fleet.

        Raises
        ------
        BundleError
            When there is none that may be used.
        """
        motion = self._fleet.motion()
        agreed = Path(motion.agreed) if motion.agreed and (Path(motion.agreed) / MANIFEST).is_file() else self.path
        try:
            stamp = await asyncio.to_thread(stamp_of, agreed)
            await self._seat.prepare(stamp)
        except BundleError:
            self._observer.reload("refused")
            raise
        self._take(agreed, stamp)
        if motion.state != "proposed":
            self._heeded = (motion.generation, motion.state)
        self._fleet.vote(Ballot(motion.generation, "live", stamp))
        self._fleet.join()
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._watch()), loop.create_task(self._follow())]

    async def close(self) -> None:
        """Stop watching and close the bundle."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._fleet.leave()
        async with self._lock:
            self._seat.close()

    async def reload(self, path: Path | None = None, *, wait_s: float = PATIENCE_S) -> dict[str, Any]:
        """Put the bundle at the path, or another, into service in every worker.

        Parameters
        ----------
        path : Path or None
            Another bundle. Where the store's own path is a symbolic link, the link is moved to it as well.
        wait_s : float
            How long to wait for a reload that is under way.

        Returns
        -------
        dict
            `outcome` ("swapped" or "unchanged"), `bundle` and `previous` (names), `workers` that answer from it now,
            and `pending`, those that were ready for it and have not said so yet.

        Raises
        ------
        BundleError
            When a worker refuses the bundle, or another reload does not end. The live one stays, in all of them.
        """
        async with self._fleet.charge(wait_s), self._lock:
            try:
                return await self._lead(path)
            except BundleError:
                self._observer.reload("refused")
                raise

    async def _lead(self, path: Path | None) -> dict[str, Any]:
        wanted, previous = path or self.path, self.live.name
        stamp = await asyncio.to_thread(stamp_of, wanted)
        if path is None:
            self._seen = stamp
        changes = stamp != self._seat.stamp or not self._fleet.unanimous(stamp)
        if changes:
            named = stamp[0] if self.path.is_symlink() else wanted
            await self._win(named, stamp, path)
            self._fleet.carry()
            self._follow_through(named, stamp)
        else:
            self._observer.reload("unchanged")
        workers, pending = await self._fleet.settle()
        return {
            "outcome": "swapped" if changes else "unchanged",
            "bundle": self.live.name,
            "previous": previous,
            "workers": workers,
            "pending": pending,
        }

    async def _win(self, named: Path, stamp: Stamp, asked: Path | None) -> None:
        """Have the bundle ready in every worker, and a link that leads to it; else leave all as it was."""
        try:
            await self._seat.prepare(stamp)
            await self._fleet.agree(named, stamp)
            if asked is not None and self.path.is_symlink():
                point(self.path, asked)
        except BaseException as error:
            self._fleet.withdraw()
            self._heeded = self._moved()
            self._seat.drop()
            if isinstance(error, BundleError) and asked is None and self.path.is_symlink():
                await asyncio.to_thread(self._roll_back, stamp[0])
            raise

    def _follow_through(self, named: Path, stamp: Stamp) -> None:
        """Put what was agreed on into service, and say so. It is loaded: nothing here can be refused."""
        self._heeded = self._moved()
        self._take(named, stamp)
        self._fleet.vote(Ballot(self._heeded[0], "live", stamp))

    def _take(self, named: Path, stamp: Stamp) -> None:
        if self._seat.take():
            self._seen = stamp
        if not self.path.is_symlink():
            self.path = named

    def _roll_back(self, refused: Path) -> None:
        """Move the link from the bundle that was refused to the live one."""
        if self._seat.stamp is None or self._seat.stamp[0] == refused:
            return  # it was replaced in place: there is nothing to go back to
        target = self._seat.stamp[0]
        try:
            if self.path.resolve() != refused or not (target / MANIFEST).is_file():
                return
            point(self.path, target)
        except (OSError, BundleError) as error:
            _log.warning("the link still leads to a refused bundle", refused=refused.name, reason=str(error))
            return
        self._seen = self._seat.stamp
        self._observer.reload("rolled_back")
        _log.warning("rolled back", refused=refused.name, live=target.name)

    def _moved(self) -> tuple[int, str]:
        motion = self._fleet.motion()
        return motion.generation, motion.state

    async def _follow(self) -> None:
        """Do as the fleet moves."""
        while True:
            await asyncio.sleep(LOOK_S / 5 if self._seat.awaits else LOOK_S)
            if self._moved() == self._heeded and not self._seat.awaits:
                continue
            async with self._lock:
                motion = self._fleet.motion()
                if (motion.generation, motion.state) != self._heeded:
                    await self._heed(motion)
                elif self._seat.awaits and self._fleet.leaderless() and self._moved() == self._heeded:
                    self._seat.drop()  # whoever moved it is gone

    async def _heed(self, motion: Motion) -> None:
        self._heeded = motion.generation, motion.state
        if motion.state in ("withdrawn", "none"):
            self._seat.drop()
            return
        named = Path(motion.path)
        try:
            stamp = await asyncio.to_thread(stamp_of, named)
            if (str(stamp[0]), *stamp[1:]) != motion.stamp:
                raise BundleCorrupt(f"{named}: was replaced while it was loaded")
            await self._seat.prepare(stamp)
        except BundleError as error:
            _log.warning("bundle refused", reason=str(error))
            self._fleet.vote(Ballot(motion.generation, "refused", reason=str(error)))
            return
        if motion.state == "agreed":
            self._follow_through(named, stamp)
        else:
            self._fleet.vote(Ballot(motion.generation, "ready", stamp))

    async def _watch(self) -> None:
        told = ""
        while True:
            await asyncio.sleep(self._poll_s)
            try:
                if await asyncio.to_thread(stamp_of, self.path) != self._seen:
                    report = await self.reload(wait_s=0.0)
                    _log.info("bundle", **report)
            except Busy:
                continue  # another worker has seen it too, and leads
            except BundleError as error:
                if str(error) != told:
                    told = str(error)
                    _log.warning("bundle refused", reason=told)
