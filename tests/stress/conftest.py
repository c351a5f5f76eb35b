"""A small bundle that serves within a second, and requests to press it with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.api.served import bid, shop_bundle, with_history

USERS = 2000


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small real bundle."""
    return shop_bundle(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Requests of many users with their histories, without a deadline of their own."""
    return written(tmp_path_factory, [with_history(id=f"u{n}") for n in range(USERS)])


@pytest.fixture(scope="session")
def bare_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same users, whose histories have to be found."""
    return written(tmp_path_factory, [{"id": f"u{n}"} for n in range(USERS)])


def written(tmp_path_factory: pytest.TempPathFactory, users: list[dict[str, Any]]) -> Path:
    """A file of bodies."""
    ext = {key: value for key, value in bid()["ext"].items() if key != "deadline_ms"}
    path = tmp_path_factory.mktemp("bodies") / "bodies.jsonl"
    path.write_text("\n".join(json.dumps(bid(id=f"r{n}", ext=ext, user=user)) for n, user in enumerate(users)))
    return path
