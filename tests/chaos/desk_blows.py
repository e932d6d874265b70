"""Blows against what operations are about: recoveries, comparisons, alerts, tellings, reports, retention, schedules,
and runs that people stop.

A job is stopped where it is to be struck by a lock on what it writes there and nobody else does.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
from collections.abc import Callable
from datetime import date
from typing import Any

import redis

from core.clock import utc_now
from core.db import unit_of_work
from core.runs import scheduling
from tests.chaos.aging import let_time_pass
from tests.chaos.blows import Blow, Struck, kill
from tests.chaos.database import Lock
from tests.chaos.desk import ACTOR
from tests.chaos.field import Drain, Field, NotReached
from tests.chaos.plan import Planned
from tests.chaos.victims import owner_of_port
from workers.replay import DOMAIN

STOPS_SECONDS = 20
OLD_ROWS = 12_000
"""Three batches, less a bit: the second is the one that is cut off."""


def _stopped(on: Field, lock: Lock, worker: str, ring: Callable[[], object]) -> Drain:
    """Ring for a job until a worker's stands still at our lock."""
    for _ in range(3):
        ring()
        _first(on, worker)
        try:
            return on.wait(lambda: on.horse_waiting_for(lock, worker, STOPS_SECONDS), "it stands", STOPS_SECONDS)
        except NotReached:
            continue
    raise NotReached(f"no job of the {worker} worker came to our lock")


def _first(on: Field, queue: str) -> None:
    """What was rung for last has its turn first: everybody waits long enough for the others' locks as it is."""
    with contextlib.suppress(redis.RedisError), on.victims.client() as client:
        client.lmove(f"rq:queue:{queue}", f"rq:queue:{queue}", "RIGHT", "LEFT")


def _strike(on: Field, lock: Lock, worker: str, ring: Callable[[], object], **notes: Any) -> Struck:
    drain = _stopped(on, lock, worker, ring)
    struck = Struck(on.see(row=drain.activity), [drain.pid], notes)
    kill(on, drain.pid)
    return struck


def recovery(on: Field, plan: Planned) -> Struck:
    """A person has failures of all sorts done again; the process dies while it begins them, or while it settles."""
    failed = _let_fail(on, plan)
    step = "begins" if plan.worker_first else "settles"
    recovery_id = on.desk.requeue()
    if recovery_id is None:
        raise NotReached("there was nothing to do again")
    if step == "settles":
        begun = lambda: _released(on, recovery_id) or _recover(on)  # noqa: E731
        on.wait(begun, "something of the recovery has begun", every=1.0)
    with on.filling(), on.database.table_lock("recovery_works") as lock:
        on.sell_until_received()
        return _strike(on, lock, "polls", lambda: on.desk.ring("runs.recover"), step=step, failures=failed)


def _recover(on: Field) -> None:
    with contextlib.suppress(redis.RedisError), on.victims.client() as client:
        on.desk.nudge(client, "runs.recover")


def _released(on: Field, recovery_id: int) -> bool:
    found = on.database.row(
        "select count(*) as works from recovery_works where recovery_id = %(id)s and state <> 'waiting'", id=recovery_id
    )
    return bool(found["works"])


def _let_fail(on: Field, plan: Planned) -> dict[str, int]:
    """Messages that cannot be read, notices that the chat refuses, an audit that is killed; waits until they failed."""
    _poison(on)
    mark = on.desk.say(f"refused {plan.number}")
    with on.desk.listener.mood(mark, "refuses"):
        on.wait(lambda: _dead(on, mark) == 2 or _relay(on), "both refused it", every=1.0)
    with on.database.table_lock("daily_reports", "access exclusive") as lock:
        drain = _stopped(on, lock, "reports", lambda: on.desk.ring("audit.nightly", shop_id=on.shop_id))
        kill(on, drain.pid)
    on.wait(lambda: _open(on, "job") > 0, "the audit's end is on record")
    return {source: _open(on, source) for source in ("job", "message", "outbox")}


