"""Tests of app/serving/near.py."""

from __future__ import annotations

import gc
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.features.history import History, unpack
from app.serving.near import ENTRY_BYTES, NearTier
from tests.serving.observed import LAYOUT, NOW, history, nobody

KEYS = [bytes([i]) * 32 for i in range(12)]


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


def tier(max_bytes: int = 100_000, clock: Clock | None = None) -> NearTier:
    """Entries live 10 s, markers 100."""
    return NearTier(max_bytes=max_bytes, ttl_s=10, marker_ttl_s=100, clock=clock or Clock())


def put(near: NearTier, key: bytes, as_of: int, spend: float = 1.0, entries: int = 2) -> bool:
    """Store a history of that time."""
    return near.put(key, history(as_of, spend, entries))


steps = st.lists(
    st.tuples(
        st.sampled_from(["put", "get", "erase", "drop", "tick"]),
        st.sampled_from(KEYS),
        st.integers(0, 20),
        st.integers(0, 60),
    ),
    max_size=80,
)


@given(steps, st.integers(0, 30_000))
def test_never_more_than_its_bytes(moves: list[tuple[str, bytes, int, int]], max_bytes: int) -> None:
    """Whatever is stored, read and erased, the bytes held stay within the limit."""
    clock = Clock()
    near = tier(max_bytes, clock)
    for move, key, time, entries in moves:
        if move == "put":
            put(near, key, time, entries=entries)
        elif move == "get":
            near.get(key)
        elif move == "erase":
            near.erase(key, time)
        elif move == "drop":
            near.drop(key, time)
        clock.now += time if move == "tick" else 0.0
        assert 0 <= near.held_bytes <= max_bytes


@given(steps)
def test_the_newest_wins_and_the_erased_stays_away(moves: list[tuple[str, bytes, int, int]]) -> None:
    """With room for all, and within the times to live, the tier is a dictionary of the newest since the erasure."""
    near, newest, erased = tier(10_000_000), dict[bytes, tuple[int, int]](), dict[bytes, int]()
    for move, key, time, entries in moves:
        if move == "put":
            taken = time > erased.get(key, -1) and time >= newest.get(key, (-1, 0))[0]
            assert put(near, key, time, entries=entries) == taken
            if taken:
                newest[key] = (time, entries)
        elif move == "erase":
            near.erase(key, time)
            erased[key] = max(time, erased.get(key, -1), newest.pop(key, (-1, 0))[0])
        elif move == "get":
            found = near.get(key)
            assert (found is None) == (key not in newest)
            if found is not None:
                assert (found.as_of, len(unpack(LAYOUT, found.packed).maps[0] or ())) == newest[key]


def test_the_least_recently_used_goes_first() -> None:
    """What was read lately survives what was not."""
    size = ENTRY_BYTES + len(history().packed)
    near = tier(max_bytes=size * 4 * 8 // 7)
    for key in KEYS[:4]:
        assert put(near, key, NOW)
    assert near.as_of(KEYS[0]) == NOW
    near.put(KEYS[0], history())
    put(near, KEYS[4], NOW)
    assert [near.as_of(key) is not None for key in KEYS[:5]] == [True, False, True, True, True]


def test_a_hit_is_what_was_stored() -> None:
    """The very buffer, at every hit, with its time."""
    near, kept = tier(), history(spend=3.5)
    near.put(KEYS[0], kept)
    for found in (near.get(KEYS[0]), near.get(KEYS[0])):
        assert found is not None
        assert found.packed is kept.packed
        assert (found.as_of, found.empty) == (NOW, False)


def test_a_history_without_a_time_is_refused() -> None:
    """It could not be compared with another."""
    with pytest.raises(ValueError, match="expected a history with an as_of"):
        tier().put(KEYS[0], history(as_of=None))


def test_a_tombstone_is_known_as_new() -> None:
    """An empty history is a known new user."""
    near = tier()
    near.put(KEYS[0], nobody())
    found = near.get(KEYS[0])
    assert found is not None
    assert found.empty


def test_entries_end() -> None:
    """After the time to live an entry is gone, and an older one may take its place."""
    clock = Clock()
    near = tier(clock=clock)
    put(near, KEYS[0], NOW)
    clock.now = 9.9
    assert near.get(KEYS[0]) is not None
    clock.now = 10.0
    assert near.get(KEYS[0]) is None
    assert put(near, KEYS[0], NOW - 5)


def test_markers_outlast_histories() -> None:
    """A flood of histories does not push an erasure out: a late write still finds it."""
    near = tier(max_bytes=20_000)
    near.erase(KEYS[0], NOW)
    for i in range(500):
        put(near, i.to_bytes(32, "little"), NOW)
    assert not put(near, KEYS[0], NOW)
    assert put(near, KEYS[0], NOW + 1)


def test_the_account_is_honest() -> None:
    """What is counted for 3,000 entries is what Python allocates for them, within a fifth."""
    histories = [history(entries=i % 40) for i in range(3000)]
    gc.collect()
    tracemalloc.start()
    near = tier(10**9)
    for i, one in enumerate(histories):
        own = bytes(bytearray(one.packed))  # a copy of its own, as from a socket
        near.put(i.to_bytes(32, "little"), History(own, NOW + i, empty=False))
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert 0.9 < near.held_bytes / used < 1.2, near.held_bytes / used


def test_entries_are_no_work_for_the_garbage_collector() -> None:
    """After its first look it follows none of them, however many there are."""
    near = tier(10**9)
    for i in range(1000):
        near.put(i.to_bytes(32, "little"), history(NOW + i))
    gc.collect()
    assert not any(gc.is_tracked(entry) for entry in near._entries._values.values())
