"""The composition root: settings enter, the wired application leaves. Nothing here is read from the environment."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import secrets
from collections.abc import AsyncIterator, Mapping, MutableMapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import Response
from pydantic import SecretStr
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from app.api import documentation, pages, problems
from app.api.answers import Answers
from app.api.batch import ROUTE as BATCH
from app.api.batch import PredictBatch
from app.api.bodies import Limits
from app.api.direct import DirectPredict
from app.api.endpoint import Edge, Endpoint
from app.api.failures import log_unexpected
from app.api.features import Features
from app.api.health import METRICS_TYPE, Health
from app.api.models import Models
from app.api.openrtb import Readers
from app.api.predict import Histories, Line, Predict
from app.api.privacy import Gate
from app.api.problems import Kind, Problems
from app.api.refusals import Refusals, refusal
from app.errors import (
    BodyTooLarge,
    BundleError,
    DataError,
    DeclarationError,
    InputError,
    NotReady,
    Overloaded,
    PltvError,
    StoreUnavailable,
    Unauthorized,
    UnsupportedMedia,
)
from app.serving.admission import Admission, Uploads
from app.serving.batching import Batcher
from app.serving.cache import HistoryCache
from app.serving.identity import Identity
from app.serving.pace import Pace
from app.serving.shared_fleet import SharedFleet
from app.serving.store import BundleStore
from app.settings import Settings
from app.telemetry import FLUSH_S, Telemetry, configure_logging

UNEXPECTED: Final = Kind(500, "unexpected", "The service failed")
KINDS: Final[Mapping[type[PltvError], Kind]] = {
    PltvError: UNEXPECTED,
    InputError: Kind(400, "invalid", "The request is invalid"),
    BodyTooLarge: Kind(413, "too-large", "The body is too large"),
    UnsupportedMedia: Kind(415, "unsupported-media", "The body's type or encoding is not understood"),
    DeclarationError: UNEXPECTED,
    DataError: UNEXPECTED,
    BundleError: Kind(409, "bundle-refused", "The bundle was refused"),
    Unauthorized: Kind(401, "unauthorized", "A valid token is needed"),
    Overloaded: Kind(503, "overloaded", "The service is overloaded"),
    NotReady: Kind(503, "not-ready", "The service is not ready"),
    StoreUnavailable: Kind(503, "store-unavailable", "The history store did not confirm"),
}
"""Type of error → how it is told. A type that is not here is told as its base class."""

_TURN_SHARE: Final = 1 / 3
"""Of the deadline: a call that comes during one turn of the event loop is answered at the end of the next."""

_ADMIN_BODY: Final = Limits(4096, 4096)
_log = structlog.get_logger("pltv")


class Service(FastAPI):
    """FastAPI for the documentation and for what is not found; the endpoints themselves are met before it.

    Parameters
    ----------
    settings : Settings
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(
            title="pltv",
            summary="Expected revenue of a mobile user, calibrated and in the order of its horizons.",
            lifespan=_lifespan,
            docs_url=None,  # its pages load their scripts from elsewhere
            redoc_url=None,
            routes=pages.routes("pltv"),
            redirect_slashes=False,  # a redirect would name whatever host the caller wrote into its header
            exception_handlers={HTTPException: self._told, Exception: self._told},
        )
        self.settings = settings
        self.telemetry = Telemetry(settings.deadline_ms / 1000.0)
        self.pace = Pace()
        self.admission = Admission(settings.max_in_flight, settings.deadline_ms * _TURN_SHARE / 1000.0, self.pace)
        self.request_timeout_s = settings.request_timeout_s
        self.store = BundleStore(
            settings.bundle,
            key=_secret(settings.bundle_key),
            poll_s=settings.bundle_poll_s,
            telemetry=self.telemetry,
            fleet=SharedFleet(settings.fleet_dir) if settings.fleet_dir else None,
        )
        self.edge = Edge(Problems(KINDS), UNEXPECTED, self.telemetry)
        self.direct: DirectPredict | None = None
        self._refusals = Refusals(self.admission, self.telemetry)
        self._endpoints: dict[str, Endpoint] = {}
        self._mount_health()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send a call to its endpoint without FastAPI's middleware; everything else, and the lifespan, through it."""
        if scope["type"] == "http":
            endpoint = self._endpoints.get(scope["path"])
            if endpoint is not None and endpoint.method == scope["method"]:
                await endpoint(scope, receive, send)
            else:
                await self._through_fastapi(scope, receive, send)
        else:
            await super().__call__(scope, receive, _one_line(send) if scope["type"] == "lifespan" else send)

    async def _through_fastapi(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except Exception as error:  # Starlette raises it again after it was told, for a server that would print it
            log_unexpected(error, "other")

    def open_door(self, endpoint: Endpoint) -> None:
        """Add an endpoint, under its path and where a proxy's `root_path` precedes it."""
        self._endpoints[endpoint.route] = endpoint
        self.router.routes.insert(0, Route(endpoint.route, endpoint, methods=[endpoint.method]))

    def turn_away(self, target: bytes) -> bytes | None:
        """As `Refusals.turn_away`."""
        return self._refusals.turn_away(target)

    def turned_away(self) -> bytes:
        """As `Refusals.turned_away`."""
        return self._refusals.turned_away()

    def refusal(self, status: int, detail: str) -> bytes:
        """As `refusals.refusal`."""
        return refusal(status, detail)

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, once a bundle is live: its declaration is what a request is validated by."""
        if self.openapi_schema is None:
            declaration = self.store.live.predictor.declaration
            document = get_openapi(title=self.title, version=_version(), summary=self.summary, routes=[])
            document["paths"] = documentation.paths(declaration)
            document["components"] = {
                "schemas": documentation.schemas(declaration),
                "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            }
            self.openapi_schema = document
        return self.openapi_schema

    def _mount_health(self) -> None:
        health = Health(self.store, self.admission, self.telemetry)
        self.open_door(Endpoint("/health/live", "GET", health.live, self.edge))
        self.open_door(Endpoint("/health/ready", "GET", health.ready, self.edge))
        self.open_door(Endpoint("/metrics", "GET", health.metrics, self.edge, media_type=METRICS_TYPE))

    async def _told(self, _: Request, error: Exception) -> Response:
        """What Starlette found: no such path, no such method; or what its own pages raised."""
        kind, detail, headers = UNEXPECTED, UNEXPECTED.title, None
        if isinstance(error, HTTPException):
            detail, headers = str(error.detail), error.headers
            kind = Kind(error.status_code, "http", detail)
        self.telemetry.request("other", kind.status, 0.0)
        body = problems.encode(problems.document(kind, detail))
        return Response(body, kind.status, headers=headers, media_type=problems.MEDIA_TYPE.decode())


def create_app(settings: Settings) -> Service:
    """Wire the service. Files and sockets are opened when it starts, not here.

    Parameters
    ----------
    settings : Settings

    Returns
    -------
    Service
        An ASGI application.
    """
    configure_logging(settings.log_level)
    return Service(settings)


@contextlib.asynccontextmanager
async def _lifespan(app: Any) -> AsyncIterator[None]:
    """Open the bundle and the cache, then the doors that need them; close them in reverse."""
    async with contextlib.AsyncExitStack() as stack:
        await app.store.open()
        stack.push_async_callback(app.store.close)
        cache = _cache(app)
        await cache.open()
        stack.push_async_callback(cache.close)
        _mount_calls(app, cache)
        upkeep = asyncio.create_task(_keep_metrics_fresh(app))
        stack.push_async_callback(_stop, upkeep)
        # What lives as long as the process is not looked at again: a full collection would be the tail of latency.
        gc.collect()
        gc.freeze()
        yield
    app.telemetry.flush()


def _cache(app: Service) -> HistoryCache:
    settings = app.settings
    url = settings.redis_url.get_secret_value() if settings.redis_url else None
    return HistoryCache(
        app.store.live.layout,
        near_bytes=settings.near_bytes,
        near_ttl_s=settings.near_ttl_s,
        max_age_s=settings.history_max_age_s,
        telemetry=app.telemetry,
        redis_url=url,
        redis_timeout_s=settings.redis_timeout_ms / 1000.0,
        redis_write_timeout_s=settings.redis_write_timeout_ms / 1000.0,
        alone=settings.workers == 1,
    )


def _mount_calls(app: Service, cache: HistoryCache) -> None:
    settings, layout = app.settings, app.store.live.layout
    identity = Identity(_identity_key(settings))
    readers = Readers(Gate(settings.tcf_vendor_id, settings.tcf_purposes), settings.max_campaigns)
    readers.of(layout)
    line = Line(
        store=app.store,
        readers=readers,
        histories=Histories(cache, identity),
        answers=Answers(layout.declaration, app.edge.problems, app.telemetry, settings.answer_ttl_s),
        batcher=Batcher(app.store, app.telemetry, app.pace),
        admission=app.admission,
    )
    predict = Predict(line, telemetry=app.telemetry, deadline_ms=settings.deadline_ms)
    batch = PredictBatch(
        line,
        told=app.edge.problems,
        failed=UNEXPECTED,
        most=settings.max_batch,
        max_bytes=settings.max_body_bytes,
        wait_s=settings.redis_timeout_ms / 1000.0,
    )
    features = Features(
        store=app.store, readers=readers, cache=cache, hashed=identity, layout=layout, most=settings.max_batch
    )
    models = Models(app.store, settings.bundle.parent)
    one = Limits(settings.max_body_bytes, settings.max_inflated_bytes)
    many = Limits(settings.max_batch_body_bytes, settings.max_batch_body_bytes)
    callers = settings.api_tokens or None
    admins = [settings.admin_token] if settings.admin_token else []
    app.open_door(Endpoint("/predict", "POST", predict, app.edge, limits=one, tokens=callers))
    app.direct = DirectPredict(predict, app.edge, one, callers)
    uploads = Uploads(settings.max_upload_bytes)
    for path, handle in ((BATCH, batch), ("/features", features.save), ("/features/delete", features.delete)):
        app.open_door(Endpoint(path, "POST", handle, app.edge, limits=many, uploads=uploads, tokens=callers))
    app.open_door(Endpoint("/models", "GET", models.show, app.edge, tokens=callers))
    app.open_door(Endpoint("/models/reload", "POST", models.reload, app.edge, limits=_ADMIN_BODY, tokens=admins))


def _identity_key(settings: Settings) -> bytes:
    key = _secret(settings.identity_key)
    if key is None:
        _log.warning("identity key is random: histories stored now will not be found after a restart, nor by others")
        return secrets.token_bytes(32)
    return key


async def _keep_metrics_fresh(app: Service) -> None:
    while True:
        await asyncio.sleep(FLUSH_S)
        app.telemetry.in_flight(app.admission.in_flight)
        app.telemetry.flush()


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _one_line(send: Send) -> Send:
    """A start that failed is told in one line, not by a traceback."""

    async def told(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "lifespan.startup.failed":
            message = {**message, "message": message["message"].strip().rpartition("\n")[2]}
        await send(message)

    return told


def _secret(value: SecretStr | None) -> bytes | None:
    return value.get_secret_value().encode() if value else None


def _version() -> str:
    try:
        return version("pltv")
    except PackageNotFoundError:  # run from a checkout or an image that holds the source only
        return "0"
