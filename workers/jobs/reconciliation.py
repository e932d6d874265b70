"""Jobs: reconcile.stock, sweep.reconciliation."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from core import bootstrap
from core.audit import Actor
from core.bootstrap import Application
from core.clock import utc_now
from core.connections import operations as connections
from core.connections import queries as connection_queries
from core.connections.queries import ConnectionRow
from core.db import count_grown_tables, read_only, unit_of_work
from core.errors import OutOfQuota, Permanent, Retryable
from core.logs import bound, mask
from core.ports import CatalogueExport, SalesChannel
from core.reconciliation import comparing, deciding, queries, runs
from core.reconciliation import operations as reconciliation
from core.reconciliation.operations import UnderWay
from core.reconciliation.runs import Observed, Reading
from core.runs import operations as sync_runs
from workers import exports, markets
from workers.hints import ring_once
from workers.jobs.connections import poll_orders
from workers.jobs.inbox import ring_pushes
from workers.registry import job

EXPORT, LEVELS = "export", "levels"
"""Roads: the whole catalogue as the channel writes it down, or what each of our listings shows, page by page."""

GIVEN_UP_AFTER = timedelta(hours=6)
"""A run whose channel has not answered for so long is over; the next one begins anew."""


class NothingTold(Permanent):
    """The channel answered, and told of none of the listings that we write."""

    def __init__(self, connection: str, road: str) -> None:
        super().__init__(
            f"{connection} told of none of the listings that we write ({road}): nothing is concluded from that; look at"
            " its credentials and its catalogue"
        )


class TakenOver(Permanent):
    """The run was stopped by a person; or given to somebody else, or given up, while this worker was silent."""

    def __init__(self) -> None:
        super().__init__("the run is not to be gone on with here: it was stopped, or another worker has it")


@job("reconcile.stock", queue="reconcile", timeout=3600)
def reconcile_stock(*, shop_id: int, connection_id: int, sync_run_id: int) -> dict[str, Any]:
    """Read what a channel shows, hold it against what we know, and record what differs with its cause."""
    app = bootstrap.application()
    with unit_of_work(app.engine) as conn:
        if not sync_runs.start_sync(conn, shop_id, sync_run_id, utc_now()):
            return {"superseded": True}
        reading = runs.begin(conn, shop_id, sync_run_id, utc_now())
        row = connection_queries.connection(conn, shop_id, connection_id)
        if reading is None:
            sync_runs.finish_sync(conn, shop_id, sync_run_id, utc_now())
            return {"superseded": True}
        if row.state != "active":
            _fail(conn, reading, f"{row.name} is paused: resume it first")
            return {"paused": True}
    with bound(sync_run=sync_run_id):
        return _guarded(app, row, reading)


def _guarded(app: Application, row: ConnectionRow, reading: Reading) -> dict[str, Any]:
    """The run, with what its channel may raise: what may succeed later goes on from the page that was read last."""
    try:
        counts = reconcile_now(app, row, reading)
    except Retryable as wait:
        with unit_of_work(app.engine) as conn:
            run = queries.run(conn, reading.shop_id, reading.sync_run_id)
            if run is not None and utc_now() - run["requested_at"] > GIVEN_UP_AFTER:
                _fail(conn, reading, f"given up after hours: {mask(str(wait))}")
                return {"failed": mask(str(wait))}
            sync_runs.fail_sync(conn, reading.shop_id, reading.sync_run_id, utc_now(), mask(str(wait)), will_retry=True)
        return {"waiting": mask(str(wait))}
    except TakenOver:
        with unit_of_work(app.engine) as conn:
            is_asked = sync_runs.stop_sync(conn, reading.shop_id, reading.sync_run_id, utc_now())
            runs.close_orphans(conn, utc_now())
        return {"cancelled": True} if is_asked else {"superseded": True}
    except Permanent as error:
        with unit_of_work(app.engine) as conn:
            _fail(conn, reading, mask(str(error)))
            connections.note_problem(conn, reading.shop_id, reading.connection_id, mask(str(error)), utc_now())
        return {"failed": mask(str(error))}
    except Exception as error:
        with unit_of_work(app.engine) as conn:
            _fail(conn, reading, f"stopped by {type(error).__name__}")
        raise
    with unit_of_work(app.engine) as conn:
        sync_runs.finish_sync(conn, reading.shop_id, reading.sync_run_id, utc_now(), counts)
    ring_pushes(app)
    return counts


def _fail(conn: Any, reading: Reading, error: str) -> None:
    runs.fail(conn, reading.shop_id, reading.id, error, utc_now())
    sync_runs.fail_sync(conn, reading.shop_id, reading.sync_run_id, utc_now(), error)


def reconcile_now(app: Application, row: ConnectionRow, reading: Reading) -> dict[str, int]:
    """The run itself, from where it was; returns what it counted. Raises what the channel raised."""
    with app.channel(markets.known(app, row)) as channel:
        if reading.state == "reading":
            _read(app, row, channel, reading)
        counts = _compare(app, reading)
        _read_orders(app, row, channel, reading)
    with unit_of_work(app.engine) as conn:
        counts["resolved"] += deciding.settle(conn, reading.shop_id, reading.connection_id, utc_now())
    with unit_of_work(app.engine) as conn:
        decided = deciding.decide_open(conn, reading.shop_id, reading.connection_id, utc_now())
        runs.finish(conn, reading, utc_now())
    return counts | {"healed": decided.healed, "held": decided.held, "asked_for_loops": decided.looped}


# --- reading ----------------------------------------------------------------------------------------------------------


def _read(app: Application, row: ConnectionRow, channel: SalesChannel, reading: Reading) -> None:
    """Stage what the channel shows by its cheapest road, from the page that was staged last."""
    count = _begin_reading(app, channel, reading)
    if reading.sku_id is None and count is not None and count >= exports.EXPORT_FROM:
        export = _export(app, row, channel, reading)
        if export is not None and _read_export(app, row, channel, reading, export):
            return
    _read_levels(app, row, channel, reading)


def _begin_reading(app: Application, channel: SalesChannel, reading: Reading) -> int | None:
    if reading.sku_id is not None or reading.road == LEVELS:
        return None
    count = channel.listing_count()
    _tell(app, reading, "reading what it shows", total=count)
    return count


def _export(app: Application, row: ConnectionRow, channel: SalesChannel, reading: Reading) -> CatalogueExport | None:
    """The export that can be read; None where it is read by levels. Raises StillWritten while it is being written."""
    with read_only(app.engine) as conn:
        row = connection_queries.connection(conn, row.shop_id, row.id)
    return exports.written(app, row, channel, lambda step, objects: _tell(app, reading, _said(step, objects)))


def _said(step: str, objects: int) -> str:
    return f"{step}: {objects:,} objects so far" if objects else step


def _read_export(
    app: Application, row: ConnectionRow, channel: SalesChannel, reading: Reading, export: CatalogueExport
) -> bool:
    """Stage an export's pages, behind those that are staged of the same one; whether it was whole."""
    done = _pages_done(reading, export.ref)
    if done is None:
        done = 0
        _take_road(app, reading, EXPORT)
    pages = 0
    try:
        for pages, page in enumerate(channel.exported(export), start=1):
            if pages > done:
                _stage(app, reading, runs.of_listings(page), f"{export.ref}#{pages}")
    except TakenOver:
        raise
    except Permanent:
        # Gone at the channel, or not to be read: the pages of our own listings are always there.
        pages = 0
    is_whole = pages > 0 and export.state == "written"
    if is_whole:
        _have_read(app, row, reading)
    exports.forget(app, row)
    return is_whole


