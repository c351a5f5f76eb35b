"""A small bundle that serves within a second, for behaviours that do not depend on what is predicted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.served import shop_bundle
from tests.support.service_process import ServiceProcess, serving_process


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop's bundle; read only."""
    return shop_bundle(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def shop_service(shop: Path) -> Iterator[ServiceProcess]:
    """That bundle, served."""
    with serving_process(shop) as service:
        yield service


@pytest.fixture(scope="module")
def hasty_service(shop: Path) -> Iterator[ServiceProcess]:
    """The same, where a request has to be whole in half a second."""
    with serving_process(shop, PLTV_REQUEST_TIMEOUT_S="0.5") as service:
        yield service
