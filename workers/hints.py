"""What a channel only hinted at: whom to ask."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from core.bootstrap import Application
from core.clock import utc_now
from core.connections import queries, watching
from core.connections.queries import ConnectionRow
from core.db import read_only
from core.errors import Retryable
from core.messaging.doorbell import Lane
from core.ports import Hint
from core.publication import queries as publication
from core.runs import queries as run_queries
from workers import products

log = logging.getLogger(__name__)

REFS_AT_ONCE = 8
"""Refs that travel with one job."""


def ring_for_hints(app: Application, row: ConnectionRow, hints: Iterable[Hint]) -> None:
    """Have asked for what a connection's messages hinted at.

    Rung after their commit, and only for haste: the polls and the sweep of runs come by for whatever is lost here.
    """
    refs: dict[str, list[str]] = {"order": [], "fulfilment_order": [], "export": [], "feed": [], "product": []}
    for hint in sorted(hints, key=lambda hint: (hint.kind, hint.ref)):
        refs[hint.kind].append(hint.ref)
    for kind in ("order", "fulfilment_order"):
        for start in range(0, len(refs[kind]), REFS_AT_ONCE):
            some = ",".join(refs[kind][start : start + REFS_AT_ONCE])
            ring_once(app, "orders.read", shop_id=row.shop_id, connection_id=row.id, kind=kind, refs=some)
    if refs["product"]:
        _ring_products(app, row)
    if refs["feed"]:
        app.doorbell.ring(Lane("stock-check", row.shop_id, row.id))
    if refs["export"]:
        _ring_waiting_syncs(app, row, refs["export"])


def _ring_waiting_syncs(app: Application, row: ConnectionRow, refs: list[str]) -> None:
    """A sync, or a comparison, that was put back until its export is written can go on."""
    with read_only(app.engine) as conn:
        now_is = queries.connection(conn, row.shop_id, row.id)
        waiting = run_queries.waiting_syncs(conn, utc_now())
    if now_is.settings.get(watching.EXPORT) not in refs:
        return
    for run in waiting:
        if (run["shop_id"], run["connection_id"]) == (row.shop_id, row.id):
            job = run_queries.RUN_JOBS[run["kind"]]
            ring_once(app, job, shop_id=row.shop_id, connection_id=row.id, sync_run_id=run["id"])


def _ring_products(app: Application, row: ConnectionRow) -> None:
    """Where the connection's products are kept in step, what was told of is read now and not with the next sweep."""
    with read_only(app.engine) as conn:
        is_called = publication.called(conn, row, 1)
    if is_called:
        app.doorbell.ring(products.lane_of(row.shop_id, row.id), products.RING_STANDS)


def ring_once(app: Application, name: str, **arguments: object) -> None:
    """Queue a job for haste only: what a dead Redis loses comes to pass by itself, a little later."""
    try:
        app.queue.enqueue(name, **arguments)
    except Retryable as error:
        log.warning("%s is not queued now: %s", name, error)
