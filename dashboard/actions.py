"""Every write of the dashboard: one core operation each, with the operator's name and reason."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Protocol

from sqlalchemy import Engine

from core import bootstrap
from core.audit import Actor
from core.clock import utc_now
from core.db import unit_of_work
from core.errors import Retryable
from core.ports import JobQueue
from core.runs import control
from core.runs.queries import RUN_JOBS

log = logging.getLogger(__name__)

SYNC_KIND, TEST_KIND = "sync_connection", "test_connection"


class Application(Protocol):
    """What a write needs: where rows go, and the bell that says so."""

    @property
    def engine(self) -> Engine: ...

    @property
    def queue(self) -> JobQueue: ...


def application() -> Application:
    """The process's own application, put together once."""
    return bootstrap.application()


def start_sync(app: Application, shop_id: int, connection_id: int, actor: Actor, now: datetime | None = None) -> int:
    """Ask for a sync of one connection; returns its run, or that of the one already open."""
    return _start(app, shop_id, connection_id, SYNC_KIND, actor, now or utc_now())


def start_test(app: Application, shop_id: int, connection_id: int, actor: Actor, now: datetime | None = None) -> int:
    """Ask for a call to one connection that shows whether it works; returns its run, or that of the one open."""
    return _start(app, shop_id, connection_id, TEST_KIND, actor, now or utc_now())


def _start(app: Application, shop_id: int, connection_id: int, kind: str, actor: Actor, now: datetime) -> int:
    """The request and its audit entry are one unit of work. The ring after it may get lost: the sweep repairs that."""
    with unit_of_work(app.engine) as conn:
        run_id = control.start(conn, shop_id, connection_id, kind, actor, now)
    try:
        app.queue.enqueue(RUN_JOBS[kind], shop_id=shop_id, connection_id=connection_id, sync_run_id=run_id)
    except Retryable as error:
        log.warning("sync run %s not rung, the sweep will: %s", run_id, error)
    return run_id
