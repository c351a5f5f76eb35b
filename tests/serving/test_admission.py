"""Tests of app/serving/admission.py."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import Overloaded
from app.serving.admission import LEAST_A_TURN, Admission, deadline_of
from app.serving.pace import Pace

EACH_S = 0.001  # that an answer takes, of a turn of 0.1 s
TURN_S = 0.1


class Clock:
    """Says what a test sets it to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr("app.serving.admission.monotonic", lambda: self.now)


def turns(play: Callable[[Admission, Callable[[], Awaitable[None]]], Awaitable[None]], limit: int = 1000) -> None:
    """Let a play run in an event loop; what it awaits is the end of a turn."""
    pace = Pace()
    for n in (1, 2, 4, 8, 16, 32, 64):
        for _ in range(200):
            pace.took(n, n * EACH_S)

    async def run() -> None:
        await play(Admission(limit, TURN_S, pace), lambda: asyncio.sleep(0))

    asyncio.run(run())


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 5))
def test_never_above_the_limit(moves: list[bool], limit: int) -> None:
    """Whoever comes and goes, at most `limit` are inside, and a refused call is not counted."""
    admission, inside = Admission(limit), 0
    for enters in moves:
        if enters and inside == limit:
            with pytest.raises(Overloaded) as refused:
                admission.enter()
            assert refused.value.retry_after_s >= 1
        elif enters:
            admission.enter()
            inside += 1
        elif inside:
            admission.leave()
            inside -= 1
        assert admission.in_flight == inside


def test_a_limit_below_one_is_refused() -> None:
    """A service that takes nothing is a mistake of configuration."""
    with pytest.raises(ValueError, match="max_in_flight"):
        Admission(0)


def test_a_turn_is_full_when_its_time_is_used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has gone by counts, whatever it went to, and what the answers will take: 60 of them after 40 ms of 100. Then
    nobody comes in before the next turn, in which everybody does."""
    clock = Clock(monkeypatch)

    async def play(admission: Admission, end: Callable[[], Awaitable[None]]) -> None:
        assert admission.arrive()
        clock.now += 0.0399
        assert [admission.arrive() for _ in range(80)] == [True] * 59 + [False] * 21
        full = [admission.full]
        await end()
        full.append(admission.full)
        assert full == [True, False]
        assert admission.arrive()

    turns(play)


def test_some_come_in_whatever_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn that is over before it began still takes a few, or nothing would be answered by a slow machine."""
    clock = Clock(monkeypatch)

    async def play(admission: Admission, end: Callable[[], Awaitable[None]]) -> None:
        taken = 0
        for _ in range(20):
            taken += admission.arrive()
            clock.now += 1.0
        assert taken == LEAST_A_TURN

    turns(play)


def test_never_more_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls under way count."""
    Clock(monkeypatch)

    async def play(admission: Admission, end: Callable[[], Awaitable[None]]) -> None:
        admission.enter()
        assert [admission.arrive() for _ in range(4)] == [True, True, False, False]

    turns(play, limit=3)


def test_refusals_are_part_of_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where each turn spends 40 ms on refusals, 60 answers of a millisecond fit into its 100."""
    clock = Clock(monkeypatch)

    async def play(admission: Admission, end: Callable[[], Awaitable[None]]) -> None:
        for _ in range(100):
            taken = sum(admission.arrive() for _ in range(120))
            clock.now += 0.0401
            await end()
        assert taken == 59

    turns(play)


def test_a_spell_of_slowness_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers joined by 32 once took four times as long, so that 31 were all that a turn dared; it tries more again."""
    Clock(monkeypatch)
    pace = Pace()
    for _ in range(200):
        pace.took(31, 31 * EACH_S)
        pace.took(63, 63 * 4 * EACH_S)
    taken = []

    async def play() -> None:
        admission = Admission(1000, TURN_S, pace)
        for _ in range(100):
            taken.append(sum(admission.arrive() for _ in range(60)))
            await asyncio.sleep(0)
            pace.took(taken[-1], taken[-1] * EACH_S)

    asyncio.run(play())
    assert taken[0] == 31
    assert taken[-1] == 60


def test_time_counts_from_the_last_look_at_the_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is read after 30 ms of answering others has waited for half of them on average; after a rest nobody has."""
    clock = Clock(monkeypatch)

    async def play(admission: Admission, end: Callable[[], Awaitable[None]]) -> None:
        assert admission.received() == clock.now
        clock.now += 0.001
        assert admission.received() == clock.now - 0.001  # the turn's, not the call's
        await end()
        looked, clock.now = clock.now, clock.now + 0.03
        assert admission.received() == pytest.approx(looked + 0.015)
        for _ in range(3):
            await end()
        clock.now += 0.5
        assert admission.received() == clock.now

    turns(play)


@pytest.mark.parametrize(
    ("deadline_ms", "tmax_ms", "expected_ms"),
    [
        (None, None, 8),
        (20, None, 20),
        (20, 100, 20),
        (20, 5, 5),
        (None, 5, 5),
        (None, 120, 8),
        (0, 100, 0),
        (None, 0, 8),
        (None, -1, 8),
    ],
)
def test_tmax_only_lowers(deadline_ms: int | None, tmax_ms: int | None, expected_ms: int) -> None:
    """`deadline_ms` counts from receipt and defaults; the auction's `tmax` can only lower it; 0 means not set."""
    assert deadline_of(100.0, deadline_ms, tmax_ms, 8) == 100.0 + expected_ms / 1000
