"""Every condition of an alert: it is found with whom it concerns, said with what to do, and is over when it is gone."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta
from typing import Any

import pytest
from psycopg.types.json import Jsonb
from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.alerts import operations as alerts
from core.clock import utc_now
from core.db import execute, scalar
from core.recovery import weighing
from core.runs import operations as runs
from core.runs.schedules import SCHEDULES
from tests.alerting import look, newest, notices, open_ones
from tests.factories import ACTOR, NOW, World, adjust_stock, book, later, make_line, make_order, make_world

_numbers = itertools.count(1)


def insert(conn: Connection, table: str, returning: str = "id", **values: Any) -> Any:
    names = ", ".join(values)
    marks = ", ".join(f"%({name})s" for name in values)
    return scalar(conn, f"insert into {table} ({names}) values ({marks}) returning {returning}", **values)


def call(conn: Connection, world: World, outcome: str, at: datetime, status: int | None = 200, **more: Any) -> None:
    insert(
        conn, "api_calls", shop_id=world.shop_id, connection_id=world.connection.id, operation="orders", method="POST",
        status=status, outcome=outcome, elapsed_ms=5, attempt=1, called_at=at, **more,
    )  # fmt: skip


def only(conn: Connection, world: World) -> RowMapping:
    """The one alert that is open."""
    (row,) = open_ones(conn, world.shop_id).values()
    return row


def set_connection(conn: Connection, world: World, **values: Any) -> None:
    pairs = ", ".join(f"{name} = %({name})s" for name in values)
    execute(conn, f"update connections set {pairs} where id = %(id)s", id=world.connection.id, **values)


def steps(conn: Connection, world: World, kind: str, *minutes: float) -> list[str]:
    return [look(conn, world.shop_id, kind, later(minute)) for minute in minutes]


# --- syncs -------------------------------------------------------------------------------------------------------


def test_a_sync_run_that_has_gone_quiet(conn: Connection, world: World) -> None:
    run_id = runs.request_sync(conn, world.shop_id, world.connection.id, "sync_connection", "click", ACTOR, NOW)
    set_connection(conn, world, orders_polled_at=later(200))
    assert steps(conn, world, "stuck_sync", 14) == ["nothing"]
    assert steps(conn, world, "stuck_sync", 16) == ["open"]
    assert "was asked for and nobody has taken it since 12:00, 16 minutes ago" in only(conn, world)["sentence"]
    runs.start_sync(conn, world.shop_id, run_id, later(17))
    runs.progress(conn, world.shop_id, run_id, later(20), done=300, total=1000, step="reading listings")
    assert steps(conn, world, "stuck_sync", 21, 23) == ["clear", "close"]
    assert steps(conn, world, "stuck_sync", 36) == ["open"]
    row = only(conn, world)
    assert row["regressed_from"] is not None
    assert "at the step “reading listings”, with 300 of 1,000 done since 12:20" in row["sentence"]
    assert (row["fingerprint"], row["page"], row["address"]) == (
        f"stuck_sync:{world.connection.id}:sync_connection",
        "runs",
        {"run": str(run_id)},
    )
    runs.finish_sync(conn, world.shop_id, run_id, later(37))
    assert steps(conn, world, "stuck_sync", 38, 40) == ["clear", "close"]


def poll(conn: Connection, world: World, at: datetime) -> None:
    run_id = runs.open_job_run(
        conn, job_ref=f"poll-{next(_numbers)}", function="connection.poll", queue="polls", worker="w", attempt=1,
        arguments={"shop_id": world.shop_id, "connection_id": world.connection.id}, now=at,
    )  # fmt: skip
    runs.close_job_run(conn, run_id, "finished", at, result={"recorded": 0})
    set_connection(conn, world, orders_polled_at=at)


def test_orders_that_are_not_read_to_the_end_for_longer_than_the_channels_own_rhythm(
    conn: Connection, world: World
) -> None:
    assert steps(conn, world, "stuck_sync", 100) == ["nothing"], "its first sync is not done"
    for minute in range(0, 100, 5):
        poll(conn, world, later(minute))
    # Read every five minutes: six times that is more than the quarter of an hour that everybody has.
    assert steps(conn, world, "stuck_sync", 95 + 29) == ["nothing"]
    assert steps(conn, world, "stuck_sync", 95 + 31) == ["open"]
    row = only(conn, world)
    assert row["headline"] == f"Orders of {world.connection.name} have not been read to the end for 31 minutes"
    assert "more than 30 minutes is much longer than its own rhythm" in row["sentence"]
    assert row["severity"] == "danger"
    poll(conn, world, later(127))
    assert steps(conn, world, "stuck_sync", 128, 130) == ["clear", "close"]
    set_connection(conn, world, state="paused")
    assert steps(conn, world, "stuck_sync", 500) == ["nothing"]


# --- failures ----------------------------------------------------------------------------------------------------


def fail(conn: Connection, world: World, at: datetime, function: str = "stock.push") -> int:
    run_id = runs.open_job_run(
        conn, job_ref=f"job-{next(_numbers)}", function=function, queue="stock", worker="w", attempt=1,
        arguments={"shop_id": world.shop_id, "connection_id": world.connection.id}, now=at,
    )  # fmt: skip
    runs.close_job_run(
        conn, run_id, "failed", at, error="Boom: token=shpat_0123456789abcdef0123456789abcdef went", fingerprint="boom"
    )
    return run_id


def test_jobs_that_fail_again_and_again_of_one_cause(conn: Connection, world: World) -> None:
    adjust_stock(conn, world, "MUG", -2)
    for minute in (0, 100, 101):
        fail(conn, world, later(minute))
    assert steps(conn, world, "repeated_failure", 102) == ["nothing"], "two within an hour, and one long before"
    fail(conn, world, later(103))
    assert steps(conn, world, "repeated_failure", 104) == ["open"]
    row = only(conn, world)
    assert row["headline"] == f"Sending quantities failed 4 times for {world.connection.name}"
    assert (row["connection_id"], row["skus"], row["units"], row["orders"]) == (world.connection.id, 1, 2, 0)
    assert "shpat_" not in row["sentence"]
    assert row["address"] == {"cause": "boom", "function": "stock.push"}
    assert steps(conn, world, "repeated_failure", 2000) == ["keep"], "nobody has done anything about it"
    done = runs.open_job_run(
        conn, job_ref="again", function="stock.push", queue="stock", worker="w", attempt=1,
        arguments={"shop_id": world.shop_id, "connection_id": world.connection.id}, now=later(2001),
    )  # fmt: skip
    runs.close_job_run(conn, done, "finished", later(2001), result={})
    assert steps(conn, world, "repeated_failure", 2002, 2004) == ["clear", "close"]


def test_jobs_that_fail_say_which_orders_they_are_about_and_what_waits_behind_them(
    conn: Connection, world: World
) -> None:
    """As the page of their cause says it, not what waits for the channel anyway."""
    adjust_stock(conn, world, "MUG", -2)
    for number in range(3):
        run = fail(conn, world, later(number), "orders.read")
        execute(
            conn,
            """
            insert into failure_orders (shop_id, source, item_id, connection_id, order_ref)
            select %(shop)s, 'job', %(run)s, %(connection)s, unnest(%(refs)s::text[])
            """,
            shop=world.shop_id, run=run, connection=world.connection.id, refs=["A-x", f"A-{number}"],
        )  # fmt: skip
        fail(conn, world, later(number), "inbox.drain")
    execute(conn, "update failures set is_weighed = true")
    weighing.add_up(conn, later(4))
    insert(
        conn, "inbox_messages", shop_id=world.shop_id, connection_id=world.connection.id, delivery_id="d",
        topic="orders/updated", road="webhook", body=b"", received_at=NOW, state="received",
    )  # fmt: skip
    look(conn, world.shop_id, "repeated_failure", later(5))
    read, drained = sorted(open_ones(conn, world.shop_id).values(), key=lambda row: -row["orders"])
    assert read["headline"] == f"Reading single orders failed 3 times for {world.connection.name}"
    assert (read["orders"], read["skus"], read["units"]) == (4, 0, 0)
    assert (drained["orders"], drained["skus"], drained["units"]) == (0, 0, 0)
    assert "1 message waits to be handled." in drained["sentence"]


def test_messages_parked_of_one_cause_and_dead_notices(conn: Connection, world: World) -> None:
    for number in range(3):
        insert(
            conn, "inbox_messages", shop_id=world.shop_id, connection_id=world.connection.id, delivery_id=str(number),
            topic="orders/updated", road="webhook", body=b"", received_at=later(number), state="parked",
            cause="unreadable", detail="orders.3: bob@example.com is no number", settled_at=later(number),
        )  # fmt: skip
    insert(
        conn, "outbox_messages", shop_id=world.shop_id, kind="notice", dedupe_key="x", payload=Jsonb({}), state="dead",
        next_attempt_at=NOW, created_at=NOW, settled_at=NOW, last_error="status 404",
    )  # fmt: skip
    look(conn, world.shop_id, "repeated_failure", later(5))
    found = open_ones(conn, world.shop_id)
    parked = next(row for name, row in found.items() if ":message:" in name)
    dead = next(row for name, row in found.items() if ":outbox:" in name)
    assert parked["headline"] == f"3 messages of {world.connection.name} are parked: unreadable"
    assert parked["orders"] == 3
    assert "bob@" not in parked["sentence"]
    assert dead["headline"] == "1 message of the kind notice could not be delivered"
    assert (parked["severity"], dead["severity"]) == ("danger", "attention")
    execute(conn, "update inbox_messages set state = 'handled', cause = null where shop_id = %(s)s", s=world.shop_id)
    execute(conn, "update outbox_messages set state = 'sent' where dedupe_key = 'x'")
    assert steps(conn, world, "repeated_failure", 6, 8) == ["clear", "close"]
    assert open_ones(conn, world.shop_id) == {}


# --- backlogs ----------------------------------------------------------------------------------------------------


def arrive(conn: Connection, world: World, number: int, at: datetime) -> None:
    execute(
        conn,
        """
        insert into inbox_messages (shop_id, connection_id, delivery_id, topic, road, body, received_at)
        select %(shop)s, %(connection)s, %(at)s::text || ':' || n, 'orders/updated', 'webhook', '', %(at)s
        from generate_series(1, %(number)s) n
        """,
        shop=world.shop_id,
        connection=world.connection.id,
        number=number,
        at=at,
    )


def handle(conn: Connection, world: World, number: int, at: datetime) -> None:
    execute(
        conn,
        """
        with taken as (
            select id from inbox_messages where shop_id = %(shop)s and state = 'received' order by id limit %(number)s
        ), tallied as (
            insert into tallies (kind, connection_id, name, outcome, events)
            select 'inbox', %(connection)s, '', 'handled', count(*) from taken
        )
        update inbox_messages m set state = 'handled', settled_at = %(at)s from taken
        where m.shop_id = %(shop)s and m.id = taken.id
        """,
        shop=world.shop_id,
        connection=world.connection.id,
        number=number,
        at=at,
    )


def test_a_backlog_that_grows_says_the_minute_at_which_it_is_dangerous(conn: Connection, world: World) -> None:
    alerts.set_rule(conn, world.shop_id, "backlog", ACTOR, NOW, numbers={"dangerous_size": 1000})
    came = []
    for minute in range(6):
        arrive(conn, world, 100, later(minute))
        handle(conn, world, 60, later(minute))
        came += steps(conn, world, "backlog", minute)
    # 40 more wait each minute: 120 at the third look, and a rate is known from the fourth on.
    assert came == ["nothing", "nothing", "nothing", "open", "keep", "keep"]
    row = only(conn, world)
    assert row["fingerprint"] == f"backlog:{world.connection.id}:events"
    # 240 wait at 12:05; (1,000 - 240) / 40 = 19 minutes.
    assert row["headline"] == (
        f"240 messages of {world.connection.name} wait to handle; at this rate 1,000 wait at 12:24"
    )
    assert row["sentence"].startswith("60.0 are handled a minute, 100.0 arrive. The oldest has waited since 12:")
    assert row["severity"] == "attention"
    for minute in range(6, 12):
        handle(conn, world, 60, later(minute))
        steps(conn, world, "backlog", minute)
    assert "wait" not in [row["state"] for row in open_ones(conn, world.shop_id).values()]
    assert steps(conn, world, "backlog", 18) == ["close"]
    assert notices(conn, world.shop_id)[-1].count("Over: ") == 1


def test_a_backlog_that_is_dangerous_says_so_and_when_it_is_worked_off(conn: Connection, world: World) -> None:
    alerts.set_rule(
        conn, world.shop_id, "backlog", ACTOR, NOW, numbers={"dangerous_minutes": 30, "dangerous_size": 5000}
    )
    arrive(conn, world, 400, later(-31))
    assert steps(conn, world, "backlog", 0) == ["open"]
    row = only(conn, world)
    assert "400 messages" in row["headline"]
    assert row["headline"].endswith("the oldest waits for 30 minutes: that is dangerous")
    assert row["severity"] == "danger"
    for minute in range(1, 5):
        handle(conn, world, 50, later(minute))
        steps(conn, world, "backlog", minute)
    row = only(conn, world)
    assert "50.0 are handled a minute, 0.0 arrive." in row["sentence"]
    assert row["sentence"].endswith("At this rate it is worked off at 12:08.")
    handle(conn, world, 400, later(5))
    assert steps(conn, world, "backlog", 5, 9, 10) == ["clear", "clear", "close"]


def test_quantities_that_wait_to_be_written_are_a_backlog_too(conn: Connection) -> None:
    world = make_world(conn, {f"SKU-{number}": 10 for number in range(30)})
    alerts.set_rule(conn, world.shop_id, "backlog", ACTOR, NOW, numbers={"dangerous_size": 25, "least_waiting": 5})
    for minute in range(5):
        for number in range(5 * minute, 5 * minute + 5):
            adjust_stock(conn, world, f"SKU-{number}", -1)
        steps(conn, world, "backlog", minute)
    row = only(conn, world)
    assert row["fingerprint"] == f"backlog:{world.connection.id}:stock"
    assert row["headline"].startswith(f"25 quantities of {world.connection.name} wait to write; 25 wait")
    assert (row["skus"], row["units"]) == (25, 25)
    execute(conn, "update listings set published_units = desired_units - short_units")
    assert steps(conn, world, "backlog", 5, 10, 11) == ["clear", "close", "nothing"]


# --- silence -----------------------------------------------------------------------------------------------------


def hear(conn: Connection, world: World, weeks: int, per_hour: int, hours: tuple[int, int] = (8, 20)) -> None:
    """Messages by the hour of so many weeks up to the tests' present, by day."""
    execute(
        conn,
        """
        insert into heard_hours (shop_id, connection_id, hour_at, messages)
        select %(shop)s, %(connection)s, h,
            case when extract(hour from h at time zone 'Europe/London') between %(first)s and %(last)s - 1
                then %(number)s else 0 end
        from generate_series(%(from)s, %(to)s - interval '1 hour', interval '1 hour') h
        """,
        shop=world.shop_id,
        connection=world.connection.id,
        number=per_hour,
        first=hours[0],
        last=hours[1],
        **{"from": NOW - timedelta(weeks=weeks), "to": NOW},
    )
    arrive(conn, world, 1, NOW)


