"""Tests of app/serving/cache.py, with and without a Redis that works."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator

import pytest
import redis.asyncio as redis

from app.errors import StoreUnavailable
from app.features.history import History
from app.features.spec import HistoryState
from app.serving.cache import NOTHING, Found, HistoryCache
from tests.serving.observed import LAYOUT, NOW, Recorder, history, nobody, soon, until

DAY = 86_400


@contextlib.asynccontextmanager
async def caches(url: str | None, n: int = 1, near_bytes: int = 1_000_000) -> AsyncIterator[list[HistoryCache]]:
    """Caches as so many workers would hold them."""
    made = [
        HistoryCache(
            LAYOUT,
            near_bytes=near_bytes,
            near_ttl_s=60,
            max_age_s=30 * DAY,
            telemetry=Recorder(),
            redis_url=url,
            redis_timeout_s=2.0,
        )
        for _ in range(n)
    ]
    for cache in made:
        await cache.open()
    try:
        yield made
    finally:
        for cache in made:
            await cache.close()


def told(cache: HistoryCache) -> Recorder:
    """What the cache has told."""
    observer = cache._observer
    assert isinstance(observer, Recorder)
    return observer


def same(a: History | None, b: History) -> bool:
    """Equal to the last bit."""
    return a is not None and a.packed == b.packed


def someone() -> bytes:
    """A digest that no other test uses."""
    return secrets.token_bytes(32)


def test_inline_near_and_redis_are_the_same_bits(redis_url: str) -> None:
    """A history that was kept comes back bit for bit: from the near tier here, from Redis elsewhere."""

    async def scenario() -> None:
        async with caches(redis_url, 2) as (here, there):
            key, kept = someone(), history(spend=0.1)
            here.keep(key, kept)
            near = here.near(key, NOW)
            assert near is not None
            assert (near.state, near.source, near.as_of) == (HistoryState.PRESENT, "near", NOW)
            assert same(near.history, kept)
            await until(lambda: told(here).told["redis", "stored"], "the history reaches Redis")
            assert there.near(key, NOW) is None
            found = await there.fetch(key, NOW, soon())
            assert (found.state, found.source, found.as_of) == (HistoryState.PRESENT, "redis", NOW)
            assert found.reasons == ()
            assert same(found.history, kept)
            filled = there.near(key, NOW)
            assert filled is not None
            assert same(filled.history, kept)

    asyncio.run(scenario())


def test_a_caller_that_is_gone_disturbs_nobody(redis_url: str) -> None:
    """Of two who ask for the same user in one turn, one leaves: the other still gets the answer of both."""

    async def scenario() -> None:
        async with caches(redis_url) as (cache,):
            key, kept = someone(), history()
            assert await cache.store([(key, kept)]) == [True]
            gone, stays = (asyncio.ensure_future(cache.fetch(key, NOW, soon())) for _ in range(2))
            await asyncio.sleep(0)
            gone.cancel()
            assert same((await stays).history, kept)
            assert gone.cancelled()

    asyncio.run(scenario())


def test_an_empty_history_is_a_known_new_user(redis_url: str) -> None:
    """A tombstone is `new`, from either tier."""

    async def scenario() -> None:
        async with caches(redis_url, 2) as (here, there):
            key = someone()
            assert await here.store([(key, nobody())]) == [True]
            found = await there.fetch(key, NOW, soon())
            assert (found.state, found.source) == (HistoryState.NEW, "redis")
            near = there.near(key, NOW)
            assert near is not None
            assert (near.state, near.source) == (HistoryState.NEW, "near")

    asyncio.run(scenario())


def test_the_newest_wins(redis_url: str) -> None:
    """Whoever writes last, the newer `as_of` stays; the same one may be written again."""

    async def scenario() -> None:
        async with caches(redis_url, 2) as (here, there):
            key = someone()
            assert await here.store([(key, history(NOW - 5)), (key, history(NOW)), (key, history(NOW - 1))]) == [
                True,
                True,
                False,
            ]
            assert await there.store([(key, history(NOW, spend=9.0))]) == [True]
            assert same((await here.fetch(key, NOW, soon())).history, history(NOW, spend=9.0))

    asyncio.run(scenario())


def test_what_redis_refuses_leaves_the_near_tier(redis_url: str) -> None:
    """A worker that kept an older inline history than Redis has finds the newer one at the next request."""

    async def scenario() -> None:
        async with caches(redis_url, 2) as (here, there):
            key = someone()
            await there.store([(key, history(NOW))])
            here.keep(key, history(NOW - 60))
            await until(lambda: told(here).told["redis", "older"], "Redis refuses the older history")
            assert here.near(key, NOW) is None
            assert (await here.fetch(key, NOW, soon())).as_of == NOW

    asyncio.run(scenario())


def test_kept_is_only_what_is_newer(redis_url: str) -> None:
    """Neither a history without `as_of`, nor one that is not newer, is written."""

    async def scenario() -> None:
        async with caches(redis_url) as (cache,):
            key = someone()
            cache.keep(key, history(None))
            assert cache.near(key, NOW) is None
            cache.keep(key, history(NOW))
            await until(lambda: told(cache).told["redis", "stored"], "the history reaches Redis")
            cache.keep(key, history(NOW, spend=7.0))
            cache.keep(key, history(NOW - 1, spend=8.0))
            near = cache.near(key, NOW)
            assert near is not None
            assert same(near.history, history(NOW))
            await asyncio.sleep(0.02)
            assert told(cache).told["redis", "stored"] == 1

    asyncio.run(scenario())


def test_too_old_is_unavailable(redis_url: str) -> None:
    """Past the maximum age nothing is served as present, from neither tier."""

    async def scenario() -> None:
        async with caches(redis_url, 2) as (here, there):
            key, late = someone(), NOW + 30 * DAY + 1
            here.keep(key, history())
            assert here.near(key, late - 1) is not None
            assert here.near(key, late) is None
            await until(lambda: told(here).told["redis", "stored"], "the history reaches Redis")
            assert await there.fetch(key, late, soon()) == NOTHING
            assert told(there).told["redis", "stale"] == 1

    asyncio.run(scenario())


def test_nobody_known_is_a_miss(redis_url: str) -> None:
    """A user of whom nothing is stored is unavailable, which is no failure."""

    async def scenario() -> None:
        async with caches(redis_url) as (cache,):
            key = someone()
            assert cache.near(key, NOW) is None
            assert await cache.fetch(key, NOW, soon()) == Found(None, HistoryState.UNAVAILABLE, "none", None, ())
            assert told(cache).told["near", "miss"] == told(cache).told["redis", "miss"] == 1

    asyncio.run(scenario())


def test_erased_everywhere_and_for_good(redis_url: str) -> None:
    """An erasure reaches both tiers of every worker, and late writes of what was known before are refused."""

    async def scenario() -> None:
        async with caches(redis_url, 2) as (here, there):
            key, known = someone(), int(time.time()) - 60
            there.keep(key, history(known))
            await until(lambda: told(there).told["redis", "stored"], "the history reaches Redis")
            assert (await here.fetch(key, known, soon())).state == HistoryState.PRESENT
            await here.delete([key])
            assert here.near(key, known) is None
            await until(lambda: there.near(key, known) is None, "the other worker forgets")
            for cache in (here, there):
                cache.keep(key, history(known + 1))
                assert await cache.store([(key, history(known + 2))]) == [False]
            for cache in (here, there):
                assert cache.near(key, known) is None
                assert (await cache.fetch(key, known, soon())) == NOTHING
            later = history(int(time.time()) + 5)
            assert await there.store([(key, later)]) == [True]
            assert same((await there.fetch(key, NOW, soon())).history, later)

    asyncio.run(scenario())


def test_redis_remembers_what_a_worker_does_not(redis_url: str) -> None:
    """A worker without room for markers keeps a late write for a moment only: Redis refuses it."""

    async def scenario() -> None:
        async with caches(redis_url, near_bytes=2000) as (cache,):
            key, known = someone(), int(time.time()) - 60
            await cache.delete([key])
            cache.keep(key, history(known))
            assert cache.near(key, known) is not None
            await until(lambda: told(cache).told["redis", "refused"], "Redis refuses the late write")
            assert cache.near(key, known) is None
            assert await cache.fetch(key, known, soon()) == NOTHING

    asyncio.run(scenario())


def test_an_erasure_covers_what_was_stored(redis_url: str) -> None:
    """A history from a clock that runs ahead is not revived by sending it once more."""

    async def scenario() -> None:
        async with caches(redis_url) as (cache,):
            key, ahead = someone(), history(int(time.time()) + 600)
            await cache.store([(key, ahead)])
            await cache.delete([key])
            assert await cache.store([(key, ahead)]) == [False]
            cache.keep(key, ahead)
            assert cache.near(key, NOW) is None

    asyncio.run(scenario())


def test_whatever_else_is_there_is_a_miss(redis_url: str) -> None:
    """Garbage, an older format, another declaration's entry, a truncated one, a list: misses, and writable."""

    async def scenario() -> None:
        packed = history().packed
        foreign = packed[:4] + b"x" * 16 + packed[20:]
        wrong = [b"", b"garbage", b"PLH1" + packed[4:], foreign, packed[:-3], packed + b"x"]
        async with caches(redis_url) as (cache,), redis.Redis.from_url(redis_url) as client:
            for value in wrong:
                key = someone()
                await client.set(b"pltv:" + LAYOUT.fingerprint[:16].encode() + key, value)
                assert await cache.fetch(key, NOW, soon()) == NOTHING
                assert (await cache.store([(key, history(NOW + 1))])) == [True]
                assert (await cache.fetch(key, NOW, soon())).state == HistoryState.PRESENT
            assert told(cache).told["redis", "corrupt"] == len(wrong)
            key = someone()
            await client.rpush(b"pltv:" + LAYOUT.fingerprint[:16].encode() + key, b"list")
            assert await cache.fetch(key, NOW, soon()) == NOTHING
            assert await cache.store([(key, history())]) == [True]

    asyncio.run(scenario())


