"""Jobs: reconcile.orders, reconcile.orders_nightly. A channel's orders are read and held against ours.

A job works for a minute or two and hands on: what it has read is a row, so that it may be cut off anywhere, and nobody
in the queue waits for a channel that may be asked only so often.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from core import bootstrap
from core.audit import Actor
from core.bootstrap import Application
from core.clock import utc_now
from core.connections import queries
from core.connections.queries import ConnectionRow
from core.db import count_grown_tables, read_only, unit_of_work
from core.errors import Permanent, Retryable, SwitchyardError
from core.logs import bound, mask
from core.messaging import inbox
from core.messaging.doorbell import Lane, lane_lock
from core.messaging.inbox import Incoming
from core.ports import Found, SalesChannel
from core.reconciliation.orders import judging, mentions, staging
from core.reconciliation.orders import runs as order_runs
from core.reconciliation.orders.runs import Run
from core.reconciliation.orders.staging import Reading, Step
from core.runs import operations as runs
from workers import markets
from workers.registry import job

WORKS_SECONDS = 90.0
"""Then others in the queue have their turn."""

ASKED_AT_ONCE = 50
"""Orders that a channel is asked for one by one, in one unit of work."""

GIVEN_UP_AFTER = timedelta(days=2)
"""A run that has come to no end by then never will; the next night's begins anew."""

CLOSES_WITHIN = timedelta(minutes=10)
"""How long a run waits for what it recorded to be booked."""

NIGHTLY = Actor("schedule", "every night the orders of the last days are compared")


@job("reconcile.orders_nightly", queue="reconcile", timeout=60)
def reconcile_all(*, shop_id: int) -> dict[str, Any]:
    """Ask for a run over the last days' orders of every connection of a shop whose orders are read."""
    app = bootstrap.application()
    asked = 0
    with unit_of_work(app.engine) as conn:
        order_runs.forget_ended(conn)
        rows = queries.connections_of(conn, shop_id)
    for row in rows:
        try:
            with unit_of_work(app.engine) as conn:
                run = order_runs.request(conn, row, "schedule", NIGHTLY, utc_now())
        except order_runs.NoOrders:
            continue
        asked += 1
        app.queue.enqueue("reconcile.orders", shop_id=shop_id, connection_id=row.id, sync_run_id=run.sync_run_id)
    return {"connections": asked}


@job("reconcile.orders", queue="reconcile", timeout=600)
def reconcile_orders(*, shop_id: int, connection_id: int, sync_run_id: int) -> dict[str, Any]:
    """Go on with a run over a channel's orders, from wherever it was left."""
    app = bootstrap.application()
    with lane_lock(app.engine, Lane("reconcile.orders", shop_id, connection_id)) as is_held:
        if not is_held:
            return {"busy": True}
        with unit_of_work(app.engine) as conn:
            run = order_runs.of_sync_run(conn, shop_id, sync_run_id)
            if run is None or not runs.start_sync(conn, shop_id, sync_run_id, utc_now()):
                return {"superseded": True}
            row = queries.connection(conn, shop_id, connection_id)
            order_runs.begin(conn, run, row, utc_now())
        with bound(sync_run=sync_run_id):
            return _go_on(app, row, run)


def _go_on(app: Application, row: ConnectionRow, run: Run) -> dict[str, Any]:
    try:
        if row.state != "active":
            return _put_back(app, run, "its connection is paused: it goes on once that is resumed")
        row = markets.known(app, row)
        with app.channel(row) as channel:
            done = Work(app, row, run, channel).go()
    except Retryable as error:
        return _put_back(app, run, mask(str(error)))
    except runs.Stopped as stopped:
        with unit_of_work(app.engine) as conn:
            if not runs.stop_sync(conn, run.shop_id, run.sync_run_id, utc_now()):
                return {"superseded": True}
            order_runs.fail(conn, run, str(stopped), utc_now())
        return {"cancelled": True}
    except Permanent as error:
        with unit_of_work(app.engine) as conn:
            order_runs.fail(conn, run, mask(str(error)), utc_now())
        return {"failed": mask(str(error))}
    except Exception as error:
        with unit_of_work(app.engine) as conn:
            order_runs.fail(conn, run, f"stopped by {type(error).__name__}", utc_now())
        raise
    if done is None:
        return _put_back(app, run, None)
    return done


