"""Our service without a socket: bodies enter where a connection hands them over, answers leave, under uvloop here."""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Final
from unittest.mock import patch

import uvloop

from app.application import create_app
from app.settings import Settings
from loadtests.benchmarks.processes import answer_commands
from loadtests.benchmarks.rounds import percentile
from loadtests.payloads import Rotation, read_lines

MICRO: Final = 1e6
_PATIENCE_MS: Final = 1000  # an answer from the prior, because the machine was elsewhere, is no prediction
STAGES: Final = ("parse", "cache", "features", "models", "encode")


class Calls:
    """The application, started, and its calls timed.

    Parameters
    ----------
    bundle : Path
    """

    def __init__(self, bundle: Path) -> None:
        self._loop = uvloop.new_event_loop()
        self._app = create_app(Settings(bundle=bundle, log_level="error", deadline_ms=_PATIENCE_MS))
        self._lifespan = self._app.router.lifespan_context(self._app)
        self._loop.run_until_complete(self._lifespan.__aenter__())
        if self._app.direct is None:
            raise RuntimeError("the service did not open /predict")
        self._start = self._app.direct.start

    def single(self, bodies: Rotation, n: int) -> dict[str, float]:
        """n calls, each alone: p50, p95 and p99 in µs."""
        times = self._loop.run_until_complete(self._one_by_one(bodies, n, lambda body: _times(self._call(body))))
        return {f"p{share}": percentile(times, share / 100) for share in (50, 95, 99)}

    def joined(self, bodies: Rotation, n: int, together: int) -> dict[str, float]:
        """n times so many calls that arrive in one turn of the event loop: µs each."""
        times = self._loop.run_until_complete(self._groups(bodies, n, together))
        return {"each": median(times) / together, "p99_each": percentile(times, 0.99) / together}

    def stages(self, bodies: Rotation, n: int) -> dict[str, float]:
        """n calls, each alone, by the stages that the service itself times: medians in µs.

        `parse` is the way from bytes to raw columns, validation included; `rest` is what no stage claims: the door, the
        turn of the loop, counting.
        """
        times: defaultdict[str, list[float]] = defaultdict(list)

        def tap(name: str, seconds: float) -> None:
            times[name].append(MICRO * seconds)

        def answered(parse_s: float, cache_s: float, encode_s: float, slack_s: float) -> None:
            for name, seconds in (("parse", parse_s), ("cache", cache_s), ("encode", encode_s)):
                tap(name, seconds)

        with patch.multiple(self._app.telemetry, stage=tap, answered=answered):
            total = self._loop.run_until_complete(self._one_by_one(bodies, n, lambda body: _times(self._call(body))))
        found = {name: median(times[name]) for name in STAGES}
        claimed = sum(found[name] for name in STAGES)
        return {**found, "rest": median(total) - claimed, "total": median(total)}

    def close(self) -> None:
        """Stop the application."""
        self._loop.run_until_complete(self._lifespan.__aexit__(None, None, None))

    async def _one_by_one(self, bodies: Rotation, n: int, call: Callable[[bytes], Awaitable[float]]) -> list[float]:
        return [await call(body) for body in bodies.take(n)]

    async def _groups(self, bodies: Rotation, n: int, together: int) -> list[float]:
        times = []
        for _ in range(n):
            calls = [self._call(body) for body in bodies.take(together)]
            start = perf_counter()
            await asyncio.gather(*[call() for call in calls])
            times.append(MICRO * (perf_counter() - start))
        return times

    def _call(self, body: bytes) -> Callable[[], asyncio.Future[None]]:
        """One call, prepared as far as a connection prepares it."""
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        answered: asyncio.Future[None] = self._loop.create_future()

        def respond(status: int, _: bytes, answer: bytes) -> None:
            if status != 200 or b'"degraded":[]' not in answer:
                answered.set_exception(RuntimeError(f"a call was answered {status}: {answer[:200]!r}"))
            else:
                answered.set_result(None)

        def call() -> asyncio.Future[None]:
            self._start(headers, body, respond)
            return answered

        return call


async def _times(call: Callable[[], Awaitable[None]]) -> float:
    start = perf_counter()
    await call()
    return MICRO * (perf_counter() - start)


def main(bundle: str, one: str, many: str) -> None:
    """Be a worker; `one` and `many` are files of bodies with one campaign and with several."""
    calls = Calls(Path(bundle))
    bodies = {"one": Rotation(read_lines(Path(one))), "many": Rotation(read_lines(Path(many)))}
    answer_commands(
        {
            "single": lambda which, n: calls.single(bodies[which], n),
            "joined": lambda n, together: calls.joined(bodies["one"], n, together),
            "stages": lambda n: calls.stages(bodies["one"], n),
        }
    )
    calls.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
