"""What a person does on the Reconciliation screen: one core operation each, the ring after it, and what was done."""

from __future__ import annotations

import logging
from typing import Literal, Protocol

from sqlalchemy import Engine

from core import bootstrap
from core.audit import Actor
from core.clock import utc_now
from core.connections.queries import connection as connection_row
from core.db import unit_of_work
from core.errors import Retryable
from core.messaging.doorbell import Doorbell, Lane
from core.ports import JobQueue
from core.reconciliation import cancelling, operations
from core.reconciliation.deciding import Decided
from core.reconciliation.operations import Chosen
from core.reconciliation.orders import runs as order_runs
from core.reconciliation.rules import Policy
from core.runs.queries import RUN_JOBS
from dashboard import formats

log = logging.getLogger(__name__)

LOOKING = Actor("preview", "looking at what would happen")

What = Literal["stock", "orders"]


class Application(Protocol):
    """What these acts need: rows, the queue, and the bell that says that listings differ now."""

    @property
    def engine(self) -> Engine: ...

    @property
    def queue(self) -> JobQueue: ...

    @property
    def doorbell(self) -> Doorbell: ...


def application() -> Application:
    """The process's own application, put together once."""
    return bootstrap.application()


def compare(
    app: Application,
    shop_id: int,
    connection_id: int,
    what: What,
    actor: Actor,
    *,
    sku: str | None = None,
    days: int = order_runs.DAYS,
) -> int:
    """Ask for a comparison; returns the run that people see. Raises UnderWay, UnknownSku, NoOrders, BadInput."""
    now = utc_now()
    with unit_of_work(app.engine) as conn:
        if what == "stock":
            sync_run_id = operations.request(conn, shop_id, connection_id, what, actor, now, sku=sku).sync_run_id
        else:
            row = connection_row(conn, shop_id, connection_id)
            sync_run_id = order_runs.request(conn, row, "click", actor, now, days).sync_run_id
    _ring(app, shop_id, connection_id, what, sync_run_id)
    return sync_run_id


def read_order_again(app: Application, shop_id: int, connection_id: int, ref: str, actor: Actor) -> int:
    """Have one order read from its channel and recorded anew; returns the run. Raises UnderWay, NoOrders."""
    with unit_of_work(app.engine) as conn:
        row = connection_row(conn, shop_id, connection_id)
        run = order_runs.request(conn, row, "click", actor, utc_now(), refs=[ref])
    _ring(app, shop_id, connection_id, "orders", run.sync_run_id)
    return run.sync_run_id


def _ring(app: Application, shop_id: int, connection_id: int, what: What, sync_run_id: int) -> None:
    """The sweep of runs repairs a ring that gets lost."""
    try:
        app.queue.enqueue(
            RUN_JOBS[operations.SYNC_KINDS[what]],
            shop_id=shop_id,
            connection_id=connection_id,
            sync_run_id=sync_run_id,
        )
    except Retryable as error:
        log.warning("run %s not rung, the sweep will: %s", sync_run_id, error)


def correct(app: Application, shop_id: int, chosen: Chosen, token: str, actor: Actor) -> str:
    """Have what we want written, as it was previewed. Raises Changed, NotCorrectable."""
    with unit_of_work(app.engine) as conn:
        done = operations.correct(conn, shop_id, chosen, token, actor, utc_now())
    app.doorbell.ring(Lane("stock", shop_id, chosen.connection_id))
    return f"{formats.plural(done, 'listing is', 'listings are')} written within seconds."


def accept(app: Application, shop_id: int, chosen: Chosen, token: str, actor: Actor) -> str:
    """Leave them as they are until they change, as it was previewed. Raises Changed."""
    with unit_of_work(app.engine) as conn:
        done = operations.accept(conn, shop_id, chosen, token, actor, utc_now())
    return (
        f"{formats.plural(done, 'discrepancy is', 'discrepancies are')} left as {'it is' if done == 1 else 'they are'}."
    )


def cancel(app: Application, shop_id: int, sync_run_id: int, actor: Actor) -> str:
    """End a comparison that is under way."""
    with unit_of_work(app.engine) as conn:
        done = cancelling.cancel(conn, shop_id, sync_run_id, actor, utc_now())
    return "The comparison is cancelled; what it found stays." if done else "It had ended by itself."


def preview_policy(app: Application, shop_id: int, connection_id: int, new: Policy) -> Decided:
    """What a policy would do to what is open now: the act itself, taken back."""
    with app.engine.connect() as conn, conn.begin() as transaction:
        try:
            return operations.set_policy(conn, shop_id, connection_id, new, LOOKING, utc_now())[1]
        finally:
            transaction.rollback()


def set_policy(app: Application, shop_id: int, connection_id: int, new: Policy, seen: Decided, actor: Actor) -> str:
    """Save a policy that does what its preview said, or nothing. Raises Changed."""
    with unit_of_work(app.engine) as conn:
        _, done = operations.set_policy(conn, shop_id, connection_id, new, actor, utc_now())
        if done != seen:
            raise operations.Changed
    app.doorbell.ring(Lane("stock", shop_id, connection_id))
    healed = (
        f" {formats.plural(done.healed, 'discrepancy is', 'discrepancies are')} corrected now." if done.healed else ""
    )
    return f"The policy is saved.{healed}"
