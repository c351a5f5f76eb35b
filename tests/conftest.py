"""What every test may ask for: a real Redis to use, and one to break."""

from __future__ import annotations

import os
from collections.abc import Iterator

import hypothesis
import pytest

from tests.support import redis_process
from tests.support.redis_process import RedisProcess

# No deadline: the machine that runs this is shared, and no test asserts a time. In CI a failure must be the
# change's own, so there the examples are the same at every run.
hypothesis.settings.register_profile("desk", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "desk")


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """URL of a real Redis that the whole session shares: leave it running, and use keys of your own."""
    given = os.environ.get("PLTV_TEST_REDIS_URL")
    if given:
        yield given
        return
    _require_binary()
    with redis_process.running() as server:
        yield server.url


@pytest.fixture
def redis_server() -> Iterator[RedisProcess]:
    """A real Redis of the test's own, to pause, kill and restart."""
    _require_binary()
    with redis_process.running() as server:
        yield server


def _require_binary() -> None:
    if redis_process.binary() is None:
        pytest.fail("redis-server is not installed: apt-get install redis-server", pytrace=False)
