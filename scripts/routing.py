"""How often a worker's near cache has the history already, by the way in which calls are routed to workers.

A worker's cache is simulated as app/serving/near.py works: bounded in bytes, least recently used out first, an entry
trusted for a fixed time after it was put there and parsed at its first hit, which makes it larger.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

EVENTS = 60_000
"""Calls that one simulated worker gets; rate and memory are scaled down together to reach it."""
MOST_DRAWN = 1_000_000
"""Calls drawn for all workers together: of users spread at random, the one that is simulated sees few."""


@dataclass(frozen=True)
class Sessions:
    """How a user calls: sessions of `requests` calls in the mean (geometric), `gap_s` seconds apart (exponential)."""

    requests: float
    gap_s: float


@dataclass(frozen=True)
class Near:
    """A near cache: bytes for histories, seconds of trust, bytes of an entry before and after its first hit."""

    max_bytes: float
    ttl_s: float
    packed_bytes: float
    parsed_bytes: float


def hit_rate(worker_rate: float, workers: int, affine: bool, sessions: Sessions, near: Near, seed: int = 0) -> float:
    """Share of one worker's look-ups that its near cache answers.

    Parameters
    ----------
    worker_rate : float
        Calls a second that one worker gets.
    workers : int
        How many share the calls.
    affine : bool
        A user always reaches the same worker; else any of them, at random.
    sessions : Sessions
    near : Near
    seed : int

    Returns
    -------
    float
        Measured once the cache has filled.
    """
    duration = 4 * max(near.ttl_s, sessions.requests * sessions.gap_s)
    spread = 1 if affine else workers
    total = worker_rate * duration
    scale = min(1.0, EVENTS / total, MOST_DRAWN / (total * spread))
    rng = np.random.default_rng(seed)
    times, users = _calls(rng, worker_rate * spread * scale, duration, sessions)
    mine = rng.random(len(times)) < 1 / spread
    hits = simulate(zip(times[mine].tolist(), users[mine].tolist(), strict=True), near, near.max_bytes * scale)
    late = times[mine] > duration / 2
    return float(np.asarray(hits)[late].mean())


def simulate(calls: Iterable[tuple[float, int]], near: Near, max_bytes: float) -> list[bool]:
    """Whether each call (time in seconds, user) finds its history; a miss puts it there, as a read from Redis does."""
    held, hits = 0.0, []
    entries: OrderedDict[int, tuple[float, float]] = OrderedDict()  # user → expiry, bytes
    for now, user in calls:
        expiry, size = entries.pop(user, (now, 0.0))
        held -= size
        hit = expiry > now
        if not hit:
            expiry = now + near.ttl_s
        size = near.parsed_bytes if hit else near.packed_bytes
        while entries and held + size > max_bytes:
            held -= entries.popitem(last=False)[1][1]
        if size <= max_bytes:
            entries[user] = (expiry, size)
            held += size
        hits.append(hit)
    return hits


def _calls(
    rng: np.random.Generator, rate: float, duration: float, sessions: Sessions
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Times and users of all calls in order; sessions begin early enough for the first instant to be as any other."""
    before = 4 * sessions.requests * sessions.gap_s
    n_sessions = rng.poisson(rate * (duration + before) / sessions.requests)
    lengths = rng.geometric(1 / sessions.requests, n_sessions)
    users = np.repeat(np.arange(n_sessions), lengths)
    gaps = rng.exponential(sessions.gap_s, len(users))
    first = np.cumsum(lengths) - lengths
    gaps[first] = 0.0
    since = np.cumsum(gaps)
    times = since - np.repeat(since[first], lengths) + np.repeat(rng.uniform(-before, duration, n_sessions), lengths)
    within = (times >= 0) & (times < duration)
    order = np.argsort(times[within], kind="stable")
    return times[within][order], users[within][order]
