"""The application: routes, life span, and errors as JSON."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.accounts import Accounts, load_account
from api.health import Health
from api.ingest import Delivery, Writer
from api.webhooks import ShopifyWebhooks, Verify
from core.clock import utc_now
from core.messaging.doorbell import Doorbell, Lane

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What the API is built from. `bell_answers` raises core.errors.Retryable while Redis is away."""

    database_url: str
    engine: Engine
    secret_keys: Sequence[str]
    doorbell: Doorbell
    bell_answers: Callable[[], None]
    verifier: Callable[[str], Verify]
    clock: Callable[[], datetime] = utc_now
    waiting_max: int = 2048


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

    def _ring(self, lane: Lane) -> None:
        try:
            self._doorbell.ring(lane)
        except Exception:
            # Whatever it was, this task must go on: the sweep rings in its place.
            log.exception("lane %s not rung", lane.key)


def create_app(deps: Dependencies) -> Starlette:
    """The API over its dependencies."""
    accounts = Accounts(lambda vendor, id_: load_account(deps.engine, deps.secret_keys, vendor, id_))
    ringer = Ringer(deps.doorbell)
    writer = Writer(deps.database_url, ringer.committed, waiting_max=deps.waiting_max)
    shopify = ShopifyWebhooks(accounts, deps.verifier("shopify"), writer, deps.clock)
    health = Health(deps.engine, deps.bell_answers)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        writer.start()
        ringer.start()
        try:
            yield
        finally:
            # First what was promised to be written, then the rings for it.
            await writer.stop()
            await ringer.stop()

    async def receive_shopify(request: Request) -> Response:
        return await shopify(request)

    app = Starlette(
        routes=[
            Route("/webhooks/shopify/{connection}", receive_shopify, methods=["POST"]),
            Route("/healthz", health.alive, methods=["GET"]),
            Route("/readyz", health.ready, methods=["GET"]),
        ],
        exception_handlers={HTTPException: _refused, Exception: _failed},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return app


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": str(error.detail).lower()}, error.status_code, error.headers)


async def _failed(request: Request, error: Exception) -> Response:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return JSONResponse({"error": "an unforeseen error"}, 500)