def _relay(on: Field) -> None:
    """Have due notices said next, unless the relay waits already."""
    with contextlib.suppress(redis.RedisError), on.victims.client() as client:
        if on.desk.nudge(client, "outbox.relay"):
            _first(on, "polls")


def _poison(on: Field) -> None:
    """Messages of one cause are parked, enough of them to be told of."""
    on.desk.poison()
    on.wait(lambda: _open(on, "message") >= 3, "the poison is parked")


def _dead(on: Field, mark: str) -> int:
    sql = "select count(*) as n from outbox_messages where state = 'dead' and payload ->> 'subject' = %(mark)s"
    return int(on.database.row(sql, mark=mark)["n"])


def _open(on: Field, source: str) -> int:
    sql = "select count(*) as n from failures where shop_id = %(shop)s and source = %(source)s and state = 'open'"
    return int(on.database.row(sql, shop=on.shop_id, source=source)["n"])


def reconciliation(on: Field, plan: Planned) -> Struck:
    """Somebody types a number at Shopify; the comparison that finds it dies while it reads, or while it heals."""
    if not plan.worker_first:
        _type_a_number(on, plan)
    channel = plan.channel if plan.worker_first else "shopify"
    table = "reconciliation_observations" if plan.worker_first else "discrepancies"
    _none_is_open(on, channel)
    with on.filling():
        on.sell_until_received()
        with on.database.table_lock(table) as lock:
            job = on.desk.compare(channel)
            ring = lambda: on.desk.ring("reconcile.stock", **job)  # noqa: E731 (said where it is rung for)
            return _strike(on, lock, "reconcile", ring, channel=channel, table=table)


def _none_is_open(on: Field, channel: str) -> None:
    """Wait until what an earlier blow left of a comparison was handed on and has ended; its silence is made older."""

    def is_free() -> bool:
        found = on.database.row(
            "select count(*) as n from reconciliation_runs r join sync_runs y on y.shop_id = r.shop_id"
            " and y.id = r.sync_run_id where r.connection_id = %(id)s and r.ended_at is null"
            " and y.state in ('queued', 'running')",
            id=getattr(on.pair, channel).id,
        )
        if found["n"]:
            with contextlib.suppress(redis.RedisError), on.victims.client() as client:
                let_time_pass(on.database, client)
                # One of orders has its turn between two polls.
                for job in ("poll.orders", "runs.sweep"):
                    on.desk.nudge(client, job)
        return not found["n"]

    on.wait(is_free, f"no comparison of {channel} is open", every=1.0)


def _type_a_number(on: Field, plan: Planned) -> None:
    levels = on.control.get(f"/shopify/{DOMAIN}/levels")["levels"]
    level = random.Random(plan.number).choice([each for each in levels if each["available"]])
    on.control.post(f"/shopify/{DOMAIN}/adjustment", {"sku": level["sku"], "delta": plan.number % 5 + 1})


def alert_sweep(on: Field, plan: Planned) -> Struck:
    """A cause fails often enough to be told; the look that would open, keep or close its alert dies."""
    _poison(on)
    table = "alert_events" if plan.worker_first and not _alerts(on) else "alerts"
    with on.filling(), on.database.table_lock(table) as lock:
        on.sell_until_received()
        return _strike(on, lock, "polls", lambda: on.desk.ring("sweep.alerts"), table=table)


def _alerts(on: Field) -> int:
    sql = "select count(*) as n from alerts where shop_id = %(shop)s and closed_at is null"
    return int(on.database.row(sql, shop=on.shop_id)["n"])


def telling(on: Field, plan: Planned) -> Struck:
    """The chat or the mail server has a notice, and who waits for its answer dies before that is noted."""
    medium = {"shopify": "slack", "amazon": "mail"}[plan.channel]
    with on.filling():
        on.sell_until_received()
        mark = on.desk.say(medium)
        with on.desk.listener.mood(mark, "holds"):

            def teller() -> int | None:
                port = on.desk.listener.held(mark)
                return None if port is None else owner_of_port(port, on.family("polls"))

            pid = on.wait(lambda: teller() or _relay(on), "it waits for an answer", every=0.5)
            told = on.desk.listener.told[-1]
            struck = Struck(on.see(pid), [pid], {"medium": told.medium})
            kill(on, pid)
    return struck