def listening(conn: Connection, world: World, minute: float) -> str:
    set_connection(conn, world, orders_polled_at=later(minute - 1))
    return look(conn, world.shop_id, "silence", later(minute))


def test_a_channel_is_silent_that_never_is_at_this_hour_of_the_week(conn: Connection, world: World) -> None:
    hear(conn, world, weeks=5, per_hour=30)
    assert [listening(conn, world, minute) for minute in (20, 35)] == ["nothing", "nothing"]
    assert listening(conn, world, 45) == "open"
    row = only(conn, world)
    assert row["headline"] == f"{world.connection.name} has been silent for 45 minutes"
    assert row["sentence"] == (
        "Nothing came from it since 12:00. Usual from 12:00 on a Monday to now are 22 to 22 messages, by the last"
        " 5 weeks. 1 SKU is for sale there."
    )
    arrive(conn, world, 1, later(50))
    assert listening(conn, world, 51) == "close"


def test_no_alarm_at_night(conn: Connection, world: World) -> None:
    hear(conn, world, weeks=5, per_hour=30)
    arrive(conn, world, 1, later(8 * 60))
    # Silent from 20:00, as every night; at 08:00 thirty an hour would be usual again.
    assert listening(conn, world, 19 * 60) == "nothing"
    assert listening(conn, world, 20 * 60 + 30) == "nothing"
    assert listening(conn, world, 20 * 60 + 45) == "open"


