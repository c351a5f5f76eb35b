"""A real Redis that is killed, hung, slow, full, read-only: predictions go on, and it comes back by itself."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator

import pytest
import redis.asyncio as redis

from app.errors import StoreUnavailable
from app.features.spec import HistoryState
from app.serving.breaker import Breaker
from app.serving.cache import NO_REDIS, HistoryCache
from tests.serving.observed import LAYOUT, NOW, Recorder, history, soon, until
from tests.support import redis_process
from tests.support.redis_process import RedisProcess
from tests.support.slow_redis import slowed

KEYS = [secrets.token_bytes(32) for _ in range(50)]


@contextlib.asynccontextmanager
async def cache_of(url: str) -> AsyncIterator[tuple[HistoryCache, Recorder]]:
    """A cache whose breaker opens at two failures and probes soon. Its near tier holds nothing."""
    recorder = Recorder()
    cache = HistoryCache(
        LAYOUT,
        near_bytes=0,
        near_ttl_s=60,
        max_age_s=86_400,
        telemetry=recorder,
        redis_url=url,
        redis_timeout_s=0.1,
        redis_write_timeout_s=0.5,
        breaker=Breaker(2, 0.05, 0.1, on_change=recorder.breaker),
    )
    await cache.open()
    try:
        yield cache, recorder
    finally:
        await cache.close()


async def fail_until_open(cache: HistoryCache, recorder: Recorder) -> None:
    """Ask until the breaker is open; no answer is an exception."""
    for _ in range(20):
        assert await cache.fetch(KEYS[0], NOW, soon()) == NO_REDIS
        if recorder.open:
            return
    raise AssertionError("the breaker never opened")


async def ask_until_present(cache: HistoryCache) -> None:
    """Ask, as requests would, until Redis answers again."""
    end = soon(10.0)
    while (await cache.fetch(KEYS[0], NOW, soon())).state != HistoryState.PRESENT:
        assert soon(0.0) < end, "Redis was never asked again"
        await asyncio.sleep(0.01)


def test_killed_and_restarted(redis_server: RedisProcess) -> None:
    """A dead Redis costs no prediction, opens the breaker, and is used again without a restart of the service."""

    async def scenario() -> None:
        async with cache_of(redis_server.url) as (cache, recorder):
            assert await cache.store([(KEYS[0], history())]) == [True]
            redis_server.kill()
            await fail_until_open(cache, recorder)
            assert recorder.told["redis", "error"] >= 1
            with pytest.raises(StoreUnavailable, match="did not confirm the store"):
                await cache.store([(KEYS[0], history())])
            with pytest.raises(StoreUnavailable, match="did not confirm the erasure"):
                await cache.delete([KEYS[0]])
            await asyncio.to_thread(redis_server.restart)
            assert await cache.store([(KEYS[0], history(NOW + 1))]) == [True]
            await ask_until_present(cache)
            assert not recorder.open

    asyncio.run(scenario())


def test_hung_and_resumed(redis_server: RedisProcess) -> None:
    """A Redis that accepts and never answers is a timeout, then an open breaker that asks nothing, then fine again."""

    async def scenario() -> None:
        async with cache_of(redis_server.url) as (cache, recorder):
            await cache.store([(KEYS[0], history())])
            await ask_until_present(cache)
            redis_server.pause()
            await fail_until_open(cache, recorder)
            assert recorder.told["redis", "timeout"] == 2
            for _ in range(5):
                assert await cache.fetch(KEYS[0], NOW, soon()) == NO_REDIS
            assert recorder.told["redis", "timeout"] == 2
            assert recorder.told["redis", "open"] >= 5
            with pytest.raises(StoreUnavailable):
                await cache.delete([KEYS[0]])
            redis_server.resume()
            await asyncio.sleep(0)
            await cache.store([(KEYS[0], history(int(time.time()) + 60))])
            await ask_until_present(cache)

    asyncio.run(scenario())


def test_a_late_reply_is_nobodys(redis_server: RedisProcess) -> None:
    """Replies that come after their time reach no later call: every answer is the caller's own user, or none."""

    async def scenario() -> None:
        with slowed(redis_server.port) as relay:
            async with cache_of(f"redis://127.0.0.1:{relay.port}/0") as (cache, recorder):
                assert all(await cache.store([(key, history(NOW + i)) for i, key in enumerate(KEYS)]))
                for i, key in enumerate(KEYS):
                    relay.delay_s = 0.0 if i % 5 else 0.15
                    found = await cache.fetch(key, NOW, soon())
                    assert found.as_of in (None, NOW + i)
                assert recorder.told["redis", "timeout"] >= 1
                relay.delay_s = 0.0
                await ask_until_present(cache)
                found = await cache.fetch(KEYS[7], NOW, soon())
                assert found.as_of == NOW + 7

    asyncio.run(scenario())


