"""What every test may ask for: a real Redis to use, one to break, and a market that the command line trained on."""

from __future__ import annotations

import os
from collections.abc import Iterator

import hypothesis
import pytest

from tests.support import redis_process
from tests.support.market import Market, build_market
from tests.support.redis_process import RedisProcess
from tests.support.service_process import ServiceProcess, serving_process

# No deadline: the machine that runs this is shared, and no test asserts a time. In CI a failure must be the
# change's own, so there the examples are the same at every run.
_PATIENT = hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.register_profile("desk", _PATIENT)
hypothesis.settings.register_profile("ci", _PATIENT, derandomize=True)
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


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Market:
    """A generated market and the small bundle that `pltv train` made of it; read only."""
    return build_market(tmp_path_factory.mktemp("market"))


@pytest.fixture(scope="session")
def service_process(trained: Market) -> Iterator[ServiceProcess]:
    """That bundle, served by a process that the whole session shares."""
    with serving_process(trained.bundle) as service:
        yield service


def _require_binary() -> None:
    if redis_process.binary() is None:
        pytest.fail("redis-server is not installed: apt-get install redis-server", pytrace=False)