def test_with_too_little_history_nothing_is_known_and_nothing_is_said(conn: Connection, world: World) -> None:
    hear(conn, world, weeks=2, per_hour=500)
    assert listening(conn, world, 300) == "nothing"
    alerts.set_rule(conn, world.shop_id, "silence", ACTOR, NOW, numbers={"least_weeks": 2})
    assert listening(conn, world, 300) == "open"
    alerts.set_rule(conn, world.shop_id, "silence", ACTOR, NOW, numbers={"least_weeks": 4})
    assert listening(conn, world, 301) == "unknown", "and what is open stays open"


def test_silence_is_not_told_of_while_it_may_be_ours(conn: Connection, world: World) -> None:
    hear(conn, world, weeks=5, per_hour=30)
    set_connection(conn, world, orders_polled_at=later(-60))
    assert steps(conn, world, "silence", 60) == ["nothing"]
    assert listening(conn, world, 60) == "open"
    set_connection(conn, world, orders_polled_at=later(60))
    assert steps(conn, world, "silence", 90) == ["unknown"]


def test_nobody_is_blamed_for_the_time_that_we_were_away(conn: Connection, world: World) -> None:
    hear(conn, world, weeks=5, per_hour=30)
    for minute in range(0, 100, 5):
        poll(conn, world, later(minute - 100))
    run_id = runs.request_sync(conn, world.shop_id, world.connection.id, "sync_connection", "click", ACTOR, NOW)
    ran(conn, later(0))
    # Down for a quarter of a day, by day; up again a minute ago.
    back = 6 * 60.0
    ran(conn, later(back), since=timedelta(minutes=1))
    assert steps(conn, world, "stuck_sync", back) == ["nothing"]
    assert listening(conn, world, back) == "nothing"
    ran(conn, later(back + 40), since=timedelta(minutes=40))
    assert steps(conn, world, "stuck_sync", back + 40) == ["open"], "now it had its chance"
    assert str(run_id) in str(open_ones(conn, world.shop_id)[f"stuck_sync:{world.connection.id}:sync_connection"])
    ran(conn, later(back + 46), since=timedelta(minutes=46))
    assert listening(conn, world, back + 46) == "open"
    silent = open_ones(conn, world.shop_id)[f"silence:{world.connection.id}"]
    assert silent["headline"] == f"{world.connection.name} has been silent for 47 minutes"
    # Away again: what was wrong is not known to be over.
    back += 200
    ran(conn, later(back), since=timedelta(minutes=1))
    assert listening(conn, world, back) == "unknown"
    steps(conn, world, "stuck_sync", back)
    assert open_ones(conn, world.shop_id)[f"stuck_sync:{world.connection.id}:sync_connection"]["unknown_since"]


