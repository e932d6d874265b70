"""Alive, and ready: what a load balancer and a person on call ask first.

Ready means that deliveries can be recorded, which takes Postgres alone. Without Redis nothing is rung for, and the
sweep finds what was recorded once Redis is back: a balancer that took this process away for it would lose exactly the
deliveries that could have been kept. So that state is ready, and says what is amiss.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from api.asking import Question
from core.db import read_only, scalar
from core.errors import Retryable

log = logging.getLogger(__name__)

READY_SECONDS = 3.0
# The address is public: a flood of probes must not become a flood of queries.
KEPT_SECONDS = 1.0


class Health:
    """GET /healthz and GET /readyz."""

    def __init__(self, engine: Engine, bell_answers: Callable[[], None]) -> None:
        self._engine = engine
        self.database = _part("database", self._ask_database)
        self.redis = _part("redis", bell_answers)

    async def alive(self, _: Request) -> Response:
        """The process answers; it asks nobody."""
        return JSONResponse({"status": "alive"})

    async def ready(self, _: Request) -> Response:
        """200 when deliveries can be recorded, with what is degraded; else 503 with what is missing."""
        database, redis = await asyncio.gather(_works(self.database), _works(self.redis))
        degraded = [] if redis else ["redis"]
        if not database:
            return JSONResponse({"status": "not ready", "missing": ["database"], "degraded": degraded}, 503)
        return JSONResponse({"status": "ready", "degraded": degraded})

    def _ask_database(self) -> None:
        with read_only(self._engine) as conn:
            scalar(conn, "select 1")


def _part(name: str, ask: Callable[[], None]) -> Question[bool]:
    def works() -> bool:
        try:
            ask()
        except (SQLAlchemyError, Retryable) as error:
            log.warning("%s does not answer: %s", name, type(error).__name__)
            return False
        return True

    return Question(works, kept_seconds=KEPT_SECONDS, patience_seconds=READY_SECONDS)


async def _works(part: Question[bool]) -> bool:
    try:
        return await part.answer_soon()
    except Retryable:
        return False