def deaf_listener(on: Field, plan: Planned) -> Struck:
    """Both who are told put a notice off, or take it and never answer."""
    mood = "puts_off" if plan.answer == "http_500" else "holds"
    with on.filling():
        on.sell_until_received()
        mark = on.desk.say(mood)
        before = on.desk.listener.refused
        with on.desk.listener.mood(mark, mood):  # type: ignore[arg-type]

            def has_tried() -> bool:
                sql = (
                    "select count(*) as n from outbox_messages where payload ->> 'subject' = %(mark)s and attempts > 0"
                )
                return bool(on.database.row(sql, mark=mark)["n"])

            on.wait(lambda: has_tried() or _relay(on), "an attempt came to nothing", every=1.0)
            return Struck(on.see(), [], {"mood": mood, "put_off": on.desk.listener.refused - before})


def report(on: Field, plan: Planned) -> Struck:
    """The day's report is being written down: by the worker after a night, or for a person who asks for an old day."""
    with on.filling(), on.database.table_lock("daily_report_markets") as lock:
        on.sell_until_received()
        if plan.worker_first:
            # A night passes: one more day has closed that the shop was open.
            on.database.run(
                "update shops set created_at = created_at - interval '1 day' where shop_id = %(shop)s", shop=on.shop_id
            )
            ring = lambda: on.desk.ring("reports.daily", shop_id=on.shop_id)  # noqa: E731
            struck = _strike(on, lock, "reports", ring, by="the clock")
        else:
            struck = _report_by_hand(on, lock)
    return struck


def _report_by_hand(on: Field, lock: Lock) -> Struck:
    """A person's own process builds or corrects the report of a day that orders of the file are from."""
    day = _sold_day(on)
    on.desk.note_reports()
    is_built = (day, 1) in on.desk.hashes
    pid = on.desk.write_report(day, corrects=is_built)
    try:
        row = on.wait(
            lambda: next((row for row in on.database.waiting_for(lock) if on.is_of(row, pid)), None),
            "the person's report is being written down",
            STOPS_SECONDS,
        )
        struck = Struck(on.see(row=row), [pid], {"by": "a person", "day": str(day), "corrects": is_built})
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return struck


def _sold_day(on: Field) -> date:
    """A day of the file of which a report is missing or, where each has one, on which more was sold than its says."""
    row = on.database.rows(
        """
        select (o.placed_at at time zone s.time_zone)::date as day, r.id is null as is_new
        from orders o join shops s on s.shop_id = o.shop_id
        left join daily_reports r on r.shop_id = o.shop_id and r.edition = 1
            and r.day = (o.placed_at at time zone s.time_zone)::date
        where o.shop_id = %(shop)s and (r.id is null or o.recorded_at > r.built_at)
        order by 2 desc, o.id desc limit 1
        """,
        shop=on.shop_id,
    )
    if not row:
        raise NotReached("nothing was sold on a day without its report")
    found: date = row[0]["day"]
    return found


def retention(on: Field, plan: Planned) -> Struck:
    """Much is kept too long; who forgets it dies in the middle of a batch."""
    for name, age, count in (("old", "200 days", OLD_ROWS), ("young", "80 days", 5)):
        on.database.run(
            """
            insert into schedule_runs (name, period, started_at, ended_at, due_at, outcome)
            select 'chaos.' || %(name)s, %(number)s || '.' || n, now() - %(age)s::interval + n * interval '1 second',
                now(), now(), 'finished' from generate_series(1, %(count)s) n
            """,
            name=name,
            number=str(plan.number),
            age=age,
            count=count,
        )
    on.desk.old_rows += OLD_ROWS
    on.desk.young_rows += 5
    # In the second batch: the first is gone for good by then.
    held = """
        select from schedule_runs where name = 'chaos.old' and period = (
            select period from schedule_runs where name = 'chaos.old' order by started_at offset 7000 limit 1)
        for update
    """
    with on.filling():
        on.sell_until_received()
        with on.database.locking(held) as lock:
            struck = _strike(on, lock, "reports", lambda: on.desk.ring("runs.prune"))
            left = on.database.row("select count(*) as n from schedule_runs where name = 'chaos.old'")["n"]
    struck.notes["forgotten"] = on.desk.old_rows - left
    return struck


