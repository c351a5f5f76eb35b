"""The live bundle: verified, loaded and warmed in a thread, then put in the place of its predecessor between two turns.

Every worker polls the path of its bundle, so that a symbolic link which moves (`models/current`) moves all of them.
Whatever is refused leaves the live bundle as it is, and a link that led to it is moved back to the live one: a worker
that starts later must not meet it. Outcomes told to the observer: `swapped`, `unchanged`, `refused`, `rolled_back`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from app.errors import BundleCorrupt, BundleError, BundleIncompatible, NotReady
from app.features.layout import Layout
from app.inference.manifest import MANIFEST
from app.inference.predictor import Predictor
from app.serving.observing import Observer

Stamp = tuple[Path, int, int, int]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Live:
    """A bundle that answers. Use it within one turn of the event loop: after a swap its libraries are closed."""

    predictor: Predictor
    layout: Layout
    name: str


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
    """

    def __init__(self, path: Path, *, key: bytes | None, poll_s: float, telemetry: Observer) -> None:
        self.path = path
        self._key, self._poll_s, self._observer = key, poll_s, telemetry
        self._live: Live | None = None
        self._stamp: Stamp | None = None  # of the live bundle
        self._seen: Stamp | None = None  # of the bundle tried last: one that was refused is not tried at every poll
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    @property
    def live(self) -> Live:
        """The bundle that answers.

        Raises
        ------
        NotReady
            Before `open` has loaded one.
        """
        if self._live is None:
            raise NotReady("no bundle is live yet")
        return self._live

    async def open(self) -> None:
        """Load the bundle, then watch its path.

        Raises
        ------
        BundleError
            When there is none that may be used.
        """
        await self.reload()
        self._task = asyncio.get_running_loop().create_task(self._watch())

    async def close(self) -> None:
        """Stop watching and close the bundle."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        async with self._lock:
            if self._live is not None:
                self._live.predictor.close()
                self._live = None

    async def reload(self, path: Path | None = None) -> dict[str, Any]:
        """Put the bundle at the path, or another, into service.

        Parameters
        ----------
        path : Path or None
            Another bundle. Where the store's own path is a symbolic link, the link is moved to it once it is loaded,
            and every worker follows; where it is not, this process alone does.

        Returns
        -------
        dict
            `outcome` ("swapped" or "unchanged"), `bundle` and `previous` (names), `workers` ("all" or "this").

        Raises
        ------
        BundleError
            When the bundle is refused. The live one stays.
        """
        async with self._lock:
            try:
                return await self._reload(path)
            except BundleError:
                self._observer.reload("refused")
                raise

    async def _reload(self, path: Path | None) -> dict[str, Any]:
        wanted = path or self.path
        linked = self.path.is_symlink()
        stamp = await asyncio.to_thread(_stamp, wanted)
        previous = self._live
        if path is None:
            self._seen = stamp
        if previous is None or stamp != self._stamp:
            try:
                live = await asyncio.to_thread(self._load, stamp[0])
            except BundleError:
                if previous is not None and linked and path is None:
                    await asyncio.to_thread(self._roll_back, stamp[0])
                raise
            try:
                self._admit(live, path, linked)
            except BundleError:
                live.predictor.close()
                raise
            self._live, self._stamp, self._seen = live, stamp, stamp
            self._observer.bundle(live.predictor.manifest.to_json())
            if previous is not None:
                previous.predictor.close()  # nobody uses it: predictions begin and end within one turn
        outcome = "unchanged" if self._live is previous else "swapped"
        self._observer.reload(outcome)
        return {
            "outcome": outcome,
            "bundle": self.live.name,
            "previous": previous.name if previous is not None else None,
            "workers": "all" if linked or path is None else "this",
        }

    def _load(self, path: Path) -> Live:
        """Verify before anything of it runs, load, and replay the golden rows, which warms every path."""
        try:
            predictor = Predictor.load(path, key=self._key)
        except BundleError:
            raise
        except Exception as error:  # a bundle that passes its hashes can still be wrong in any way
            raise BundleCorrupt(f"{path}: can not be loaded ({type(error).__name__}: {error})") from error
        return Live(predictor, predictor.layout, predictor.manifest.name)

    def _roll_back(self, refused: Path) -> None:
        """Move the link from the bundle that was refused to the live one."""
        if self._stamp is None or self._stamp[0] == refused:
            return  # it was replaced in place: there is nothing to go back to
        target = self._stamp[0]
        try:
            if self.path.resolve() != refused or not (target / MANIFEST).is_file():
                return
            _point(self.path, target)
        except (OSError, BundleError) as error:
            _log.warning("the link still leads to a refused bundle", refused=refused.name, reason=str(error))
            return
        self._seen = self._stamp
        self._observer.reload("rolled_back")
        _log.warning("rolled back", refused=refused.name, live=target.name)

    def _admit(self, live: Live, path: Path | None, linked: bool) -> None:
        """Refuse another declaration, which this process has not built its routes and cache for; follow `path`."""
        if self._live is not None:
            expected = self._live.predictor.declaration.fingerprint
            received = live.predictor.declaration.fingerprint
            if received != expected:
                raise BundleIncompatible(
                    f"{live.name}: expected a declaration of fingerprint {expected}, received {received}; "
                    "another declaration needs a restart"
                )
        if path is not None and linked:
            _point(self.path, path)
        elif path is not None:
            self.path = path

    async def _watch(self) -> None:
        told = ""
        while True:
            await asyncio.sleep(self._poll_s)
            try:
                if await asyncio.to_thread(_stamp, self.path) != self._seen:
                    report = await self.reload()
                    _log.info("bundle", **report)
            except BundleError as error:
                if str(error) != told:
                    told = str(error)
                    _log.warning("bundle refused", reason=told)


def _stamp(path: Path) -> Stamp:
    """What changes when the path leads to another bundle: the directory, and its manifest's file."""
    try:
        real = path.resolve(strict=True)
        found = (real / MANIFEST).stat()
    except OSError as error:
        raise BundleCorrupt(f"{path}: no bundle, {MANIFEST} can not be read ({error.strerror})") from error
    return real, found.st_ino, found.st_mtime_ns, found.st_size


def _point(link: Path, target: Path) -> None:
    """Move a symbolic link in one step."""
    aside = link.with_name(f".{link.name}.{os.getpid()}")
    try:
        aside.unlink(missing_ok=True)
        aside.symlink_to(os.path.relpath(target.resolve(), link.parent.resolve()))  # where else it may be mounted
        aside.replace(link)
    except OSError as error:
        raise BundleError(f"{link}: the link can not be moved to {target} ({error.strerror})") from error
