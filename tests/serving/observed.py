"""An observer that remembers, and the small problem that the tests of serving speak of."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from app.features.history import History, parse_history
from app.features.layout import Layout
from app.features.parsing import RawRequest
from app.features.spec import Declaration
from app.serving.batching import Answer, Batcher

NOW = 1_760_000_400
DECLARATION: dict[str, Any] = {
    "name": "small",
    "label_unit": "install",
    "row_id": "row_id",
    "partition": "datetime",
    "targets": {"horizons": [1, 7], "revenue": "revenue_d{horizon}", "gate": "buyer", "log_mean": 7},
    "request": {
        "country": {"kind": "category", "wire": "device.geo.country", "format": "country"},
        "os": {"kind": "category", "wire": "device.os", "format": "lower"},
        "price": {"kind": "number", "wire": "device.ext.price"},
    },
    "campaign": {"bundle": {"kind": "category"}, "genre": {"kind": "category"}},
    "user": {
        "sessions": {"kind": "number"},
        "last_action": {"kind": "category"},
        "spend": {"kind": "histogram"},
        "bought": {"kind": "timestamps"},
        "tags": {"kind": "strings"},
    },
    "lookups": {"bundle": ["spend", "bought", "tags"]},
}


def small_layout(**changes: Any) -> Layout:
    """The layout of `DECLARATION`, with sections exchanged."""
    return Layout(Declaration.from_dict({**DECLARATION, **changes}))


LAYOUT = small_layout()


def history(as_of: int | None = NOW, spend: float = 1.0, entries: int = 2) -> History:
    """A user who is known."""
    return parse_history(
        LAYOUT,
        {"sessions": spend, "spend": {f"app{i}": spend + i for i in range(entries)}, "tags": ["a"], "as_of": as_of},
    )


def nobody(as_of: int = NOW) -> History:
    """A known new user."""
    return parse_history(LAYOUT, {"as_of": as_of})


class Recorder:
    """Counts what it is told."""

    def __init__(self) -> None:
        self.told: Counter[tuple[Any, ...]] = Counter()
        self.live: list[str] = []
        self.rows: list[int] = []
        self.open = False

    def stage(self, name: str, seconds: float) -> None:
        """Counted by name."""
        assert seconds >= 0.0
        self.told["stage", name] += 1

    def batch_rows(self, n: int) -> None:
        """Kept in order."""
        self.rows.append(n)

    def corrections(self, n: int) -> None:
        """Summed."""
        self.told["corrections",] += n

    def unseen(self, field: str, n: int) -> None:
        """Summed by field."""
        self.told["unseen", field] += n

    def cache(self, tier: str, outcome: str) -> None:
        """Counted by tier and outcome."""
        self.told[tier, outcome] += 1

    def breaker(self, is_open: bool) -> None:
        """The latest."""
        self.open = is_open

    def bundle(self, manifest: Mapping[str, Any]) -> None:
        """Names in order."""
        self.live.append(manifest["name"])

    def reload(self, outcome: str) -> None:
        """Counted."""
        self.told["reload", outcome] += 1


async def until(holds: Callable[[], object], what: str, seconds: float = 10.0) -> None:
    """Wait until something holds; the time only bounds a failing test."""
    end = asyncio.get_running_loop().time() + seconds
    while not holds():
        assert asyncio.get_running_loop().time() < end, f"never happened: {what}"
        await asyncio.sleep(0.005)


def soon(seconds: float = 5.0) -> float:
    """A deadline far enough away for any test."""
    return asyncio.get_running_loop().time() + seconds


def asked(batcher: Batcher, request: RawRequest, deadline: float) -> asyncio.Future[Answer]:
    """A request in the queue of this turn, for a test that awaits its answer."""
    future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def done(outcome: Answer | Exception) -> None:
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)

    batcher.enqueue(request, deadline, done)
    return future
