"""One outage is one alert: first and by name; what follows from it is part of it, and nothing of that is lost."""

from __future__ import annotations

import itertools

import pytest
from sqlalchemy import Connection

from core.alerts import operations as alerts
from core.alerts import sweep
from core.alerts.terms import CONNECTION, FAILURE, REFUSED_CREDENTIAL
from core.connections.queries import ConnectionRow
from core.db import execute, fetch, scalar
from core.recovery import weighing
from core.runs import operations as runs
from tests.alerting import desk, newest, notices, open_ones
from tests.factories import ACTOR, NOW, World, adjust_stock, later, make_connection

_numbers = itertools.count(1)


@pytest.fixture
def other(conn: Connection, world: World) -> ConnectionRow:
    """Another channel of the same shop, which answers."""
    return make_connection(conn, world.shop_id, is_sku_source=False)


def call(
    conn: Connection, connection: ConnectionRow, outcome: str, minute: float, status: int | None = 503, times: int = 1
) -> None:
    execute(
        conn,
        """
        insert into api_calls (shop_id, connection_id, operation, method, status, outcome, elapsed_ms, attempt,
            called_at, error)
        select %(shop)s, %(connection)s, 'orders', 'POST', %(status)s, %(outcome)s, 5, n, %(at)s, 'not available'
        from generate_series(1, %(times)s) n
        """,
        shop=connection.shop_id, connection=connection.id, status=status, outcome=outcome, at=later(minute),
        times=times,
    )  # fmt: skip


def fail(
    conn: Connection,
    connection: ConnectionRow,
    minute: float,
    function: str = "orders.read",
    error: str = "ServerFault: getOrder: the vendor failed",
) -> int:
    run_id = runs.open_job_run(
        conn, job_ref=f"job-{next(_numbers)}", function=function, queue="lookups", worker="w", attempt=1,
        arguments={"shop_id": connection.shop_id, "connection_id": connection.id}, now=later(minute),
    )  # fmt: skip
    runs.close_job_run(conn, run_id, "failed", later(minute), error=error, fingerprint=f"{function} {error}")
    return run_id


def give_up(conn: Connection, minute: float) -> None:
    """Somebody deals with all that failed."""
    execute(
        conn,
        """
        update job_runs set resolution = 'discarded', resolved_at = %(at)s, resolved_by = 'ada',
            resolved_reason = 'not needed' where outcome = 'failed'
        """,
        at=later(minute),
    )


def look(conn: Connection, world: World, minute: float) -> set[str]:
    """What is open after a whole look, by kind and whose it is."""
    sweep.look(desk(conn, world.shop_id, later(minute)))
    return {
        f"{row['kind']} {'' if row['connection_id'] == world.connection.id else 'other'}".strip()
        for row in open_ones(conn, world.shop_id).values()
    }


def outage(conn: Connection, world: World, *minutes: float) -> None:
    """In each of these minutes five calls fail, and a job with them."""
    for minute in minutes:
        call(conn, world.connection, "error", minute, times=5)
        fail(conn, world.connection, minute)


def test_the_channel_is_named_first_and_what_follows_is_part_of_it(conn: Connection, world: World) -> None:
    call(conn, world.connection, "ok", 0, 200)
    outage(conn, world, 0.5, 0.6, 0.7, 0.8)
    assert look(conn, world, 1) == set(), "half a minute is no outage, and four failed jobs say no more than that"
    outage(conn, world, 1.5)
    assert look(conn, world, 2.5) == {"connection_failing"}
    assert [text.count("No call to") for text in notices(conn, world.shop_id)] == [1]
    row = newest(conn, world.shop_id)
    assert [part["headline"] for part in row["worst_skus"]] == [
        f"Reading single orders failed 5 times for {world.connection.name}"
    ]
    assert row["worst_skus"][0]["page"] == "failures"
    for minute in (4, 8, 16, 30):
        outage(conn, world, minute)
        assert look(conn, world, minute + 0.5) == {"connection_failing"}
    assert "failed 9 times" in newest(conn, world.shop_id)["worst_skus"][0]["headline"]
    assert len(notices(conn, world.shop_id)) == 1, "an outage of half an hour is told of once"


def test_what_still_holds_when_the_channel_answers_again_is_told_then(conn: Connection, world: World) -> None:
    outage(conn, world, 0, 1, 2)
    assert look(conn, world, 2.5) == {"connection_failing"}
    call(conn, world.connection, "ok", 3, 200)
    assert look(conn, world, 3.5) == {"connection_failing"}, "it may be gone only for a moment"
    assert newest(conn, world.shop_id)["worst_skus"], "and what is part of it still is"
    assert look(conn, world, 6) == {"connection_failing"}
    assert look(conn, world, 6.5) == {"repeated_failure"}
    (row,) = open_ones(conn, world.shop_id).values()
    assert row["headline"] == f"Reading single orders failed 3 times for {world.connection.name}"
    give_up(conn, 7)
    assert look(conn, world, 8) == {"repeated_failure"}
    assert look(conn, world, 10.5) == set()


def test_what_was_repaired_meanwhile_is_never_told_of(conn: Connection, world: World) -> None:
    outage(conn, world, 0, 1, 2)
    look(conn, world, 2.5)
    call(conn, world.connection, "ok", 3, 200)
    give_up(conn, 3)
    assert look(conn, world, 3.5) == {"connection_failing"}
    assert newest(conn, world.shop_id)["worst_skus"] == []
    assert look(conn, world, 7) == set()
    assert scalar(conn, "select count(*) from alerts") == 1


