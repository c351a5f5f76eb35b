"""Errors that nobody raised on purpose: an exception enters; a log line that quotes nobody leaves, and a document.

Such an error may come with every call. One place in the code is logged once a second at most; what was passed over
is counted in its next line, so that a flood of failures is neither silent nor the end of the disk.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable
from typing import Final

import structlog

from app.api import problems
from app.api.problems import Kind

PAUSE_S: Final = 1.0
"""Seconds between two lines about the same place."""

_FRAMES: Final = 12
_log = structlog.get_logger("pltv")


class Sampler:
    """Decides which occurrences are logged.

    Parameters
    ----------
    pause_s : float
    clock : callable
        Monotonic seconds.
    """

    def __init__(self, pause_s: float = PAUSE_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._pause, self._clock = pause_s, clock
        self._last: dict[tuple[str, ...], tuple[float, int]] = {}  # when it was logged, and how many came since

    def take(self, place: tuple[str, ...]) -> int | None:
        """How many have been passed over since the last that was logged; None: this one is, too."""
        now = self._clock()
        logged, since = self._last.get(place, (float("-inf"), 0))
        if now - logged < self._pause:
            self._last[place] = logged, since + 1
            return None
        self._last[place] = now, 0
        return since


_SAMPLER: Final = Sampler()


def log_unexpected(error: BaseException, route: str, sampler: Sampler = _SAMPLER) -> None:
    """Log where an error came from, once a second for each place.

    Its text stays out: it may quote what the caller sent.
    """
    frames = traceback.extract_tb(error.__traceback__ or sys.exc_info()[2])[-_FRAMES:]
    places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    name = type(error).__name__
    passed_over = sampler.take((route, name, *places[-1:]))
    if passed_over is not None:
        _log.error("unexpected error", route=route, error=name, passed_over=passed_over, frames=places)


def unexpected(kind: Kind, **members: str | None) -> bytes:
    """The document of an error that nobody raised on purpose, after other members: it tells nothing of the error."""
    detail = "the service failed; its log has the place, not the request"
    return problems.encode({**members, **problems.document(kind, detail)})