def test_entries_end_in_redis(redis_url: str) -> None:
    """Histories and markers carry a time to live."""

    async def scenario() -> None:
        async with caches(redis_url) as (cache,), redis.Redis.from_url(redis_url) as client:
            key = someone()
            await cache.store([(key, history())])
            assert 0 < await client.ttl(b"pltv:" + LAYOUT.fingerprint[:16].encode() + key) <= 30 * DAY
            await cache.delete([key])
            assert 0 < await client.ttl(b"pltv:" + LAYOUT.fingerprint[:16].encode() + key) <= 30 * DAY

    asyncio.run(scenario())


def test_without_redis_the_near_tier_is_all() -> None:
    """Store, read, newest wins, erase: in this process alone, and no reason is given."""

    async def scenario() -> None:
        async with caches(None) as (cache,):
            key = someone()
            assert await cache.fetch(key, NOW, soon()) == NOTHING
            assert await cache.store([(key, history(NOW)), (key, history(NOW - 1))]) == [True, False]
            assert cache.near(key, NOW) is not None
            await cache.delete([key])
            assert cache.near(key, NOW) is None
            assert await cache.store([(key, history(NOW))]) == [False]

    asyncio.run(scenario())


def test_a_stored_history_needs_its_time() -> None:
    """Without `as_of` nothing could be compared."""

    async def scenario() -> None:
        async with caches(None) as (cache,):
            with pytest.raises(ValueError, match="as_of"):
                await cache.store([(someone(), history(None))])

    asyncio.run(scenario())


def test_workers_without_a_shared_store_refuse_to_store_and_to_erase() -> None:
    """A confirmation would be a lie: the other workers would neither know nor forget."""

    async def scenario() -> None:
        cache = HistoryCache(
            LAYOUT, near_bytes=1_000_000, near_ttl_s=60, max_age_s=30 * DAY, telemetry=Recorder(), alone=False
        )
        with pytest.raises(StoreUnavailable, match="expected PLTV_REDIS_URL"):
            await cache.store([(someone(), history(NOW))])
        with pytest.raises(StoreUnavailable, match="expected PLTV_REDIS_URL"):
            await cache.delete([someone()])

    asyncio.run(scenario())