def test_hours_are_counted_once_each_as_they_end_and_a_past_is_caught_up_with(conn: Connection, world: World) -> None:
    for hours in (1, 2, 24 * 8, 24 * 20):
        arrive(conn, world, hours, later(-60 * hours + 5))
    for minute in (0, 1, 2, 3, 6, 7):
        look(conn, world.shop_id, "silence", later(minute))
    found = scalar(
        conn,
        "select array_agg(messages order by hour_at) filter (where messages > 0) || array[count(*)]"
        " from heard_hours where shop_id = %(shop)s",
        shop=world.shop_id,
    )
    assert found == [24 * 20, 24 * 8, 2, 1, 24 * 20], "every hour since the first is on record, those of no message too"


# --- channels ----------------------------------------------------------------------------------------------------


def test_no_call_to_a_channel_succeeds(conn: Connection, world: World) -> None:
    adjust_stock(conn, world, "MUG", -3)
    call(conn, world, "ok", later(0))
    for number in range(8):
        call(conn, world, "error", later(1 + number / 10), 503, error="the vendor's word")
    assert steps(conn, world, "connection_failing", 2.9) == ["nothing"], "for less than two minutes"
    assert steps(conn, world, "connection_failing", 3) == ["open"]
    row = only(conn, world)
    assert row["headline"] == f"No call to {world.connection.name} succeeds"
    assert row["sentence"].startswith(
        "8 calls failed since 12:01, 2 minutes; the last that succeeded was at 12:00. The newest: status 503,"
        " the vendor's word. 1 number waits to be written there."
    )
    assert (row["skus"], row["units"], row["page"]) == (1, 3, "calls")
    for minute in range(11, 400):
        call(conn, world, "unknown", later(minute), None)
    assert steps(conn, world, "connection_failing", 60, 61) == ["keep", "worse"], "within an hour nothing is new"
    assert "since 12:01" in only(conn, world)["sentence"]
    call(conn, world, "ok", later(401))
    assert steps(conn, world, "connection_failing", 402, 405) == ["clear", "close"]


