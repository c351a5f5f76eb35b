"""The cache of parsed histories: near tier → Redis → none.

A digest enters, `Found` leaves; what is stored is a history alone, never anything that depends on a request. The newest
`as_of` wins everywhere, and no failure of Redis is a failure here: it is named in the answer's reasons.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from app.errors import StoreUnavailable
from app.features.history import History, read_history
from app.features.layout import Layout
from app.features.spec import HistoryState
from app.serving.breaker import Breaker
from app.serving.joins import Lost, Reply
from app.serving.near import NearTier
from app.serving.observing import Observer
from app.serving.remote import STORED, RedisTier
from app.serving.writing import BackgroundWrites

_FEED_MARGIN_S = 60.0
_SLICE = 64  # histories written in one command


@dataclass(slots=True)
class Found:
    """What is known of a user, and from where. Never changed; to be made so that nobody can costs 1 µs a call.

    Parameters
    ----------
    history : History or None
        None unless the state is PRESENT or NEW.
    state : HistoryState
    source : str
        `inline`, `near`, `redis` or `none`.
    as_of : int or None
        Unix seconds.
    reasons : tuple of str
        What the answer lacks: `redis` where Redis did not answer.
    """

    history: History | None
    state: HistoryState
    source: Literal["inline", "near", "redis", "none"]
    as_of: int | None
    reasons: tuple[str, ...] = ()


NOTHING = Found(None, HistoryState.UNAVAILABLE, "none", None)
NO_REDIS = Found(None, HistoryState.UNAVAILABLE, "none", None, ("redis",))


class HistoryCache:
    """Both tiers.

    Parameters
    ----------
    layout : Layout
    near_bytes : int
        What the near tier may hold.
    near_ttl_s : float
        Seconds until a near entry is asked of Redis again: how long another worker's newer history may go unseen.
    max_age_s : float
        Age (request time − `as_of`) past which a history is not served.
    telemetry : Observer
    redis_url : str or None
        None: the near tier is all there is.
    redis_timeout_s : float
        The longest that a prediction waits for Redis.
    redis_write_timeout_s : float
        The longest that a confirmed write or erasure waits for Redis.
    redis_ttl_s : float or None
        Seconds that entries and erasure markers live in Redis; None takes `max_age_s`. An erasure is safe from late
        writes for as long.
    breaker : Breaker or None
        None takes the default.
    alone : bool
        Whether this process answers for all users. Without Redis others would neither see what is stored here nor
        forget what is erased here, so that both are refused.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        near_bytes: int,
        near_ttl_s: float,
        max_age_s: float,
        telemetry: Observer,
        redis_url: str | None = None,
        redis_timeout_s: float = 0.005,
        redis_write_timeout_s: float = 1.0,
        redis_ttl_s: float | None = None,
        breaker: Breaker | None = None,
        alone: bool = True,
    ) -> None:
        self._unshared = redis_url is None and not alone
        self._layout, self._max_age, self._observer = layout, max_age_s, telemetry
        self._near = NearTier(max_bytes=near_bytes, ttl_s=near_ttl_s, marker_ttl_s=max_age_s)
        self._remote: RedisTier | None = None
        if redis_url is not None:
            self._remote = RedisTier(
                redis_url,
                layout,
                timeout_s=redis_timeout_s,
                write_timeout_s=redis_write_timeout_s,
                ttl_s=redis_ttl_s if redis_ttl_s is not None else max_age_s,
                feed_s=near_ttl_s + _FEED_MARGIN_S,
                breaker=breaker or Breaker(on_change=telemetry.breaker, together_s=redis_timeout_s),
                on_erased=self._near.erase,
                on_gap=self._near.clear,
            )
            self._writes = BackgroundWrites(self._remote, self._near, telemetry)

    async def open(self) -> None:
        """Connect. A Redis that is absent opens the breaker, and nothing fails."""
        if self._remote is not None:
            await self._remote.open()
            self._writes.open()

    async def close(self) -> None:
        """Write what is still queued, within the write timeout, and disconnect."""
        if self._remote is not None:
            await self._writes.close()
            await self._remote.close()

    def near(self, key: bytes, now: float) -> Found | None:
        """Look into this process only.

        Parameters
        ----------
        key : bytes
            The identity's digest.
        now : float
            The request's time, unix seconds.

        Returns
        -------
        Found or None
            None where `fetch` has to be asked.
        """
        history = self._near.get(key)
        if history is None or history.as_of is None:
            self._observer.cache("near", "miss")
            return None
        if now - history.as_of > self._max_age:
            self._observer.cache("near", "stale")
            return None
        self._observer.cache("near", "hit")
        return _found(history, "near")

    def look(self, key: bytes, now: float, deadline: float, done: Callable[[Found], None]) -> None:
        """Ask Redis.

        Parameters
        ----------
        key : bytes
        now : float
            The request's time, unix seconds.
        deadline : float
            `loop.time()` instant of this call.
        done : callable
            Called once, now or in a later turn of the event loop; must not raise.
        """
        if self._remote is None:
            done(NOTHING)
        else:
            self._remote.get(key, deadline, lambda reply: done(self._replied(key, now, reply)))

    async def fetch(self, key: bytes, now: float, deadline: float) -> Found:
        """The same for a caller who awaits, and may be gone. Never raises."""
        found: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
        self.look(key, now, deadline, lambda one: None if found.done() else found.set_result(one))
        return await found

    def keep(self, key: bytes, history: History) -> None:
        """Keep an inline history that is newer than what is stored: near at once, in Redis a moment later.

        One without `as_of` can not be compared, and is not kept.
        """
        if history.as_of is None:
            return
        stored = self._near.as_of(key)
        if stored is not None and stored >= history.as_of:
            return
        if self._near.put(key, history) and self._remote is not None:
            self._writes.add(key, history.packed)

    async def store(self, items: Sequence[tuple[bytes, History]]) -> list[bool]:
        """Store histories, confirmed by Redis where there is one.

        Parameters
        ----------
        items : sequence of (bytes, History)
            Each with an `as_of`.

        Returns
        -------
        list of bool
            False where a newer history is stored, or the user was erased at its `as_of` or later.

        Raises
        ------
        StoreUnavailable
            When Redis did not confirm all of them; some may be stored. None is where workers share no Redis.
        ValueError
            A history without `as_of`.
        """
        if any(history.as_of is None for _, history in items):
            raise ValueError("store: expected histories with an as_of")
        self._refuse_unshared()
        stored: list[bool] = []
        for start in range(0, len(items), _SLICE):
            stored += await self._store(items[start : start + _SLICE])
            await asyncio.sleep(0)  # predictions take their turn
        return stored

    async def delete(self, keys: Sequence[bytes]) -> None:
        """Erase users in both tiers, on every worker, and refuse whatever is as old as the erasure.

        Raises
        ------
        StoreUnavailable
            When Redis did not confirm it; this process has forgotten them, the call must be repeated. At once
            where several workers share no Redis.
        """
        self._refuse_unshared()
        now = int(time.time())
        for key in keys:
            self._near.erase(key, now)
        if self._remote is None:
            return
        self._writes.forget(keys)
        for start in range(0, len(keys), _SLICE):
            some = keys[start : start + _SLICE]
            for key, erased_at in zip(some, await self._remote.erase(some, now), strict=True):
                self._near.erase(key, erased_at)

    def _refuse_unshared(self) -> None:
        if self._unshared:
            raise StoreUnavailable("several workers share no history store: expected PLTV_REDIS_URL to be set")

    async def _store(self, items: Sequence[tuple[bytes, History]]) -> list[bool]:
        if self._remote is None:
            return [self._near.put(key, history) for key, history in items]
        verdicts = await self._remote.swap([(key, history.packed) for key, history in items])
        for (key, history), (verdict, _) in zip(items, verdicts, strict=True):
            if verdict == STORED:
                self._near.drop(key, history.as_of or 0)  # the next reader fetches it; bulk loads displace nobody
        return [verdict == STORED for verdict, _ in verdicts]

    def _replied(self, key: bytes, now: float, reply: Reply) -> Found:
        if isinstance(reply, Lost):
            self._observer.cache("redis", reply.value)
            return NO_REDIS
        found, outcome = self._read(key, reply, now) if reply is not None else (NOTHING, "miss")
        self._observer.cache("redis", outcome)
        return found

    def _read(self, key: bytes, value: bytes, now: float) -> tuple[Found, str]:
        erased_at = self._remote.erased_at(value) if self._remote is not None else None
        if erased_at is not None:
            self._near.erase(key, erased_at)
            return NOTHING, "erased"
        try:
            history = read_history(self._layout, value)
        except ValueError:
            return NOTHING, "corrupt"
        if history.as_of is None or now - history.as_of > self._max_age:
            return NOTHING, "stale"
        if not self._near.put(key, history):
            return self._newer(key, now)
        return _found(history, "redis"), "hit"

    def _newer(self, key: bytes, now: float) -> tuple[Found, str]:
        """While the reply was under way this process kept a newer history, or erased the user."""
        return self.near(key, now) or NOTHING, "older"


def _found(history: History, source: Literal["near", "redis"]) -> Found:
    return Found(history, HistoryState.NEW if history.empty else HistoryState.PRESENT, source, history.as_of)
