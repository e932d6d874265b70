"""Jobs: targets.drain (and its further seats), targets.full, sweep.targets, sync.targets."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from core import bootstrap
from core.audit import Actor
from core.bootstrap import Application
from core.catalogue_target import KINDS, Kind
from core.clock import utc_now
from core.connections import operations as connections
from core.connections import queries as connection_queries
from core.connections import switches
from core.connections.queries import ConnectionRow
from core.db import read_only, unit_of_work
from core.errors import Permanent, Retryable
from core.logs import bound, mask
from core.messaging.doorbell import Lane
from core.runs import operations as runs
from core.targets import operations as targets
from core.targets import queries
from workers.hints import ring_once
from workers.registry import job
from workers.targets import Seat, read_everything

log = logging.getLogger(__name__)

DRAIN_SECONDS = 20
SEATS = 4
ENTRIES_A_SEAT = 1_000
"""Where more than that waits for each seat at work, another one is rung for."""
RING_AHEAD = timedelta(seconds=1)


def lane_of(row: ConnectionRow, seat: int) -> Lane:
    """A seat's lane."""
    return Lane(targets.LANE if seat == 1 else f"{targets.LANE}-{seat}", row.shop_id, row.id)


@job("targets.drain", queue="targets", timeout=120, retry=(3, [1, 5, 30]))
def drain(*, shop_id: int, connection_id: int) -> dict[str, Any]:
    """Tell a target what differs, and find out what became of what it was told."""
    return _drain(shop_id, connection_id, 1)


@job("targets.drain_2", queue="targets", timeout=120, retry=(3, [1, 5, 30]))
def drain_2(*, shop_id: int, connection_id: int) -> dict[str, Any]:
    """The same beside it, where there is much to do."""
    return _drain(shop_id, connection_id, 2)


@job("targets.drain_3", queue="targets", timeout=120, retry=(3, [1, 5, 30]))
def drain_3(*, shop_id: int, connection_id: int) -> dict[str, Any]:
    """The same beside those."""
    return _drain(shop_id, connection_id, 3)


@job("targets.drain_4", queue="targets", timeout=120, retry=(3, [1, 5, 30]))
def drain_4(*, shop_id: int, connection_id: int) -> dict[str, Any]:
    """The same beside those."""
    return _drain(shop_id, connection_id, 4)


def _drain(shop_id: int, connection_id: int, number: int) -> dict[str, Any]:
    app = bootstrap.application()
    lane = Lane(targets.LANE if number == 1 else f"{targets.LANE}-{number}", shop_id, connection_id)
    with app.doorbell.draining(app.engine, lane) as held, bound(lane=lane.key):
        if not held.is_held:
            return {"busy": True}
        with read_only(app.engine) as conn:
            row = connection_queries.connection(conn, shop_id, connection_id)
        if row.state != "active":
            return {"paused": True}
        with app.target(row) as api:
            seat = Seat(app.engine, queries.target_of(row), api, number)
            _ring_others(app, row, seat, number)
            counts = seat.drain(DRAIN_SECONDS)
        # What was planned meanwhile is for them, too.
        _ring_others(app, row, seat, number)
        _note(app, row, seat)
        held.has_more, next_at = seat.goes_on()
        if next_at is not None:
            app.doorbell.ring_at(lane, max(next_at, utc_now()) + RING_AHEAD)
    if counts:
        log.info("target told", extra={"counts": dict(counts)})
    if seat.problem:
        return {"failed": mask(seat.problem), **counts}
    return dict(counts)