def _pages_done(reading: Reading, ref: str) -> int | None:
    """How many pages of this export are staged already; None where another one, or none, was begun."""
    known, _, pages = (reading.cursor or "").rpartition("#")
    return int(pages) if reading.road == EXPORT and known == ref else None


def _read_levels(app: Application, row: ConnectionRow, channel: SalesChannel, reading: Reading) -> None:
    """Ask for what each of our listings shows, a page of them at a time."""
    after = int(reading.cursor or 0) if reading.road == LEVELS else 0
    if reading.road != LEVELS or reading.cursor is None:
        _take_road(app, reading, LEVELS)
    for wanted in _wanted(app, reading, after):
        levels = channel.levels(wanted.refs, in_background=True)
        _stage(app, reading, [Observed(level) for level in levels], str(wanted.last_id))
    _have_read(app, row, reading)


def _wanted(app: Application, reading: Reading, after: int) -> Iterator[runs.Wanted]:
    while True:
        with read_only(app.engine) as conn:
            wanted = runs.to_read(conn, reading, after)
        if wanted is None:
            return
        yield wanted
        after = wanted.last_id


def _take_road(app: Application, reading: Reading, road: str) -> None:
    with unit_of_work(app.engine) as conn:
        runs.take_road(conn, reading, road)


def _stage(app: Application, reading: Reading, page: list[Observed], cursor: str) -> None:
    with unit_of_work(app.engine) as conn:
        observed = runs.stage(conn, reading, page, cursor)
        if not sync_runs.progress(conn, reading.shop_id, reading.sync_run_id, utc_now(), done=observed):
            raise TakenOver


