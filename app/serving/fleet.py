"""What the workers of one service agree on: the bundle that all of them answer from.

They share a directory. One worker at a time is in charge of a change; it moves that a bundle be taken, every worker
verifies, loads and warms it and says so, and only when all are ready the motion is carried, whereupon each puts the
bundle into service between two turns of its own. Where one refuses, the motion falls and no live bundle has moved.

    proposed ── all ready ──> agreed        proposed ── one refuses, or is not heard ──> withdrawn

Who is in charge and who is alive are locks, which the system frees when their holder dies, however it dies.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from app.errors import BundleError
from app.serving.links import Stamp

PATIENCE_S: Final = 60.0
"""Seconds that a worker may take to load a bundle, or another reload to end."""

SETTLE_S: Final = 10.0
"""Seconds that the others may take to put into service what they have loaded, before the answer says who has not."""

TICK_S: Final = 0.01


class Busy(BundleError):
    """Another worker is in charge of a change."""


@dataclass(frozen=True, slots=True)
class Motion:
    """A change that was moved.

    Parameters
    ----------
    generation : int
        Counts motions; 0 where there has been none.
    state : str
    path : str
        The bundle, as it was named.
    stamp : tuple
        What lay there.
    agreed : str
        The bundle that was agreed on last, empty where none was: what a worker that starts later must load.
    """

    generation: int
    state: Literal["none", "proposed", "agreed", "withdrawn"]
    path: str
    stamp: tuple[Any, ...]
    agreed: str


NO_MOTION: Final = Motion(0, "none", "", (), "")


@dataclass(frozen=True, slots=True)
class Ballot:
    """What one worker says of a motion: that it is ready, why it refuses, or what it answers from."""

    generation: int
    state: Literal["ready", "refused", "live"]
    stamp: tuple[Any, ...] = ()
    reason: str = ""


class Fleet:
    """A service of one worker: nobody has to be asked, and the answer is known."""

    @contextlib.asynccontextmanager
    async def charge(self, wait_s: float = PATIENCE_S) -> AsyncIterator[None]:
        """Be the one who may change the bundle.

        Raises
        ------
        Busy
            Another worker has been, for as long.
        """
        yield

    def join(self) -> None:
        """Be counted from now on."""

    def leave(self) -> None:
        """Be counted no more."""

    def motion(self) -> Motion:
        """The last one."""
        return NO_MOTION

    def vote(self, ballot: Ballot) -> None:
        """Tell the others."""

    def unanimous(self, stamp: Stamp) -> bool:
        """Whether every other worker answers from this bundle."""
        return True

    def leaderless(self) -> bool:
        """Whether nobody is in charge: a motion that is still proposed will not be carried."""
        return True

    async def agree(self, path: Path, stamp: Stamp) -> None:
        """Have every other worker load a bundle. To be called while in charge; `carry` or `withdraw` follows.

        Raises
        ------
        BundleError
            One of them refuses, or is not heard of in time.
        """

    def carry(self) -> None:
        """Let all put it into service."""

    def withdraw(self) -> None:
        """Let it fall."""

    async def settle(self) -> tuple[int, int]:
        """Wait until the others have done so: how many workers have, this one counted, and how many have not."""
        return 1, 0
