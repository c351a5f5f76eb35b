"""Tests of app/serving/joins.py."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from app.serving.joins import MAX_KEYS, MAX_UNDER_WAY, JoinedReads, Lost, Reply, Values
from tests.serving.observed import soon, until


class Source:
    """A store of values that a test can hold back, break and look into."""

    def __init__(self, timeout_s: float = 5.0) -> None:
        self.commands: list[list[bytes]] = []
        self.replies = self.failures = 0
        self.open = True
        self.error: Values | None = None
        self._held: list[tuple[list[bytes], Callable[[Values], None]]] = []
        self._reads = JoinedReads(self._read, timeout_s=timeout_s, on_reply=self._replied, on_failure=self._failed)
        self.close = self._reads.close

    def get(self, key: bytes, deadline: float) -> asyncio.Future[Reply]:
        """Ask for a value; the future fails where it is told twice."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._reads.get(key, deadline, future.set_result)
        return future

    def release(self) -> None:
        """Answer what was held back, and everything from here on."""
        self.open = True
        held, self._held = self._held, []
        for keys, done in held:
            self._answer(keys, done)

    def _read(self, keys: Sequence[bytes], done: Callable[[Values], None]) -> None:
        """Upper case; keys that begin with `-` are not there."""
        self.commands.append(list(keys))
        if self.open:
            asyncio.get_running_loop().call_soon(self._answer, list(keys), done)
        else:
            self._held.append((list(keys), done))

    def _answer(self, keys: list[bytes], done: Callable[[Values], None]) -> None:
        done(self.error if self.error is not None else [None if key.startswith(b"-") else key.upper() for key in keys])

    def _replied(self) -> None:
        self.replies += 1

    def _failed(self) -> None:
        self.failures += 1


def test_one_turn_is_one_command() -> None:
    """Whoever asks in one turn shares a command, equal keys share a place, and everyone gets their own value."""

    async def scenario() -> None:
        source = Source()
        keys = [b"a", b"b", b"-", b"a"]
        values = await asyncio.gather(*(source.get(key, soon()) for key in keys))
        assert values == [b"A", b"B", None, b"A"]
        assert source.commands == [[b"a", b"b", b"-"]]
        assert (source.replies, source.failures) == (1, 0)

    asyncio.run(scenario())


def test_keys_gather_while_commands_are_under_way() -> None:
    """At most `MAX_UNDER_WAY` commands; what is asked meanwhile leaves together when one is back."""

    async def scenario() -> None:
        source = Source()
        source.open = False
        futures = []
        for i in range(MAX_UNDER_WAY + 6):
            futures.append(source.get(b"%d" % i, soon()))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert len(source.commands) == MAX_UNDER_WAY
        source.release()
        await asyncio.gather(*futures)
        assert len(source.commands) == MAX_UNDER_WAY + 1
        assert len(source.commands[-1]) == 6

    asyncio.run(scenario())


def test_a_command_is_bounded() -> None:
    """A turn with more keys than one command may hold makes several."""

    async def scenario() -> None:
        source = Source()
        keys = [b"%d" % i for i in range(2 * MAX_KEYS + 1)]
        assert await asyncio.gather(*(source.get(key, soon()) for key in keys)) == keys
        assert sorted(map(len, source.commands)) == [1, MAX_KEYS, MAX_KEYS]

    asyncio.run(scenario())


def test_a_silent_store_is_a_timeout() -> None:
    """All that wait get `TIMEOUT`, one failure is told, and what the store says later reaches nobody."""

    async def scenario() -> None:
        source = Source(timeout_s=0.02)
        source.open = False
        assert await asyncio.gather(*(source.get(k, soon()) for k in (b"a", b"b"))) == [Lost.TIMEOUT] * 2
        source.release()
        assert (source.replies, source.failures) == (0, 1)
        assert await source.get(b"c", soon()) == b"C"

    asyncio.run(scenario())


def test_a_deadline_is_the_callers_own() -> None:
    """Who has less time leaves early, without a failure, and the others still get their value."""

    async def scenario() -> None:
        source = Source()
        source.open = False
        patient = source.get(b"a", soon())
        assert await source.get(b"a", soon(0.01)) is Lost.DEADLINE
        assert await source.get(b"b", soon(-1.0)) is Lost.DEADLINE
        source.release()
        assert await patient == b"A"
        assert (source.replies, source.failures) == (1, 0)
        assert source.commands == [[b"a"]]

    asyncio.run(scenario())


def test_any_exception_is_a_lost_reply() -> None:
    """What takes the place of the values, whatever it is, reaches nobody: an exception, too few, or no such values."""

    async def scenario() -> None:
        source = Source()
        errors: list[Any] = [ZeroDivisionError(), [], 7, b"A", [7], [[b"A"]]]
        for n, source.error in enumerate(errors, start=1):
            assert await source.get(b"a", soon()) is Lost.ERROR
            assert (source.replies, source.failures) == (0, n)

    asyncio.run(scenario())


def test_a_busy_process_looks_once_more() -> None:
    """A reply that arrived while the process was busy past the timeout is used."""

    async def scenario() -> None:
        source = Source(timeout_s=0.01)
        source.open = False
        loop = asyncio.get_running_loop()
        future = source.get(b"a", soon())  # leaves at the end of this turn
        loop.call_soon(lambda: _block(loop, 0.05))
        loop.call_later(0.02, source.release)
        assert await future == b"A"
        assert source.failures == 0

    asyncio.run(scenario())


def test_close_ends_every_wait() -> None:
    """At shutdown nobody waits for a store that is silent."""

    async def scenario() -> None:
        source = Source()
        source.open = False
        futures = [source.get(b"a", soon())]
        await until(lambda: source.commands, "the command leaves")
        futures.append(source.get(b"b", soon()))
        source.close()
        assert await asyncio.gather(*futures) == [Lost.ERROR] * 2
        source.release()  # too late for anyone

    asyncio.run(scenario())


def _block(loop: asyncio.AbstractEventLoop, seconds: float) -> None:
    end = loop.time() + seconds
    while loop.time() < end:
        pass
