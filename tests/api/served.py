"""The whole application in this process: a real bundle, no sockets."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from app.application import Service, create_app
from app.inference import bundle
from app.settings import Settings
from tests.inference.tiny_bundle import build_bundle

TS = 1_759_503_600
IFA = "3f2b6c1e-8d4a-4f0e-9b7c-5a1d2e3f4a5b"
HISTORY: dict[str, Any] = {
    "age_days": 30,
    "spend": {"toys": 12.5, "food": 3},
    "visits": {"toys": TS - 86_400},
    "as_of": TS - 3600,
}


def shop_bundle(root: Path) -> Path:
    """A small real bundle in `root`."""
    bundle.write(root / "staging", root / "shop-1", build_bundle(root / "staging"))
    return root / "shop-1"


class Served:
    """A started application and a client that waits for its answers."""

    def __init__(self, app: Service, runner: asyncio.Runner) -> None:
        self.app = app
        self._runner = runner
        transport = httpx.ASGITransport(app, raise_app_exceptions=True)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://pltv")

    def get(self, path: str, **options: Any) -> httpx.Response:
        """GET."""
        return self._runner.run(self._client.get(path, **options))

    def post(self, path: str, body: Any = b"", **options: Any) -> httpx.Response:
        """POST bytes as they are, anything else as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self._runner.run(self._client.post(path, content=content, **options))

    def predict(self, **changes: Any) -> dict[str, Any]:
        """The answer to a bid request with some parts changed; it must be a good one."""
        answer = self.post("/predict", bid(**changes))
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


@contextlib.contextmanager
def serving(path: Path, **settings: Any) -> Iterator[Served]:
    """Start the application, and stop it."""
    app = create_app(Settings(bundle=path, identity_key="a key of the tests", **settings))
    with asyncio.Runner() as runner:
        lifespan = app.router.lifespan_context(app)
        runner.run(_enter(lifespan))
        try:
            yield Served(app, runner)
        finally:
            runner.run(_leave(lifespan))


def bid(**changes: Any) -> dict[str, Any]:
    """A bid request for the shop's declaration; None removes a part."""
    request = {
        "id": "r1",
        "imp": [{"id": "1"}],
        "device": {"browser": "a", "ext": {"price": 499}},
        "ext": {"ts": TS, "deadline_ms": 60_000, "campaigns": [{"id": "c1", "shelf": "toys"}]},
        **changes,
    }
    return {key: value for key, value in request.items() if value is not None}


def with_history(history: Any = HISTORY, **user: Any) -> dict[str, Any]:
    """The `user` that carries a history."""
    return {**user, "ext": {"history": copy.deepcopy(history)}}


async def _enter(lifespan: Any) -> None:
    await lifespan.__aenter__()


async def _leave(lifespan: Any) -> None:
    await lifespan.__aexit__(None, None, None)
