"""What is past is forgotten by policy, in batches; what somebody still needs is not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from psycopg.errors import InsufficientPrivilege, RaiseException
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, ProgrammingError

from core.audit import Actor
from core.clock import utc_now
from core.db import execute, fetch, fetch_one, scalar, unit_of_work
from core.errors import BadInput
from core.messaging import outbox
from core.runs import retention
from core.runs.retention import BY_NAME, Policy
from tests.factories import make_connection, make_shop

NOW = datetime(2024, 5, 14, 12, 0, tzinfo=UTC)
OLD = NOW - timedelta(days=200)
ACTOR = Actor("Ada", "the auditors ask for a year")


@pytest.fixture
def conn(engine: Engine) -> Iterator[Connection]:
    with unit_of_work(engine) as connection:
        yield connection


def deliver(conn: Connection, shop: int, connection: int, count: int, state: str, at: datetime) -> None:
    execute(
        conn,
        """
        insert into inbox_messages (shop_id, connection_id, delivery_id, topic, road, body, received_at, state, cause,
            settled_at, waiting_for, waits_until, discarded_by, discarded_reason)
        select %(shop)s, %(connection)s, %(state)s || %(at)s::text || n, 't', 'poll', '{}', %(at)s, %(state)s,
            case when %(state)s in ('parked', 'discarded') then 'c' end, %(at)s,
            case when %(state)s = 'waiting' then 'order:1' end, case when %(state)s = 'waiting' then %(at)s end,
            case when %(state)s = 'discarded' then 'a' end, case when %(state)s = 'discarded' then 'r' end
        from generate_series(1, %(count)s) n
        """,
        shop=shop,
        connection=connection,
        state=state,
        at=at,
        count=count,
    )


def messages(conn: Connection, shop: int) -> dict[tuple[str, bool], int]:
    rows = fetch(
        conn,
        """
        select state, received_at < %(now)s - interval '90 days' as is_old, count(*) as n
        from inbox_messages where shop_id = %(shop)s group by 1, 2
        """,
        now=NOW,
        shop=shop,
    )
    return {(row["state"], row["is_old"]): row["n"] for row in rows}


def test_settled_messages_go_a_batch_at_a_time_and_what_waits_or_is_parked_stays(conn: Connection) -> None:
    shop = make_shop(conn)
    busy, quiet = make_connection(conn, shop).id, make_connection(conn, shop, locations={}).id
    for state in ("handled", "ignored", "discarded", "parked", "waiting", "received"):
        deliver(conn, shop, busy, 10, state, OLD)
    deliver(conn, shop, busy, 1_000, "handled", NOW)
    deliver(conn, shop, quiet, 999, "handled", OLD)
    policy = Policy(BY_NAME["messages"], 90)
    assert [retention.forget(conn, policy, NOW, 20) for _ in range(3)] == [20, 10, 0]
    # The newest thousand of each connection say when it was last heard.
    assert messages(conn, shop) == {
        ("handled", False): 1_000,
        ("handled", True): 999,
        ("parked", True): 10,
        ("waiting", True): 10,
        ("received", True): 10,
    }


def test_nothing_of_the_last_two_weeks_is_forgotten_whoever_asks(conn: Connection) -> None:
    with pytest.raises(DBAPIError) as raised, conn.begin_nested():
        execute(conn, "select forget_messages(now() - interval '13 days', 10)")
    assert isinstance(raised.value.orig, RaiseException)
    with pytest.raises(ProgrammingError) as refused, conn.begin_nested():
        execute(conn, "delete from inbox_messages")
    assert isinstance(refused.value.orig, InsufficientPrivilege)


def test_notices_that_wait_or_are_dead_stay(conn: Connection) -> None:
    shop = make_shop(conn)
    for state in ("waiting", "sent", "dead"):
        outbox.add(conn, shop, "notice", state, {"text": "x"}, OLD)
        execute(
            conn,
            "update outbox_messages set state = %(state)s, settled_at = %(at)s where dedupe_key = %(state)s",
            state=state,
            at=None if state == "waiting" else OLD,
        )
    assert retention.forget(conn, Policy(BY_NAME["notices"], 90), NOW) == 1
    assert {row["state"] for row in fetch(conn, "select state from outbox_messages")} == {"waiting", "dead"}


def test_exports_that_ended_go_and_one_that_is_written_stays(conn: Connection) -> None:
    shop = make_shop(conn)
    execute(
        conn,
        """
        insert into catalogue_exports (shop_id, state, kind, filters, products_total, document_id, created_by,
            created_at, worked_at, ended_at)
        values (%(shop)s, 'written', 'csv', '{}', 1, 1, 'a', %(old)s, %(old)s, %(old)s),
            (%(shop)s, 'failed', 'csv', '{}', 1, null, 'a', %(old)s, %(old)s, %(old)s),
            (%(shop)s, 'writing', 'csv', '{}', 1, null, 'a', %(old)s, %(old)s, null),
            (%(shop)s, 'stopped', 'csv', '{}', 1, null, 'a', %(now)s, %(now)s, %(now)s)
        """,
        shop=shop,
        old=OLD,
        now=NOW,
    )
    policy = Policy(BY_NAME["catalogue_exports"], 90)
    assert retention.due(conn, policy, NOW) == 2
    assert retention.forget(conn, policy, NOW) == 2
    rows = fetch(conn, "select state from catalogue_exports where shop_id = %(shop)s", shop=shop)
    assert {row["state"] for row in rows} == {"writing", "stopped"}


def test_comparisons_go_with_what_is_left_of_them_and_discrepancies_that_live_stay(conn: Connection) -> None:
    shop = make_shop(conn)
    connection = make_connection(conn, shop).id
    values = {"shop": shop, "connection": connection, "old": OLD - timedelta(days=300), "now": NOW}
    execute(
        conn,
        """
        insert into reconciliation_runs (shop_id, connection_id, kind, sync_run_id, state, requested_by, reason,
            requested_at, ended_at)
        values (%(shop)s, %(connection)s, 'stock', 1, 'done', 'a', 'r', %(old)s, %(old)s),
            (%(shop)s, %(connection)s, 'orders', 2, 'failed', 'a', 'r', %(old)s, %(old)s),
            (%(shop)s, %(connection)s, 'stock', 3, 'reading', 'a', 'r', %(old)s, null)
        """,
        **values,
    )
    execute(
        conn,
        """
        insert into reconciliation_observations (shop_id, run_id, inventory_ref, location_ref, observed_at)
        select shop_id, id, 'i', 'l', %(old)s from reconciliation_runs where kind = 'stock'
        """,
        **values,
    )
    execute(
        conn,
        """
        with reading as (
            insert into order_readings (shop_id, run_id, connection_id, since_at, began_at)
            select shop_id, id, connection_id, %(old)s, %(old)s from reconciliation_runs where kind = 'orders'
            returning shop_id, run_id
        )
        insert into staged_orders (shop_id, run_id, channel_ref) select shop_id, run_id, 'order:1' from reading
        """,
        **values,
    )
    execute(
        conn,
        """
        with made as (
            insert into discrepancies (shop_id, kind, connection_id, subject_key, subject, unit, cause, action, state,
                first_seen_at, last_seen_at, resolved_at, resolved_by, resolved_because, reason)
            select %(shop)s, 'stock', %(connection)s, concat(d.state, d.gone), '{}', 'units', 'real_loss',
                case d.state when 'accepted' then 'ignored' else 'asked' end, d.state, %(old)s, %(old)s, d.gone,
                case when d.gone is not null then 'a' end, case when d.gone is not null then 'gone' end, 'r'
            from (values ('open', null), ('accepted', null), ('resolved', %(old)s::timestamptz),
                ('resolved', %(now)s::timestamptz)) as d (state, gone)
            returning shop_id, id
        )
        insert into discrepancy_events (shop_id, discrepancy_id, at, what, cause, who)
        select shop_id, id, %(old)s, 'seen', 'real_loss', 'a' from made
        """,
        **values,
    )
    assert retention.forget(conn, Policy(BY_NAME["reconciliations"], 90), NOW) == 2
    assert fetch(conn, "select run_id from order_readings union all select run_id from staged_orders") == []
    left = fetch(
        conn, "select r.state from reconciliation_runs r join reconciliation_observations o on o.run_id = r.id"
    )
    assert [row["state"] for row in left] == ["reading"]
    assert retention.forget(conn, Policy(BY_NAME["discrepancies"], 365), NOW) == 1
    kept = fetch(
        conn, "select state from discrepancies d join discrepancy_events e on e.discrepancy_id = d.id order by 1"
    )
    assert [row["state"] for row in kept] == ["accepted", "open", "resolved"]
    assert scalar(conn, "select count(*) from discrepancy_events") == 3


def test_every_kind_can_be_forgotten_and_a_trial_changes_nothing(conn: Connection) -> None:
    shop = make_shop(conn)
    connection = make_connection(conn, shop).id
    execute(
        conn,
        """
        insert into api_calls (shop_id, connection_id, operation, method, outcome, elapsed_ms, attempt, called_at)
        select %(shop)s, %(connection)s, 'o', 'GET', 'ok', 1, 1, %(at)s from generate_series(1, 7)
        """,
        shop=shop,
        connection=connection,
        at=OLD,
    )
    counts = {policy.kept.name: retention.due(conn, policy, NOW) for policy in retention.policies(conn)}
    assert counts == dict.fromkeys(BY_NAME, 0) | {"api_calls": 7, "quota_use": 1}
    assert scalar(conn, "select count(*) from api_calls") == 7


def test_a_policy_is_set_with_a_name_and_a_reason_on_record_in_every_shop(conn: Connection) -> None:
    shops = {make_shop(conn), make_shop(conn)}
    retention.set_policy(conn, "api_calls", 365, ACTOR, NOW)
    (policy,) = (p for p in retention.policies(conn) if p.kept.name == "api_calls")
    assert (policy.days, policy.set_by, policy.reason) == (365, ACTOR.name, ACTOR.reason)
    entries = fetch(conn, "select shop_id, subject, details from audit_entries where act = 'set_retention'")
    assert {row["shop_id"] for row in entries} >= shops
    assert {(row["subject"], row["details"]["keep_days"]) for row in entries} == {("retention:api_calls", 365)}
    retention.set_policy(conn, "api_calls", None, ACTOR, utc_now())
    assert fetch_one(conn, "select 1 from retention_policies") is None


@pytest.mark.parametrize(
    ("name", "days", "words"),
    [
        ("orders", 30, "nothing is kept under 'orders'"),
        ("messages", 13, "14 to 3,650 days, not 13"),
        ("api_calls", 0, "7 to 3,650 days, not 0"),
        ("api_calls", 3_651, "not 3,651"),
    ],
)
def test_what_cannot_be_kept_so_is_refused(conn: Connection, name: str, days: int, words: str) -> None:
    make_shop(conn)
    with pytest.raises(BadInput, match=words):
        retention.set_policy(conn, name, days, ACTOR, NOW)
    assert fetch_one(conn, "select 1 from retention_policies") is None
    assert fetch_one(conn, "select 1 from audit_entries where act = 'set_retention'") is None