def _have_read(app: Application, row: ConnectionRow, reading: Reading) -> None:
    with unit_of_work(app.engine) as conn:
        if not runs.have_read(conn, reading, utc_now()):
            raise NothingTold(row.name, "nothing was read")


def _tell(app: Application, reading: Reading, step: str, *, total: int | None = None) -> None:
    """Say what is being done. Raises TakenOver."""
    with unit_of_work(app.engine) as conn:
        if not sync_runs.progress(conn, reading.shop_id, reading.sync_run_id, utc_now(), step=step, total=total):
            raise TakenOver


# --- comparing --------------------------------------------------------------------------------------------------------


def _compare(app: Application, reading: Reading) -> dict[str, int]:
    """Compare and record as one set, then believe what differs, page by page."""
    _tell(app, reading, "comparing")
    # What was staged is new to the server's statistics.
    count_grown_tables(app.engine)
    with unit_of_work(app.engine) as conn:
        faults = comparing.find_faults(conn, reading, utc_now())
    with unit_of_work(app.engine) as conn:
        found = comparing.compare(conn, reading, utc_now())
    _tell(app, reading, "believing what differs")
    after = believed = 0
    while True:
        with unit_of_work(app.engine) as conn:
            page = comparing.believe(conn, reading, after, utc_now())
            sync_runs.progress(conn, reading.shop_id, reading.sync_run_id, utc_now())
        if page is None:
            break
        after, count = page
        believed += count
    return {
        "compared": found.compared,
        "found": found.found,
        "faults": faults,
        "believed": believed,
        "resolved": found.resolved,
    }


def _read_orders(app: Application, row: ConnectionRow, channel: SalesChannel, reading: Reading) -> None:
    """Read the orders that may explain what was found, where they may be asked for at any time; else the polls do."""
    if not channel.reads_orders or channel.orders_every is not None:
        return
    _tell(app, reading, "reading orders that may explain it")
    try:
        poll_orders(app, row, channel)
    except (Retryable, OutOfQuota) as error:
        _tell(app, reading, f"orders are left to the polls: {mask(str(error))}")


# --- between runs -----------------------------------------------------------------------------------------------------


@job("sweep.reconciliation", queue="polls", timeout=120)
def sweep_reconciliation() -> dict[str, Any]:
    """Look again at what waits or is being corrected, by what is known by now; begin the comparisons that are due."""
    app = bootstrap.application()
    counts = {"resolved": 0, "healed": 0, "held": 0, "begun": 0, "closed": 0}
    with read_only(app.engine) as conn:
        living = queries.living_connections(conn)
    for shop_id, connection_id in living:
        with unit_of_work(app.engine) as conn:
            counts["resolved"] += deciding.settle(conn, shop_id, connection_id, utc_now())
            decided = deciding.decide_open(conn, shop_id, connection_id, utc_now())
        counts["healed"] += decided.healed
        counts["held"] += decided.held
    with unit_of_work(app.engine) as conn:
        counts["closed"] = runs.close_orphans(conn, utc_now())
    counts["begun"] = _begin_due(app)
    if counts["healed"]:
        ring_pushes(app)
    return counts


def _begin_due(app: Application) -> int:
    with read_only(app.engine) as conn:
        due = queries.due(conn, utc_now())
    begun = 0
    for shop_id, connection_id in due:
        with unit_of_work(app.engine) as conn:
            actor = Actor("schedule", "compared by its policy")
            try:
                asked = reconciliation.request(
                    conn, shop_id, connection_id, "stock", actor, utc_now(), trigger="schedule"
                )
            except UnderWay:
                continue
        begun += asked.is_new
        ring(app, shop_id, connection_id, asked.sync_run_id)
    return begun


def ring(app: Application, shop_id: int, connection_id: int, sync_run_id: int) -> None:
    """Have a comparison begun; a ring that gets lost is made up for by the sweep of runs."""
    ring_once(app, "reconcile.stock", shop_id=shop_id, connection_id=connection_id, sync_run_id=sync_run_id)
