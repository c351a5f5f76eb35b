"""A small real bundle, and the application that serves it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from app.features.layout import Layout
from app.features.spec import Declaration
from tests.api.served import Served, serving, shop_bundle

CONFIG = Path(__file__).parents[2] / "config" / "smadex.yaml"


@pytest.fixture(scope="session")
def smadex() -> Declaration:
    """The declaration of config/smadex.yaml."""
    return Declaration.from_dict(yaml.safe_load(CONFIG.read_text()))


@pytest.fixture(scope="session")
def layout(smadex: Declaration) -> Layout:
    """Its layout."""
    return Layout(smadex)


@pytest.fixture(scope="session")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop's bundle."""
    return shop_bundle(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def service(sealed: Path) -> Iterator[Served]:
    """The application, without Redis and without tokens."""
    with serving(sealed, max_batch=40, max_body_bytes=24_000, max_inflated_bytes=40_000) as served:
        yield served