def _put_back(app: Application, run: Run, why: str | None) -> dict[str, Any]:
    """The sweep of runs rings it again; what only ran out of time is rung at once."""
    now = utc_now()
    with unit_of_work(app.engine) as conn:
        if why is not None and order_runs.requested_at(conn, run) < now - GIVEN_UP_AFTER:
            order_runs.fail(conn, run, f"given up after days: {why}", now)
            return {"failed": why}
        runs.fail_sync(conn, run.shop_id, run.sync_run_id, now, why or "", will_retry=True)
    if why is not None:
        return {"waits": why}
    app.queue.enqueue(
        "reconcile.orders", shop_id=run.shop_id, connection_id=run.connection_id, sync_run_id=run.sync_run_id
    )
    return {"goes_on": True}


class NotItsTurn(Retryable):
    """Sweeps and this take turns with what little the channel may be asked."""

    def __init__(self) -> None:
        super().__init__("the channel may be asked only so often, and is next asked for new orders")


class StillBooked(Retryable):
    """What was recorded has not been booked yet."""

    def __init__(self) -> None:
        super().__init__("what was read once more is being booked")


class _TimeIsUp(SwitchyardError):
    """Of this job: the next one goes on."""


@dataclass
class Work:
    """One job's share of a run. `go` returns what the run counted once it is over, None while there is more to do."""

    app: Application
    row: ConnectionRow
    run: Run
    channel: SalesChannel
    works_seconds: float = WORKS_SECONDS
    _ends_at: float = field(init=False)

    def __post_init__(self) -> None:
        self._ends_at = time.monotonic() + self.works_seconds

    def go(self) -> dict[str, Any] | None:
        """Raises what the channel raises, NotItsTurn and StillBooked: then it is to be gone on with later."""
        steps: dict[Step, Callable[[Reading], dict[str, int] | None]] = {
            "reading": self._read,
            "comparing": self._compare,
            "asking": self._ask,
            "judging": self._judge,
            "healing": self._heal,
            "closing": self._close,
        }
        try:
            while (at := self._reading()) is not None:
                if (counts := steps[at.step](at)) is not None:
                    return counts
        except _TimeIsUp:
            return None
        return {"cancelled": True}

    def _reading(self) -> Reading | None:
        with read_only(self.app.engine) as conn:
            return staging.reading(conn, self.run.shop_id, self.run.id)

    def _turn(self) -> None:
        if time.monotonic() > self._ends_at:
            raise _TimeIsUp

    def _tell(self, conn: Connection, step: str) -> None:
        now = utc_now()
        order_runs.note(conn, self.run, now)
        counted = staging.counts(conn, self.run.shop_id, self.run.id)
        self._go_on(conn, now, counted["orders"] - counted["to_ask"], step, total=counted["orders"])

    def _go_on(self, conn: Connection, now: datetime, done: int, step: str, total: int | None = None) -> None:
        """Say how far it is. Raises runs.Stopped where somebody wants no more of it, or another worker has it."""
        if not runs.progress(conn, self.run.shop_id, self.run.sync_run_id, now, done=done, total=total, step=step):
            raise runs.Stopped("it was stopped among the runs; what it had found stays")

    # --- each step, and where it leads ---------------------------------------------------------------------------

    def _read(self, at: Reading) -> None:
        """Put aside what the channel shows, page by page, until it has shown everything."""
        if self.channel.orders_every is not None:
            self._take_turns()
        since = at.since_at if at.read_to is None else max(at.since_at, at.read_to)
        is_whole = self.channel.orders_every is None
        for page in self.channel.orders_since(since, at.resume, in_background=True):
            with unit_of_work(self.app.engine) as conn:
                now = utc_now()
                taken = staging.take_page(conn, at, page, self.channel.parse, now)
                read = order_runs.note_page(conn, self.run, taken, now)
                self._go_on(conn, now, read, "reading orders")
            if page.told_until is not None:
                is_whole = True
                break
            if self.channel.orders_every is not None:
                # One page, then the sweeps again.
                raise NotItsTurn
            self._turn()
        if not is_whole:
            raise NotItsTurn
        # Whatever it was planned by, it is a table of another size now.
        count_grown_tables(self.app.engine)
        with unit_of_work(self.app.engine) as conn:
            staging.move(conn, at, "comparing")

    def _take_turns(self) -> None:
        with read_only(self.app.engine) as conn:
            if not order_runs.waits_for_its_turn(conn, self.run.shop_id, self.run.connection_id):
                raise NotItsTurn

    def _compare(self, at: Reading) -> None:
        last: str | None = at.at_ref
        while last is not None:
            self._turn()
            with unit_of_work(self.app.engine) as conn:
                last = judging.compare(conn, at, last)
                if last is not None:
                    staging.move(conn, at, "comparing", last)
                    continue
                staging.ask_for(conn, at, self.channel.orders_horizon())
                staging.move(conn, at, "asking")
                self._tell(conn, "asking for single orders")

    def _ask(self, at: Reading) -> None:
        """Ask for what we have and were not shown, one by one: only what the channel then does not have is missing."""
        while True:
            with read_only(self.app.engine) as conn:
                refs = staging.still_to_ask(conn, at, ASKED_AT_ONCE)
            if not refs:
                break
            self._turn()
            found = self._ask_for(at, refs)
            with unit_of_work(self.app.engine) as conn:
                staging.note_gone(conn, at, sorted(set(refs) - found))
                # There, and not readable: its message is parked, and says so itself.
                staging.leave_out(conn, at, sorted(found))
                self._tell(conn, "asking for single orders")
        with unit_of_work(self.app.engine) as conn:
            mentions.note(conn, at.shop_id, at.run_id, at.connection_id, self.channel.parse)
            staging.move(conn, at, "judging")

    def _ask_for(self, at: Reading, refs: list[str]) -> set[str]:
        """Which of them the channel has; each is put aside as it comes. Raises OutOfQuota: the rest is asked later."""
        found: set[str] = set()
        for page in self.channel.orders(refs):
            found |= {ref for ref, _, _ in page}
            with unit_of_work(self.app.engine) as conn:
                staging.stage(conn, at, page, self.channel.parse)
        return found

    def _judge(self, at: Reading) -> None:
        self._write_down(at)
        with unit_of_work(self.app.engine) as conn:
            resolved = judging.close(conn, at, utc_now())
            staging.move(conn, at, "healing")
            self._count(conn, resolved)
            self._tell(conn, "reading once more what is missing here")

    def _write_down(self, at: Reading) -> None:
        last: str | None = at.at_ref
        while last is not None:
            with unit_of_work(self.app.engine) as conn:
                last = judging.judge(conn, at, last, utc_now())
                if last is not None:
                    staging.move(conn, at, at.step, last)

    def _count(self, conn: Connection, resolved: int) -> None:
        order_runs.note_resolved(conn, self.run, resolved)

    def _heal(self, at: Reading) -> None:
        """Record what is missing here into the inbox as a poll does; no mark of polls moves by that."""
        after, healed = at.at_ref, 0
        with read_only(self.app.engine) as conn:
            who = order_runs.asked_by(conn, self.run) if at.refs is not None else "reconciliation"
        while True:
            with read_only(self.app.engine) as conn:
                refs = judging.to_heal(conn, at, after, ASKED_AT_ONCE)
            if not refs:
                break
            self._turn()
            found = [each for page in self.channel.orders(refs) for each in page]
            after = refs[-1]
            with unit_of_work(self.app.engine) as conn:
                record_again(conn, self.row, found, utc_now())
                healed += judging.note_healed(conn, at, [ref for ref, _, _ in found], who, utc_now())
                staging.move(conn, at, "healing", after)
        with unit_of_work(self.app.engine) as conn:
            staging.move(conn, at, "closing", healed_at=utc_now())
        self.app.doorbell.ring(Lane("events", at.shop_id, at.connection_id))

    def _close(self, at: Reading) -> dict[str, int]:
        """Once what was recorded is booked, look again at what differed: the run ends with what is still so."""
        now = utc_now()
        with unit_of_work(self.app.engine) as conn:
            if not judging.is_booked(conn, at) and now < (at.healed_at or now) + CLOSES_WITHIN:
                raise StillBooked
            mentions.note(conn, at.shop_id, at.run_id, at.connection_id, self.channel.parse)
        self._write_down(at)
        with unit_of_work(self.app.engine) as conn:
            self._count(conn, judging.close(conn, at, now))
            counts = {name: int(value) for name, value in staging.counts(conn, at.shop_id, at.run_id).items()}
            counts = {
                "orders": counts["theirs"],
                "differ": counts["real"],
                "on_their_way": counts["in_flight"],
                "resolved": order_runs.resolved(conn, self.run),
            }
            order_runs.finish(conn, self.run, counts, now)
        return counts


def record_again(conn: Connection, row: ConnectionRow, found: list[Found], now: datetime) -> int:
    """Record orders as a poll would, whatever we know of them; returns how many were new to the inbox."""
    messages = [Incoming(f"poll:{ref}:{at.isoformat()}", staging.POLLED, body, None) for ref, at, body in found]
    return inbox.record(conn, row.shop_id, row.id, messages, "poll", now)
