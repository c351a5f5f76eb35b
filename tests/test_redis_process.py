"""The fixture that fault tests rest on does to Redis what it says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis

from tests.support.redis_process import RedisProcess


@contextmanager
def client(url: str) -> Iterator[redis.Redis]:
    connection = redis.Redis.from_url(url, socket_timeout=0.2, retry=None)
    try:
        yield connection
    finally:
        connection.close()


def test_a_paused_server_times_out_and_answers_again_when_resumed(redis_server: RedisProcess) -> None:
    """pause() hangs the server without losing what it holds; resume() brings it back."""
    with client(redis_server.url) as connection:
        connection.set("key", "kept")
        redis_server.pause()
        with pytest.raises(redis.TimeoutError):
            connection.get("key")
        redis_server.resume()
        assert connection.get("key") == b"kept"


def test_a_killed_server_refuses_and_a_restarted_one_is_empty(redis_server: RedisProcess) -> None:
    """kill() refuses connections at once; restart() starts an empty process on the same URL."""
    with client(redis_server.url) as connection:
        connection.set("key", "lost")
        before = redis_server.pid
        redis_server.kill()
        with pytest.raises(redis.ConnectionError):
            connection.get("key")
        redis_server.restart()
        assert redis_server.pid != before
        assert connection.get("key") is None


def test_a_hung_server_can_be_killed(redis_server: RedisProcess) -> None:
    """kill() ends even a stopped process, so that a failing test leaves nothing behind."""
    redis_server.pause()
    redis_server.kill()
    with pytest.raises(RuntimeError, match="not running"):
        _ = redis_server.pid


def test_the_shared_server_is_a_real_redis(redis_url: str) -> None:
    """The session's URL answers as redis-server does."""
    with client(redis_url) as connection:
        assert "redis_version" in connection.info("server")
