"""Jobs: products.read, products.push, sweep.products."""

from __future__ import annotations

from typing import Any

from core import bootstrap
from core.bootstrap import Application
from core.clock import utc_now
from core.connections import queries as connections
from core.connections.queries import ConnectionRow
from core.db import read_only, unit_of_work
from core.errors import Permanent, Retryable
from core.logs import bound, mask
from core.messaging.doorbell import lane_lock
from core.publication import queries
from core.runs import operations as runs
from workers.hints import ring_once
from workers.products import RING_STANDS, MoreToRead, keep_in_step, lane_of, read_whole
from workers.registry import job

PUSH_SECONDS = 240
"""A turn that takes longer goes on with the next one."""
READ_SECONDS = 600
"""A reading that takes longer goes on in another job, and lets others have the worker and the lane in between."""
READ_IDLE_SECONDS = 3700

NO_PRODUCTS = "this kind of channel keeps no products of its own"


@job("products.read", queue="catalog", timeout=3600)
def read_products(*, shop_id: int, connection_id: int, sync_run_id: int) -> dict[str, Any]:
    """Read every product of a channel, in as many jobs as it takes; from then on they are kept in step."""
    app = bootstrap.application()
    with unit_of_work(app.engine) as conn:
        if not runs.start_sync(conn, shop_id, sync_run_id, utc_now()):
            return {"superseded": True}
        row = connections.connection(conn, shop_id, connection_id)
        if row.state != "active":
            runs.fail_sync(conn, shop_id, sync_run_id, utc_now(), f"{row.name} is paused: resume it first")
            return {"paused": True}
    with bound(sync_run=sync_run_id), lane_lock(app.engine, lane_of(shop_id, connection_id), READ_IDLE_SECONDS) as held:
        if not held:
            why = "its products are being kept in step just now"
            with unit_of_work(app.engine) as conn:
                runs.fail_sync(conn, shop_id, sync_run_id, utc_now(), why, will_retry=True)
            return {"waiting": why}
        result = _read(app, row, sync_run_id)
    if "waiting" in result:
        # Queued by the sweep of runs, should the ring get lost.
        ring_once(app, "products.read", shop_id=shop_id, connection_id=connection_id, sync_run_id=sync_run_id)
    return result


def _read(app: Application, row: ConnectionRow, run_id: int) -> dict[str, Any]:
    def tell(done: int) -> None:
        with unit_of_work(app.engine) as conn:
            if not runs.progress(conn, row.shop_id, run_id, utc_now(), done=done, step="reading products"):
                raise runs.Stopped(f"sync run {run_id} is not to go on")

    try:
        with app.products(row) as channel:
            if channel is None:
                raise Permanent(f"{row.name}: {NO_PRODUCTS}")
            counts = dict(read_whole(app, row, channel, tell, READ_SECONDS))
    except MoreToRead as more:
        with unit_of_work(app.engine) as conn:
            runs.fail_sync(conn, row.shop_id, run_id, utc_now(), str(more), will_retry=True)
        return {"waiting": str(more)}
    except runs.Stopped:
        with unit_of_work(app.engine) as conn:
            is_asked = runs.stop_sync(conn, row.shop_id, run_id, utc_now())
        return {"cancelled": True} if is_asked else {"superseded": True}
    except (Retryable, Permanent) as error:
        with unit_of_work(app.engine) as conn:
            runs.fail_sync(conn, row.shop_id, run_id, utc_now(), mask(str(error)))
        if isinstance(error, Retryable):
            # No answer is no answer of theirs: the job has failed, and can be done again.
            raise
        return {"failed": mask(str(error))}
    except Exception as error:
        with unit_of_work(app.engine) as conn:
            runs.fail_sync(conn, row.shop_id, run_id, utc_now(), f"stopped by {type(error).__name__}")
        raise
    with unit_of_work(app.engine) as conn:
        runs.finish_sync(conn, row.shop_id, run_id, utc_now(), counts)
    return counts


@job("products.push", queue="catalog", timeout=600)
def push_products(*, shop_id: int, connection_id: int, sync_run_id: int | None = None) -> dict[str, Any]:
    """Keep the products of a channel in step: read what changed there, write what differs by what changed here."""
    app, lane = bootstrap.application(), lane_of(shop_id, connection_id)
    # It waits no more, whatever comes of it: the next one may be queued.
    app.doorbell.answer(lane)
    with read_only(app.engine) as conn:
        row = connections.connection(conn, shop_id, connection_id)
    if row.state != "active":
        return {"paused": True}
    with lane_lock(app.engine, lane, PUSH_SECONDS + 400) as held:
        if not held:
            return {"busy": True}
        with app.products(row) as channel:
            return {} if channel is None else dict(keep_in_step(app, row, channel, PUSH_SECONDS))


@job("sweep.products", queue="polls", timeout=30)
def sweep_products() -> dict[str, Any]:
    """Ring for every connection whose products are kept in step, and for which no turn waits already."""
    app = bootstrap.application()
    with read_only(app.engine) as conn:
        found = queries.connections_to_follow(conn)
    for shop_id, connection_id in found:
        app.doorbell.ring(lane_of(shop_id, connection_id), RING_STANDS)
    return {"connections": len(found)}