def test_where_no_call_is_made_nothing_is_known(conn: Connection, world: World) -> None:
    assert steps(conn, world, "connection_failing", 0) == ["nothing"]
    for minute in range(6):
        call(conn, world, "error", later(minute), 500)
    assert steps(conn, world, "connection_failing", 12) == ["open"]
    assert steps(conn, world, "connection_failing", 2 * 1440) == ["unknown"], "a dead worker heals no channel"
    call(conn, world, "throttled", later(2 * 1440), 429)
    assert steps(conn, world, "connection_failing", 2 * 1440 + 1) == ["unknown"]


def test_refused_credentials(conn: Connection, world: World) -> None:
    for minute in range(3):
        call(conn, world, "refused", later(minute), 401, error="Invalid API key")
    assert steps(conn, world, "refused_credential", 3) == ["open"]
    row = only(conn, world)
    assert "3 calls were refused since 12:00 and none accepted: Invalid API key." in row["sentence"]
    assert row["page"] == "connections"
    call(conn, world, "ok", later(4))
    assert steps(conn, world, "refused_credential", 5, 7) == ["clear", "close"]
    assert steps(conn, world, "refused_credential", 500) == ["nothing"]


def test_pausing_a_channel_heals_nothing_and_resuming_it_tells_anew(conn: Connection, world: World) -> None:
    for minute in range(3):
        call(conn, world, "refused", later(minute), 401)
    assert steps(conn, world, "refused_credential", 3) == ["open"]
    set_connection(conn, world, state="paused")
    assert steps(conn, world, "refused_credential", 4, 5) == ["close", "nothing"]
    assert newest(conn, world.shop_id)["closed_because"] == "paused"
    assert "its channel is paused, and nothing is known of it meanwhile" in notices(conn, world.shop_id)[-1]
    set_connection(conn, world, state="active")
    assert steps(conn, world, "refused_credential", 6) == ["open"]
    assert newest(conn, world.shop_id)["regressed_from"] is None