def schedule(on: Field, plan: Planned) -> Struck:
    """A ring dies while it takes its period; or Redis forgets jobs of schedules that wait for their worker."""
    if not plan.worker_first:
        return _forgotten_rings(on)
    worker = ("polls", "events", "stock-check")[plan.number % 3]
    name = {"polls": "runs.recover", "events": "sweep.inbox", "stock-check": "sweep.exposure"}[worker]
    with on.filling(), on.database.table_lock("schedule_runs") as lock:
        on.sell_until_received()
        return _strike(on, lock, worker, lambda: _ask_for_turn(on, name), queue=worker)


def _ask_for_turn(on: Field, name: str) -> None:
    """What a person does at the screen of schedules."""
    with unit_of_work(on.app.engine) as conn:
        scheduling.request_run(conn, on.shop_id, name, ACTOR, utc_now())
    on.desk.ring("schedules.ring")


def _forgotten_rings(on: Field) -> Struck:
    parent = on.wait(lambda: on.victims.kept("polls"), "the polls worker lives")
    with on.filling(), on.victims.client() as client:
        on.sell_until_received()
        os.kill(parent, signal.SIGSTOP)
        try:

            def rings() -> int:
                refs = [ref.decode() for ref in client.lrange("rq:queue:polls", 0, -1)]
                return sum(b"schedule." in (client.hget(f"rq:job:{ref}", "description") or b"") for ref in refs)

            waiting = on.wait(rings, "rings of schedules wait")
            struck = Struck(on.see(), [parent], {"forgotten_rings": waiting})
            client.flushall()
        finally:
            os.kill(parent, signal.SIGCONT)
    return struck


def cancelled_run(on: Field, plan: Planned) -> Struck:
    """A person stops a comparison while it reads, and its process dies before it hears of that."""
    _none_is_open(on, plan.channel)
    with on.filling():
        on.sell_until_received()
        with on.database.table_lock("reconciliation_observations") as lock:
            job = on.desk.compare(plan.channel)
            drain = _stopped(on, lock, "reconcile", lambda: on.desk.ring("reconcile.stock", **job))
            on.desk.stop(job["sync_run_id"])
            struck = Struck(on.see(row=drain.activity), [drain.pid], {"sync_run": job["sync_run_id"]})
            kill(on, drain.pid)
    return struck


def lost_jobs(on: Field, plan: Planned) -> Struck:
    """A worker dies with the job that it has begun, and every other time Redis forgets that there was one."""
    _poison(on)
    with on.filling():
        on.sell_until_received()
        with on.database.table_lock("alerts") as lock, on.victims.client() as client:
            drain = _stopped(on, lock, "polls", lambda: on.desk.ring("sweep.alerts"))
            parent = on.wait(lambda: on.victims.kept("polls"), "the polls worker lives")
            seen = on.see(row=drain.activity)
            hit = on.victims.kill_worker(parent, worker_first=plan.worker_first)
            is_forgotten = plan.answer == "http_500"
            if is_forgotten:
                client.flushall()
    return Struck(seen, hit, {"queue": "polls", "forgotten_by_redis": is_forgotten})


DESK_BLOWS: dict[str, Blow] = {
    "recovery": recovery,
    "reconciliation": reconciliation,
    "alert_sweep": alert_sweep,
    "telling": telling,
    "deaf_listener": deaf_listener,
    "report": report,
    "retention": retention,
    "schedule": schedule,
    "cancelled_run": cancelled_run,
    "lost_jobs": lost_jobs,
}
