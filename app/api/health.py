"""Liveness and readiness, and the metrics. They answer under any load: no admission, no token, no bundle needed."""

from __future__ import annotations

from typing import Final

import orjson

from app.serving.admission import Admission
from app.serving.store import BundleStore
from app.telemetry import Telemetry

METRICS_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"


class Health:
    """The calls behind `/health/live`, `/health/ready` and `/metrics`.

    Parameters
    ----------
    store : BundleStore
    admission : Admission
    telemetry : Telemetry
    """

    def __init__(self, store: BundleStore, admission: Admission, telemetry: Telemetry) -> None:
        self._store = store
        self._admission = admission
        self._telemetry = telemetry

    async def live(self, _: bytes) -> bytes:
        """The process answers."""
        return b'{"status":"live"}'

    async def ready(self, _: bytes) -> bytes:
        """A bundle is live; Redis is not asked, because no prediction depends on it.

        Raises
        ------
        NotReady
        """
        return orjson.dumps({"status": "ready", "bundle": self._store.live.name})

    async def metrics(self, _: bytes) -> bytes:
        """The metrics of all workers in Prometheus' text format."""
        self._telemetry.in_flight(self._admission.in_flight)
        return self._telemetry.exposition()[0]