def test_credentials_stay_refused_until_a_call_is_accepted_however_seldom_one_is_made(
    conn: Connection, world: World
) -> None:
    for minute in range(3):
        call(conn, world, "refused", later(minute), 401)
    assert steps(conn, world, "refused_credential", 3) == ["open"]
    call(conn, world, "refused", later(50), 401)
    assert steps(conn, world, "refused_credential", 55) == ["unknown"], "one in the window, and that was refused too"
    call(conn, world, "throttled", later(85), 429)
    assert steps(conn, world, "refused_credential", 90, 120) == ["unknown", "unknown"]
    call(conn, world, "ok", later(121))
    assert steps(conn, world, "refused_credential", 122, 124) == ["clear", "close"]


def test_an_access_token_that_is_not_renewed(conn: Connection, world: World) -> None:
    execute(
        conn,
        "insert into connection_tokens values (%(shop)s, %(id)s, '', %(renew)s, %(ends)s)",
        shop=world.shop_id,
        id=world.connection.id,
        renew=later(0),
        ends=later(60),
    )
    assert steps(conn, world, "token_ending", 30) == ["nothing"], "nobody has needed it since"
    call(conn, world, "ok", later(20))
    assert steps(conn, world, "token_ending", 30) == ["open"]
    assert f"of {world.connection.name} ends at 13:00 and is not renewed" in only(conn, world)["headline"]
    assert steps(conn, world, "token_ending", 61) == ["worse"], "it has ended"
    execute(conn, "update connection_tokens set renew_at = %(renew)s", renew=later(500))
    assert steps(conn, world, "token_ending", 62) == ["close"]


def test_a_subscription_that_is_lost_or_refused(conn: Connection, world: World) -> None:
    def stand(state: str, **more: Any) -> None:
        execute(conn, "delete from channel_subscriptions where shop_id = %(shop)s", shop=world.shop_id)
        insert(
            conn, "channel_subscriptions", "topic", shop_id=world.shop_id, connection_id=world.connection.id,
            topic="orders/create", state=state, checked_at=NOW, **more,
        )  # fmt: skip

    stand("standing")
    assert steps(conn, world, "subscription", 0) == ["nothing"]
    stand("missing", missed_at=later(-3))
    assert steps(conn, world, "subscription", 1) == ["open"]
    row = only(conn, world)
    assert row["headline"] == f"{world.connection.name} does not call us for 1 topic"
    assert "Such as orders/create. Gone since 11:57." in row["sentence"]
    stand("refused", problem="needs read_orders")
    assert steps(conn, world, "subscription", 2) == ["keep"]
    assert only(conn, world)["sentence"].startswith("It says: needs read_orders.")
    stand("standing")
    assert steps(conn, world, "subscription", 3) == ["close"]