def test_what_comes_back_is_held_open_longer_and_holds_nothing_back_for_it(conn: Connection, world: World) -> None:
    for start in (0, 10, 20, 30):
        outage(conn, world, start, start + 1, start + 2)
        assert "connection_failing" in look(conn, world, start + 2.5)
        call(conn, world.connection, "ok", start + 3, 200)
        look(conn, world, start + 3.5)
        look(conn, world, start + 6.5)
    # Held for eight minutes the third time it came back; what it hid for three is told.
    assert look(conn, world, 37) == {"connection_failing", "repeated_failure"}


def test_of_another_channel_and_of_our_own_making_nothing_is_held_back(
    conn: Connection, world: World, other: ConnectionRow
) -> None:
    outage(conn, world, 0, 1, 2)
    for minute in (0.0, 1.0, 2.0):
        fail(conn, other, minute)
        call(conn, other, "ok", minute, 200)
        fail(conn, world.connection, minute, "inbox.drain", "ValueError: the day is no day")
    assert look(conn, world, 2.5) == {"connection_failing", "repeated_failure", "repeated_failure other"}
    told = {
        row["address"]["function"]
        for row in open_ones(conn, world.shop_id).values()
        if row["kind"] == FAILURE and row["connection_id"] == world.connection.id
    }
    assert told == {"inbox.drain"}


def test_where_the_outage_itself_is_not_looked_for_everything_is_told(conn: Connection, world: World) -> None:
    alerts.set_rule(conn, world.shop_id, CONNECTION, ACTOR, NOW, is_on=False)
    outage(conn, world, 0, 0.1, 0.2)
    assert look(conn, world, 0.5) == {"repeated_failure"}


def test_failures_are_told_when_too_few_calls_were_made_to_speak_of_an_outage(conn: Connection, world: World) -> None:
    for minute in (0, 0.1, 0.2):
        call(conn, world.connection, "error", minute)
        fail(conn, world.connection, minute)
    assert look(conn, world, 1) == set()
    assert look(conn, world, 2.1) == {"repeated_failure"}, "two minutes are the longest that it is put off"


def test_an_alert_from_before_the_outage_goes_on(conn: Connection, world: World) -> None:
    for minute in (-3.0, -2.0, -1.0):
        call(conn, world.connection, "ok", minute, 200)
        fail(conn, world.connection, minute)
    assert look(conn, world, -0.5) == {"repeated_failure"}
    outage(conn, world, 0, 1, 2)
    assert look(conn, world, 2.5) == {"connection_failing", "repeated_failure"}
    row = next(each for each in open_ones(conn, world.shop_id).values() if each["kind"] == FAILURE)
    assert "failed 6 times" in row["headline"]


def test_refused_credentials_explain_that_no_call_succeeds(conn: Connection, world: World) -> None:
    for minute in (0, 1, 2):
        call(conn, world.connection, "refused", minute, 401, times=5)
        fail(conn, world.connection, minute, error="Unauthorised: the token was refused")
    assert look(conn, world, 2.5) == {"refused_credential"}
    row = newest(conn, world.shop_id, REFUSED_CREDENTIAL)
    assert [part["headline"].partition(" failed")[0] for part in row["worst_skus"]] == [
        f"No call to {world.connection.name} succeeds",
        "Reading single orders",
    ]


def test_numbers_that_wait_and_orders_that_are_not_read_are_part_of_it_too(conn: Connection, world: World) -> None:
    """A backlog of writes, changes that hang, orders not read for long: all three follow from the outage."""
    adjust_stock(conn, world, "MUG", -2)
    alerts.set_rule(conn, world.shop_id, "backlog", ACTOR, NOW, numbers={"dangerous_minutes": 5, "dangerous_size": 10})
    execute(conn, "update connections set orders_polled_at = %(at)s, reads_orders = true", at=NOW)
    execute(conn, "update change_legs set state = 'stuck', reason = 'not_sent', deadline_at = %(at)s", at=NOW)
    for minute in range(0, 40, 2):
        outage(conn, world, minute)
        assert look(conn, world, minute + 0.9) <= {"connection_failing"}
    kinds = {part["headline"].split(" ")[0] for part in newest(conn, world.shop_id)["worst_skus"]}
    assert {"Reading", "Orders"} <= kinds
    assert any("wait" in part["headline"] for part in newest(conn, world.shop_id)["worst_skus"])


def test_the_alert_counts_what_its_parts_and_the_page_of_failures_count(conn: Connection, world: World) -> None:
    adjust_stock(conn, world, "MUG", -2)
    for number in range(3):
        run = fail(conn, world.connection, number)
        call(conn, world.connection, "error", number, times=5)
        fail(conn, world.connection, number, "stock.push", "OutcomeUnknown: no answer within 10 s")
        execute(
            conn,
            """
            insert into failure_orders (shop_id, source, item_id, connection_id, order_ref)
            select %(shop)s, 'job', %(run)s, %(connection)s, unnest(%(refs)s::text[])
            """,
            shop=world.shop_id, run=run, connection=world.connection.id, refs=["A-x", f"A-{number}"],
        )  # fmt: skip
    execute(conn, "update failures set is_weighed = true")
    weighing.add_up(conn, later(2.2))
    look(conn, world, 2.5)
    row = newest(conn, world.shop_id)
    assert (row["orders"], row["skus"], row["units"]) == (4, 1, 2)
    groups = {
        each["function"]: (each["skus"], each["orders"])
        for each in fetch(conn, "select function, skus, orders from failure_groups")
    }
    assert groups == {"orders.read": (0, 4), "stock.push": (1, 0)}
    parts = {part["address"]["function"]: (part["skus"], part["orders"]) for part in row["worst_skus"]}
    assert parts == groups
