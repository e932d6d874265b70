"""What the views of the Jobs screen count: lanes in and out, failures and what made them moot, once for each shop."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Connection

from core import measures
from core.db import execute, fetch
from tests.dashboard import seed

pytestmark = pytest.mark.usefixtures("settings")


def lanes(conn: Connection, connection_id: int) -> dict[str, int]:
    rows = fetch(conn, "select kind, waiting from job_lanes where connection_id = %(c)s", c=connection_id)
    return {row["kind"]: row["waiting"] for row in rows}


def minutes(conn: Connection, connection_id: int, kind: str, field: str) -> dict[int, int | None]:
    """What is not zero, by minute ago."""
    rows = fetch(
        conn,
        f"select minute, {field} as n from job_lane_minutes where connection_id = %(c)s and kind = %(k)s",
        c=connection_id,
        k=kind,
    )
    assert len(rows) == 60
    return {row["minute"]: row["n"] for row in rows if row["n"] != 0}


def test_messages_are_counted_when_they_come_and_when_they_are_settled(conn: Connection) -> None:
    shop = seed.shop(conn)
    c = seed.connection(conn, shop)
    other = seed.connection(conn, shop, "Other")
    seed.message(conn, shop, c, seed.ago(minutes=10, seconds=30), settled_at=seed.ago(minutes=3, seconds=30))
    seed.message(conn, shop, c, seed.ago(minutes=3, seconds=30), settled_at=seed.ago(seconds=30))
    seed.message(conn, shop, c, seed.ago(minutes=2, seconds=30), "received")
    seed.message(conn, shop, c, seed.ago(hours=3), settled_at=seed.ago(hours=2))
    seed.message(conn, shop, other, seed.ago(minutes=5, seconds=30), "received")
    assert minutes(conn, c, "events", "arrived") == {2: 1, 3: 1, 10: 1}
    assert minutes(conn, c, "events", "drained") == {0: 1, 3: 1}
    assert minutes(conn, other, "events", "drained") == {}
    assert lanes(conn, c) == {"events": 1, "stock": 0, "stock-check": 0}


def test_a_backlog_of_yesterday_counts_as_drained_now(conn: Connection) -> None:
    shop = seed.shop(conn)
    c = seed.connection(conn, shop)
    yesterday = seed.ago(days=1)
    for number in range(3):
        seed.message(conn, shop, c, yesterday + timedelta(seconds=number), settled_at=seed.ago(seconds=30))
    seed.message(conn, shop, c, yesterday + timedelta(seconds=9), "received")
    assert minutes(conn, c, "events", "drained") == {0: 3}
    assert minutes(conn, c, "events", "arrived") == {}


def test_a_message_in_the_hour_before_the_head_is_counted_once(conn: Connection) -> None:
    shop = seed.shop(conn)
    c = seed.connection(conn, shop)
    seed.message(conn, shop, c, seed.ago(minutes=9, seconds=30), settled_at=seed.ago(minutes=1, seconds=30))
    seed.message(conn, shop, c, seed.ago(minutes=8, seconds=30), "received")
    assert minutes(conn, c, "events", "drained") == {1: 1}
    assert minutes(conn, c, "events", "arrived") == {8: 1, 9: 1}


def test_what_lies_beyond_the_cap_is_unknown_not_zero(conn: Connection) -> None:
    shop = seed.shop(conn)
    c = seed.connection(conn, shop)
    execute(
        conn,
        """
        insert into inbox_messages (shop_id, connection_id, delivery_id, topic, road, body, received_at, state)
        select %(s)s, %(c)s, 'many-' || n, 'orders/create', 'webhook', ''::bytea, now() - n * interval '0.1 second',
            'received'
        from generate_series(1, 5000) n
        """,
        s=shop,
        c=c,
    )
    arrived = minutes(conn, c, "events", "arrived")
    # As time goes on, the first of them leave the newest minute.
    assert 0 < (arrived[0] or 0) <= 600
    assert arrived[30] is None
    assert arrived[59] is None


def steps(conn: Connection, connection_id: int, field: str) -> dict[int, int | None]:
    """Of messages, what is not zero, by steps of ten seconds ago."""
    rows = fetch(
        conn,
        f"select step, {field} as n from job_lane_steps where connection_id = %(c)s and kind = 'events'",
        c=connection_id,
    )
    assert len(rows) == 30
    return {row["step"]: row["n"] for row in rows if row["n"] != 0}


def test_all_that_a_backlog_had_done_counts_also_when_it_was_folded(conn: Connection) -> None:
    shop = seed.shop(conn)
    c = seed.connection(conn, shop)
    for seconds, events in ((5, 4000), (6, 5000), (95, 7000), (290, 1), (400, 9), (1000, 11), (4000, 13)):
        execute(
            conn,
            "insert into tallies (kind, connection_id, name, outcome, events, at)"
            " values ('inbox', %(c)s, '', 'handled', %(n)s, now() - %(s)s * interval '1 second')",
            c=c,
            n=events,
            s=seconds,
        )
    before = steps(conn, c, "drained")
    # As time goes on, each may be a step further back.
    assert sum(before.values()) == 16_001
    assert before[min(before)] in (4000, 9000)
    assert measures.fold(conn) == 3
    assert steps(conn, c, "drained").keys() <= before.keys() | {step + 1 for step in before}
    assert sum(minutes(conn, c, "events", "drained").values()) == 16_021, "what is older than an hour is a sum"
    assert sum(row["events"] for row in fetch(conn, "select events from tallies")) == 16_034


def test_more_than_is_looked_at_in_ten_seconds_is_a_rate_all_the_same(conn: Connection) -> None:
    shop = seed.shop(conn)
    c = seed.connection(conn, shop)
    execute(
        conn,
        """
        insert into inbox_messages (shop_id, connection_id, delivery_id, topic, road, body, received_at, state)
        select %(s)s, %(c)s, 'many-' || n, 'orders/create', 'webhook', ''::bytea, clock_timestamp()
            + interval '1 second' - n * interval '0.5 milliseconds', 'received'
        from generate_series(1, 5000) n
        """,
        s=shop,
        c=c,
    )
    arrived = steps(conn, c, "arrived")
    assert arrived[0] is None or arrived[0] >= 4000
    assert arrived[20] is None


def test_writes_are_sent_and_settled(conn: Connection) -> None:
    shop = seed.shop(conn)
    c = seed.connection(conn, shop)
    place, sku = seed.location(conn, shop), seed.sku(conn, shop, "MUG")
    one, two, three = (seed.listing(conn, shop, c, sku, place, desired_units=4, published_units=9) for _ in range(3))
    at = seed.ago(minutes=7, seconds=30)
    seed.write(
        conn, shop, c, one, 4, at=at, sent_at=at, outcome="confirmed", outcome_at=seed.ago(minutes=2, seconds=30)
    )
    seed.write(conn, shop, c, two, 4, at=at, sent_at=at)
    assert three
    assert lanes(conn, c) == {"events": 0, "stock": 2, "stock-check": 1}
    assert minutes(conn, c, "stock", "drained") == {7: 2}
    assert set(minutes(conn, c, "stock", "arrived").values()) == {None}
    assert minutes(conn, c, "stock-check", "arrived") == {7: 2}
    assert minutes(conn, c, "stock-check", "drained") == {2: 1}


def states(conn: Connection) -> dict[str, str]:
    return {row["job_ref"]: row["state"] for row in fetch(conn, "select distinct job_ref, state from job_failures")}


def test_a_failure_is_open_until_a_later_run_about_the_same_succeeds(conn: Connection) -> None:
    shop = seed.shop(conn)
    a, b = seed.connection(conn, shop), seed.connection(conn, shop, "Other")
    at = {name: {"shop_id": shop, "connection_id": c} for name, c in (("a", a), ("b", b))}
    seed.job(conn, "stock.push", seed.ago(minutes=9), "finished", arguments=at["a"], job_ref="before")
    seed.job(conn, "stock.push", seed.ago(minutes=8), arguments=at["a"], job_ref="lost")
    seed.job(conn, "stock.push", seed.ago(minutes=7), "finished", arguments=at["b"], job_ref="other")
    seed.job(conn, "stock.check", seed.ago(minutes=7), "finished", arguments=at["a"], job_ref="other-function")
    assert states(conn) == {"lost": "open"}
    seed.job(conn, "stock.push", seed.ago(minutes=6), "finished", arguments=at["a"], job_ref="after")
    assert states(conn) == {"lost": "superseded"}


def test_a_job_is_its_latest_run(conn: Connection) -> None:
    seed.shop(conn)
    for attempt, error in ((1, "A: first"), (2, "B: second")):
        seed.job(conn, "poll.orders", seed.ago(minutes=9 - attempt), job_ref="again", attempt=attempt, error=error)
    (row,) = fetch(conn, "select attempt, error from job_failures")
    assert tuple(row.values()) == (2, "B: second")
    execute(conn, "insert into job_runs (job_ref, function, arguments, queue, attempt, started_at)"
                  " values ('again', 'poll.orders', '{}', 'polls', 3, now())")  # fmt: skip
    assert states(conn) == {}, "it is being tried again"


def test_a_job_that_names_no_shop_concerns_every_shop_and_another_shops_none(conn: Connection) -> None:
    one, two = seed.shop(conn, "One"), seed.shop(conn, "Two")
    seed.job(conn, "poll.orders", seed.ago(minutes=9), fingerprint="all")
    seed.job(conn, "stock.push", seed.ago(minutes=9), fingerprint="mine", arguments={"shop_id": one})
    assert failing(conn, one) == {"poll.orders", "stock.push"}
    assert failing(conn, two) == {"poll.orders"}


def failing(conn: Connection, shop: int) -> set[str]:
    return {row["function"] for row in fetch(conn, "select function from failure_groups where shop_id = %(s)s", s=shop)}