def test_versions_that_end_and_warnings_of_the_channel(conn: Connection, world: World) -> None:
    now = utc_now()

    def at(days: float) -> str:
        return look(conn, world.shop_id, "deprecation", now + timedelta(days=days))

    version = f"{now.year}-{now.month:02d}"
    call(conn, world, "ok", now, asked_version=version, api_version=version)
    assert [at(0), at(280)] == ["nothing", "nothing"]
    assert at(330) == "open"
    row = only(conn, world)
    assert row["headline"].startswith(f"{world.connection.name} supports the version we speak until {now.year + 1}-")
    assert (row["severity"], row["fingerprint"]) == ("attention", f"deprecation:{world.connection.id}:version")
    assert at(331) == "keep"
    newer = now + timedelta(seconds=1)
    call(conn, world, "ok", newer, asked_version="2020-01", api_version=version, deprecation="orders ends soon")
    at(0)
    found = open_ones(conn, world.shop_id)
    forward = found[f"deprecation:{world.connection.id}:forward"]
    assert forward["severity"] == "danger"
    assert f"Asked for 2020-01, it answers with {version}" in forward["sentence"]
    assert "It says: orders ends soon." in found[f"deprecation:{world.connection.id}:calls"]["sentence"]
    call(conn, world, "ok", newer + timedelta(seconds=1), asked_version=version, api_version=version)
    at(3)
    assert open_ones(conn, world.shop_id) == {}


def test_a_warning_ends_when_what_it_was_about_is_called_without_one(conn: Connection, world: World) -> None:
    now = utc_now() - timedelta(days=6)

    def at(days: float) -> str:
        return look(conn, world.shop_id, "deprecation", now + timedelta(days=days))

    call(conn, world, "ok", now, asked_version="x", api_version="x", deprecation="orders ends soon")
    assert at(0) == "open"
    assert at(3) == "unknown", "nobody called anything: a weekend, or we were away"
    insert(
        conn, "api_calls", shop_id=world.shop_id, connection_id=world.connection.id, operation="products",
        method="GET", status=200, outcome="ok", elapsed_ms=5, attempt=1, called_at=now + timedelta(days=3),
        asked_version="x", api_version="x",
    )  # fmt: skip
    assert at(3.5) == "unknown", "it was about something else"
    for number in range(200):
        call(conn, world, "error", now + timedelta(days=4, seconds=number), 500)
    assert at(4.5) == "unknown", "a channel that fails names no version"
    call(conn, world, "ok", now + timedelta(days=5), asked_version="x", api_version="x")
    assert at(5.5) == "close"


# --- machinery ---------------------------------------------------------------------------------------------------


def period(
    conn: Connection, name: str, key: str, at: datetime, outcome: str | None = "finished", **result: Any
) -> None:
    insert(
        conn, "schedule_runs", "name", name=name, period=key, started_at=at, outcome=outcome,
        ended_at=at if outcome else None, result=Jsonb(result),
    )  # fmt: skip


def test_a_broken_audit_is_open_until_a_clean_one(conn: Connection, world: World) -> None:
    def audit(day: int, outcome: str, **result: Any) -> None:
        period(
            conn, "audit.nightly", f"2024-03-0{day}:shop:{world.shop_id}", later(1440 * (day - 5)), outcome, **result
        )

    other = make_world(conn)
    period(conn, "audit.nightly", f"2024-03-01:shop:{other.shop_id}", later(-1440 * 4), violations=9)
    assert steps(conn, world, "audit", 0) == ["nothing"], "another shop's"
    audit(1, "finished", violations=0, broken={})
    assert steps(conn, world, "audit", 0) == ["nothing"]
    audit(2, "finished", violations=12, broken={"level_is_sum_of_movements": 12})
    assert steps(conn, world, "audit", 0) == ["open"]
    row = only(conn, world)
    assert row["headline"] == "The audit found 12 rows that break an invariant"
    assert row["sentence"].startswith("level is sum of movements (12). Found at 2024-03-01 12:00")
    audit(3, "failed")
    assert steps(conn, world, "audit", 1) == ["unknown"], "an audit that could not be made is not a clean one"
    audit(4, "finished", violations=0, broken={})
    assert steps(conn, world, "audit", 2) == ["close"]


