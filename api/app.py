"""The application: routes, life span, and errors as JSON."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.accounts import Accounts, load_account
from api.description import describe
from api.documents import Documents
from api.exposition import KEPT_SECONDS, State
from api.health import Health
from api.ingest import Delivery, Writer
from api.measures import DOCUMENTS, Measured, Measures
from api.webhooks import ShopifyWebhooks, Verify
from core.clock import utc_now
from core.db import read_only
from core.documents import ServedStore
from core.logs import bound
from core.measures import Snapshot, read
from core.messaging.doorbell import Doorbell, Lane
from core.ports import QueueState

log = logging.getLogger(__name__)

_FIELD_CHARACTERS_MAX = 100


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What the API is built from. `bell_answers` and `queues` raise core.errors.Retryable while Redis is away."""

    database_url: str
    engine: Engine
    secret_keys: Sequence[str]
    doorbell: Doorbell
    bell_answers: Callable[[], None]
    queues: Callable[[], Sequence[QueueState]]
    job_names: Collection[str]
    verifier: Callable[[str], Verify]
    documents: ServedStore
    dashboard_url: str
    clock: Callable[[], datetime] = utc_now
    waiting_max: int = 2048
    state_kept_seconds: float = KEPT_SECONDS


PAUSE_SECONDS = 0.05
"""Between two rounds of rings: commits come hundreds a second, and a lane need not hear of each."""


class Ringer:
    """Rings lanes off the answer path: a dead Redis slows nobody, and a burst of deliveries rings once."""

    def __init__(self, doorbell: Doorbell) -> None:
        self._doorbell = doorbell
        self._lanes: set[Lane] = set()
        self._wake = asyncio.Event()
        self._is_closing = False
        self._task: asyncio.Task[None] | None = None

    def committed(self, deliveries: Sequence[Delivery]) -> None:
        """Have the lanes of these deliveries rung soon."""
        self._lanes.update(Lane("events", delivery.shop_id, delivery.connection_id) for delivery in deliveries)
        self._wake.set()

    def start(self) -> None:
        """Begin to ring."""
        self._task = asyncio.create_task(self._work(), name="ringer")

    async def stop(self) -> None:
        """Ring what is left, then end."""
        self._is_closing = True
        self._wake.set()
        if self._task is not None:
            await self._task

    async def _work(self) -> None:
        while self._lanes or not self._is_closing:
            await self._wake.wait()
            self._wake.clear()
            lanes, self._lanes = self._lanes, set()
            for lane in lanes:
                await asyncio.to_thread(self._ring, lane)
            if not self._is_closing:
                await asyncio.sleep(PAUSE_SECONDS)

    def _ring(self, lane: Lane) -> None:
        try:
            self._doorbell.ring(lane)
        except Exception:
            # Whatever it was, this task must go on: the sweep rings in its place.
            log.exception("lane %s not rung", lane.key)


def create_app(deps: Dependencies) -> Starlette:
    """The API over its dependencies."""
    accounts = Accounts(lambda vendor, id_: load_account(deps.engine, deps.secret_keys, vendor, id_, deps.clock()))
    ringer = Ringer(deps.doorbell)

    def committed(deliveries: Sequence[Delivery], seconds: float) -> None:
        ringer.committed(deliveries)
        measures.committed(deliveries, seconds)

    writer = Writer(deps.database_url, committed, waiting_max=deps.waiting_max)
    measures = Measures(lambda: writer.waiting)
    measures.registry.register(
        State(lambda: _snapshot(deps.engine), deps.queues, deps.job_names, deps.state_kept_seconds)
    )
    shopify = ShopifyWebhooks(accounts, deps.verifier("shopify"), writer, deps.clock)
    documents = Documents(deps.engine, deps.documents, deps.dashboard_url, deps.clock)
    health = Health(deps.engine, deps.bell_answers)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        writer.start()
        ringer.start()
        # What was imported stays for good: measured, having Python's cycle collector go over it again and again took
        # half of the time of a busy process, and a tenth of a second at a stretch.
        gc.collect()
        gc.freeze()
        try:
            yield
        finally:
            # First what was promised to be written, then the rings for it.
            await writer.stop()
            await ringer.stop()

    async def receive_shopify(request: Request) -> Response:
        response = await shopify(request)
        # What is unavailable concerns everybody, and is told once for all by who finds out.
        if 400 <= response.status_code < 500:
            with bound(**_fields(request)):
                log.info("a delivery was answered with %d", response.status_code)
        return response

    app = Starlette(
        routes=[
            Route("/webhooks/shopify/{connection}", receive_shopify, methods=["POST"]),
            Route("/documents/{token}", documents.answer, methods=["PUT", "GET", "OPTIONS"]),
            Route("/healthz", health.alive, methods=["GET"]),
            Route("/readyz", health.ready, methods=["GET"]),
            Route("/openapi.json", describe, methods=["GET"]),
        ],
        exception_handlers={HTTPException: _refused, Exception: _failed},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.add_middleware(Measured, measures=measures)
    app.state.registry = measures.registry
    return app


def _snapshot(engine: Engine) -> Snapshot:
    with read_only(engine) as conn:
        return read(conn)


def _fields(request: Request) -> dict[str, object]:
    """What a request says of itself; nobody has verified it."""
    fields = {
        "connection": request.scope.get("path_params", {}).get("connection"),
        "delivery": request.headers.get("x-shopify-webhook-id"),
    }
    return {name: value[:_FIELD_CHARACTERS_MAX] for name, value in fields.items() if value is not None}


def _shown(request: Request) -> str:
    """The path that was asked for; the rest of a link to a document is a secret."""
    path = request.url.path
    return DOCUMENTS if path.startswith("/documents/") else path


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": str(error.detail).lower()}, error.status_code, error.headers)


async def _failed(request: Request, error: Exception) -> Response:
    with bound(**_fields(request)):
        log.error("%s %s failed", request.method, _shown(request), exc_info=error)
    return JSONResponse({"error": "an unforeseen error"}, 500)
