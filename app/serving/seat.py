"""The seat of the live bundle: one that answers from it, and at most one that is ready to follow.

A directory enters, verified, loaded and warmed in a thread; what answers is exchanged between two turns of the event
loop, so that nobody uses the one that is closed.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from app.errors import BundleCorrupt, BundleError, BundleIncompatible, NotReady
from app.features.layout import Layout
from app.inference.predictor import Predictor
from app.serving.links import Stamp
from app.serving.observing import Observer


@dataclass(frozen=True, slots=True)
class Live:
    """A bundle that answers. Use it within one turn of the event loop: after a swap its libraries are closed."""

    predictor: Predictor
    layout: Layout
    name: str


class Seat:
    """Loads bundles and exchanges them.

    Parameters
    ----------
    key : bytes or None
        Where set, a bundle must be signed with it.
    observer : Observer
    """

    def __init__(self, key: bytes | None, observer: Observer) -> None:
        self.stamp: Stamp | None = None
        self._key, self._observer = key, observer
        self._live: Live | None = None
        self._ready: tuple[Live, Stamp] | None = None

    @property
    def live(self) -> Live:
        """The bundle that answers.

        Raises
        ------
        NotReady
            There is none yet.
        """
        if self._live is None:
            raise NotReady("no bundle is live yet")
        return self._live

    @property
    def awaits(self) -> bool:
        """Whether a bundle is ready to follow."""
        return self._ready is not None

    async def prepare(self, stamp: Stamp) -> None:
        """Load a bundle, unless it is live or ready already.

        Raises
        ------
        BundleError
            It is refused; so is one of another declaration, for which this process has built neither routes nor cache.
        """
        if self._ready is not None and self._ready[1] == stamp:
            return
        self.drop()
        if stamp == self.stamp:
            return
        live = await asyncio.to_thread(self._load, stamp[0])
        try:
            self._admit(live)
        except BundleError:
            live.predictor.close()
            raise
        self._ready = live, stamp

    def take(self) -> bool:
        """Exchange; False where nothing was ready, because it is live already."""
        if self._ready is None:
            return False
        previous, (self._live, self.stamp), self._ready = self._live, self._ready, None
        self._observer.bundle(self._live.predictor.manifest.to_json())
        self._observer.reload("swapped")
        if previous is not None:
            previous.predictor.close()  # nobody uses it: predictions begin and end within one turn
        return True

    def drop(self) -> None:
        """Close what was ready and will not follow."""
        if self._ready is not None:
            self._ready[0].predictor.close()
            self._ready = None

    def close(self) -> None:
        """Leave the seat empty."""
        self.drop()
        if self._live is not None:
            self._live.predictor.close()
            self._live = None

    def _load(self, path: Path) -> Live:
        """Verify before anything of it runs, load, and replay the golden rows, which warms every path."""
        try:
            predictor = Predictor.load(path, key=self._key)
        except BundleError:
            raise
        except Exception as error:  # a bundle that passes its hashes can still be wrong in any way
            raise BundleCorrupt(f"{path}: can not be loaded ({type(error).__name__}: {error})") from error
        return Live(predictor, predictor.layout, predictor.manifest.name)

    def _admit(self, live: Live) -> None:
        if self._live is None:
            return
        expected = self._live.predictor.declaration.fingerprint
        received = live.predictor.declaration.fingerprint
        if received != expected:
            raise BundleIncompatible(
                f"{live.name}: expected a declaration of fingerprint {expected}, received {received}; "
                "another declaration needs a restart"
            )