def _ring_others(app: Application, row: ConnectionRow, seat: Seat, number: int) -> None:
    """The first seat rings for as many others as there is work for."""
    if number != 1:
        return
    with read_only(app.engine) as conn:
        is_live = switches.may_write(conn, row.shop_id, row.id)
        waiting = queries.ready(conn, seat.target, utc_now(), may_write=is_live)
    for other in range(2, min(SEATS, 1 + waiting // ENTRIES_A_SEAT) + 1):
        app.doorbell.ring(lane_of(row, other))


def _note(app: Application, row: ConnectionRow, seat: Seat) -> None:
    """What the connection as a whole suffers from; nothing any more once anything came through."""
    if seat.problem is None and not seat.counts:
        return
    with unit_of_work(app.engine) as conn:
        problem = None if seat.problem is None else mask(seat.problem)
        connections.note_problem(conn, row.shop_id, row.id, problem, utc_now())


@job("sweep.targets", queue="polls", timeout=30)
def ring_all() -> dict[str, Any]:
    """Ring every target: what differs is found there, and nothing is asked of anybody where nothing does."""
    app = bootstrap.application()
    with read_only(app.engine) as conn:
        rows = queries.all_targets(conn)
    for row in rows:
        app.doorbell.ring(lane_of(row, 1))
    return {"rung": len(rows)}


@job("sync.targets", queue="polls", timeout=30)
def compare_all() -> dict[str, Any]:
    """Queue a comparison of everything that each target holds."""
    app = bootstrap.application()
    with read_only(app.engine) as conn:
        rows = queries.all_targets(conn)
    for row in rows:
        request_full(app, row, "schedule", Actor("schedule", "every six hours"))
    return {"targets": len(rows)}


def request_full(app: Application, row: ConnectionRow, trigger: str, actor: Actor) -> int:
    """Ask for a comparison and have it begun; returns the sync run."""
    with unit_of_work(app.engine) as conn:
        run_id = targets.request_full(conn, row.shop_id, row.id, trigger, actor, utc_now())
    # Queued by the sweep of runs, should the ring get lost.
    ring_once(app, "targets.full", shop_id=row.shop_id, connection_id=row.id, sync_run_id=run_id)
    return run_id


@job("targets.full", queue="catalog", timeout=3600)
def compare(*, shop_id: int, connection_id: int, sync_run_id: int) -> dict[str, Any]:
    """Read all that a target holds, hold it against what it should, and have told again what differs."""
    app = bootstrap.application()
    with unit_of_work(app.engine) as conn:
        if not runs.start_sync(conn, shop_id, sync_run_id, utc_now()):
            return {"superseded": True}
        row = connection_queries.connection(conn, shop_id, connection_id)
        if row.state != "active":
            runs.fail_sync(conn, shop_id, sync_run_id, utc_now(), f"{row.name} is paused: resume it first")
            return {"paused": True}
    with bound(sync_run=sync_run_id):
        return _guarded(app, row, sync_run_id)


def _guarded(app: Application, row: ConnectionRow, run_id: int) -> dict[str, Any]:
    """The comparison, with what the target may raise."""
    try:
        counts = compare_now(app, row, run_id)
    except runs.Stopped:
        with unit_of_work(app.engine) as conn:
            is_asked = runs.stop_sync(conn, row.shop_id, run_id, utc_now())
        return {"cancelled": True} if is_asked else {"superseded": True}
    except (Retryable, Permanent) as error:
        said = mask(str(error))
        with unit_of_work(app.engine) as conn:
            is_over = isinstance(error, Permanent)
            runs.fail_sync(conn, row.shop_id, run_id, utc_now(), said, will_retry=not is_over)
            connections.note_problem(conn, row.shop_id, row.id, said, utc_now())
        return {"failed" if is_over else "waiting": said}
    except Exception as error:
        with unit_of_work(app.engine) as conn:
            runs.fail_sync(conn, row.shop_id, run_id, utc_now(), f"stopped by {type(error).__name__}")
        raise
    with unit_of_work(app.engine) as conn:
        runs.finish_sync(conn, row.shop_id, run_id, utc_now(), counts)
    app.doorbell.ring(lane_of(row, 1))
    return counts


def compare_now(app: Application, row: ConnectionRow, run_id: int) -> dict[str, int]:
    """The comparison itself; returns what it counted."""
    target = queries.target_of(row)
    with read_only(app.engine) as conn:
        expected: list[tuple[Kind, int]] = [(kind, queries.known(conn, target, kind)) for kind in KINDS]

    def tell(step: str, done: int, total: int | None) -> None:
        with unit_of_work(app.engine) as conn:
            goes_on = runs.progress(conn, row.shop_id, run_id, utc_now(), done=done, total=total, step=step)
        if not goes_on:
            raise runs.Stopped(f"sync run {run_id} is not to go on")

    with app.target(row) as api:
        counts = read_everything(Seat(app.engine, target, api), tell, expected)
    return dict(counts)