def test_absent_at_start() -> None:
    """A service whose Redis is not there starts with an open breaker, waits for nothing, and finds it later."""

    async def scenario() -> None:
        with redis_process.running() as server:
            server.kill()
            async with cache_of(server.url) as (cache, recorder):
                assert recorder.open
                assert await cache.fetch(KEYS[0], NOW, soon()) == NO_REDIS
                cache.keep(KEYS[1], history())
                await asyncio.to_thread(server.start)
                assert await cache.store([(KEYS[0], history())]) == [True]
                await ask_until_present(cache)

    asyncio.run(scenario())


def test_full(redis_server: RedisProcess) -> None:
    """A Redis without memory still reads; it confirms neither a write nor an erasure, but what was erased is gone."""

    async def scenario() -> None:
        async with cache_of(redis_server.url) as (cache, recorder), redis.Redis.from_url(redis_server.url) as client:
            await cache.store([(KEYS[0], history())])
            await client.config_set("maxmemory-policy", "noeviction")
            await client.config_set("maxmemory", "1")
            assert (await cache.fetch(KEYS[0], NOW, soon())).state == HistoryState.PRESENT
            with pytest.raises(StoreUnavailable, match="refused the store"):
                await cache.store([(KEYS[1], history())])
            with pytest.raises(StoreUnavailable, match="refused the erasure"):
                await cache.delete([KEYS[0]])
            found = await cache.fetch(KEYS[0], NOW, soon())
            assert (found.history, found.reasons) == (None, ())
            assert not recorder.open
            await client.config_set("maxmemory", "0")
            assert await cache.store([(KEYS[1], history())]) == [True]

    asyncio.run(scenario())


def test_read_only(redis_server: RedisProcess) -> None:
    """A replica reads; writes and erasures are not confirmed, and a background write is only counted."""

    async def scenario() -> None:
        async with cache_of(redis_server.url) as (cache, _), redis.Redis.from_url(redis_server.url) as client:
            await cache.store([(KEYS[0], history())])
            await client.replicaof("127.0.0.1", "1")
            assert (await cache.fetch(KEYS[0], NOW, soon())).state == HistoryState.PRESENT
            with pytest.raises(StoreUnavailable, match="refused the store: ReadOnlyError"):
                await cache.store([(KEYS[1], history())])
            with pytest.raises(StoreUnavailable, match="refused the erasure: ReadOnlyError"):
                await cache.delete([KEYS[0]])

    asyncio.run(scenario())


def test_loads_of_connections_lost_at_once(redis_server: RedisProcess) -> None:
    """A Redis that drops every connection is connected to again."""

    async def scenario() -> None:
        async with cache_of(redis_server.url) as (cache, _), redis.Redis.from_url(redis_server.url) as client:
            await cache.store([(KEYS[0], history())])
            for _ in range(3):
                await client.client_kill_filter(_type="normal", skipme=True)
                await ask_until_present(cache)

    asyncio.run(scenario())


def test_all_keys_of_a_turn_are_one_command(redis_server: RedisProcess) -> None:
    """Fifty fetches of one turn are one MGET, by Redis's own count."""

    async def scenario() -> None:
        async with cache_of(redis_server.url) as (cache, _), redis.Redis.from_url(redis_server.url) as client:
            await cache.store([(key, history(NOW + i)) for i, key in enumerate(KEYS)])
            found = await asyncio.gather(*(cache.fetch(key, NOW, soon()) for key in KEYS))
            assert [f.as_of for f in found] == [NOW + i for i in range(len(KEYS))]
            stats = await client.info("commandstats")
            assert stats["cmdstat_mget"]["calls"] == 1
            assert "cmdstat_get" not in stats

    asyncio.run(scenario())


def test_an_erasure_is_heard_after_a_lost_connection(redis_server: RedisProcess) -> None:
    """A worker whose connection is cut still learns of what was erased meanwhile."""

    async def scenario() -> None:
        recorder, known = Recorder(), int(time.time()) - 60
        worker = HistoryCache(
            LAYOUT, near_bytes=100_000, near_ttl_s=600, max_age_s=86_400, telemetry=recorder,
            redis_url=redis_server.url, redis_timeout_s=1.0,
        )  # fmt: skip
        await worker.open()
        async with cache_of(redis_server.url) as (other, _), redis.Redis.from_url(redis_server.url) as client:
            worker.keep(KEYS[0], history(known))
            await until(lambda: recorder.told["redis", "stored"], "the history reaches Redis")
            await client.client_kill_filter(_type="normal", skipme=True)
            await other.delete([KEYS[0]])
            await until(lambda: worker.near(KEYS[0], known) is None, "the worker forgets")
        await worker.close()

    asyncio.run(scenario())
