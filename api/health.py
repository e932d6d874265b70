"""Alive, and ready: what a load balancer and a person on call ask first."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from core.db import read_only, scalar
from core.errors import Retryable

log = logging.getLogger(__name__)

READY_SECONDS = 3.0


class Health:
    """GET /healthz and GET /readyz."""

    def __init__(self, engine: Engine, bell_answers: Callable[[], None]) -> None:
        self._engine = engine
        self._bell_answers = bell_answers

    async def alive(self, _: Request) -> Response:
        """The process answers."""
        return JSONResponse({"status": "alive"})

    async def ready(self, _: Request) -> Response:
        """Deliveries can be recorded and rung for; names what is missing otherwise."""
        database, queue = await asyncio.gather(_works(self._ask_database), _works(self._bell_answers))
        missing = [name for name, works in (("database", database), ("redis", queue)) if not works]
        if missing:
            return JSONResponse({"error": "not ready", "missing": missing}, 503)
        return JSONResponse({"status": "ready"})

    def _ask_database(self) -> None:
        with read_only(self._engine) as conn:
            scalar(conn, "select 1")


async def _works(ask: Callable[[], None]) -> bool:
    try:
        async with asyncio.timeout(READY_SECONDS):
            await asyncio.to_thread(ask)
    except (SQLAlchemyError, Retryable, TimeoutError) as error:
        log.warning("not ready: %s", type(error).__name__)
        return False
    return True