def ran(conn: Connection, now: datetime, but: str = "", since: timedelta = timedelta(hours=1)) -> None:
    """Every schedule has just run, and the sweep of alerts every minute."""
    for schedule in SCHEDULES:
        if schedule.name != but and schedule.name != "sweep.alerts":
            suffix = f":shop:{_shop(conn)}" if schedule.daily_after_hour is not None else ""
            period(conn, schedule.name, f"{now.timestamp()}{suffix}", now)
    minutes = round(since.total_seconds() / 60)
    for minute in range(minutes + 1):
        at = now - timedelta(minutes=minute)
        execute(
            conn,
            "insert into schedule_runs (name, period, started_at) values ('sweep.alerts', %(key)s, %(at)s)"
            " on conflict do nothing",
            key=str(at.timestamp()),
            at=at,
        )


def _shop(conn: Connection) -> int:
    return int(scalar(conn, "select max(shop_id) from shops"))


def test_a_schedule_that_does_not_run(conn: Connection, world: World) -> None:
    assert steps(conn, world, "schedule", 0) == ["nothing"], "where nothing runs by the clock nobody can tell"
    ran(conn, later(0))
    assert steps(conn, world, "schedule", 1) == ["nothing"]
    ran(conn, later(120), but="poll.orders", since=timedelta(hours=2))
    assert steps(conn, world, "schedule", 120) == ["open"]
    row = only(conn, world)
    assert row["headline"] == "The schedule poll.orders does not run"
    assert "poll.orders (ask every channel for changed orders): last at 12:00." in row["sentence"]
    insert(conn, "schedules", "name", name="poll.orders", is_paused=True, changed_by="Ada", changed_at=NOW)
    assert steps(conn, world, "schedule", 121) == ["clear"], "it is paused, and that is somebody's wish"
    execute(conn, "update schedules set is_paused = false, changed_at = %(at)s", at=later(121.2))
    assert steps(conn, world, "schedule", 121.4) == ["clear"], "resumed a moment ago: it could not run before"
    execute(conn, "delete from schedules")
    assert steps(conn, world, "schedule", 122) == ["keep"]
    period(conn, "poll.orders", "again", later(122.5))
    assert steps(conn, world, "schedule", 122.6, 122.9) == ["clear", "clear"]


def test_after_a_pause_of_everything_each_schedule_has_its_chance_first(conn: Connection, world: World) -> None:
    ran(conn, later(0))
    day = 1440.0
    ran(conn, later(day + 5), but="audit.nightly", since=timedelta(minutes=5))
    execute(conn, "delete from schedule_runs where name = 'poll.orders'")
    assert steps(conn, world, "schedule", day + 5) == ["nothing"]
    ran(conn, later(day + 40), but="poll.orders", since=timedelta(minutes=35))
    assert steps(conn, world, "schedule", day + 40) == ["open"]
    assert "poll.orders (ask every channel for changed orders): never." in only(conn, world)["sentence"]


# --- oversells ---------------------------------------------------------------------------------------------------


def test_what_was_oversold_is_told_with_its_order_until_it_is_made_good(conn: Connection, world: World) -> None:
    assert steps(conn, world, "oversold", 0) == ["nothing"]
    book(conn, world, make_order("1001", [make_line(units=13)]))
    assert steps(conn, world, "oversold", 1) == ["open"]
    row = only(conn, world)
    assert row["headline"] == "3 units were oversold, of 1 SKU"
    assert f"MUG (3, order #1001 of {world.connection.name})" in row["sentence"]
    assert (row["skus"], row["units"], row["orders"]) == (1, 3, 1)
    adjust_stock(conn, world, "MUG", 5)
    assert steps(conn, world, "oversold", 2) == ["close"]


@pytest.mark.parametrize("kind", ["stuck_change", "slow_feed", "unshown_feed", "unconfirmed_shipment"])
def test_where_nothing_is_wrong_nothing_is_found(conn: Connection, world: World, kind: str) -> None:
    assert steps(conn, world, kind, 0) == ["nothing"]
