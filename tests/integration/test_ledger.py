"""Posting: balanced or not at all, once for each fact, by one statement; and nothing posted is ever changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError

from core import embedded
from core.db import execute, fetch, fetch_one, is_data_error, scalar, unit_of_work
from core.ledger import operations as ledger
from core.ledger.rules import AccountName, EmptyTransaction, Unbalanced
from tests.conftest import TestServers
from tests.factories import NOW, World, later, make_shop, make_world
from tests.ledgers import PLATFORM, RECEIVABLE, TAX, entries_of, make_transaction, post
from tests.racing import play, race

TABLES = ("ledger_transactions", "ledger_entries", "ledger_accounts", "ledger_seals", "ledger_anchors")


@pytest.fixture
def shop_id(conn: Connection) -> int:
    return make_shop(conn)


def refused(conn: Connection, sql: str, **params: Any) -> DBAPIError:
    """How the server refuses; the transaction goes on."""
    with pytest.raises(DBAPIError) as caught, conn.begin_nested():
        execute(conn, sql, **params)
    assert is_data_error(caught.value)
    return caught.value


def test_a_transaction_is_posted_whole_with_sums_by_day(conn: Connection, shop_id: int) -> None:
    assert post(conn, shop_id, "a", "b")["a"].is_new
    assert entries_of(conn, shop_id, "a") == {"channel_receivable": 1200, "platform": -1000, "tax": -200}
    days = fetch(
        conn,
        """
        select k.kind, d.day, sum(d.debit_minor)::int8 as debit, sum(d.credit_minor)::int8 as credit,
            sum(d.entries)::int8 as entries
        from ledger_account_days d join ledger_accounts k on k.shop_id = d.shop_id and k.id = d.account_id
        where d.shop_id = %(shop)s group by 1, 2 order by 1
        """,
        shop=shop_id,
    )
    assert [tuple(row.values()) for row in days] == [
        ("channel_receivable", NOW.date(), 2400, 0, 2),
        ("platform", NOW.date(), 0, 2000, 2),
        ("tax", NOW.date(), 0, 400, 2),
    ]


def test_what_does_not_balance_is_refused_before_anything_is_written(conn: Connection, shop_id: int) -> None:
    wrong = make_transaction("wrong", entries={RECEIVABLE: 100, PLATFORM: -99})
    with pytest.raises(Unbalanced, match="sum to 1, not to 0"):
        ledger.post(conn, shop_id, [make_transaction("right"), wrong], NOW)
    in_two = make_transaction("two", entries={RECEIVABLE: 100, AccountName("platform", "EUR"): -100})
    with pytest.raises(Unbalanced):
        ledger.post(conn, shop_id, [in_two], NOW)
    for entries in ({}, {RECEIVABLE: 0, PLATFORM: 0}):
        with pytest.raises(EmptyTransaction):
            ledger.post(conn, shop_id, [make_transaction("nothing", entries=entries)], NOW)
    assert scalar(conn, "select count(*) from ledger_transactions where shop_id = %(shop)s", shop=shop_id) == 0


POST_BY_HAND = """
    with posted as (
        insert into ledger_transactions (shop_id, key, kind, event_at, recorded_at, note, recorded_by)
        values (%(shop)s, 'by hand', 'adjustment', now(), now(), 'x', 'x') returning id
    )
    insert into ledger_entries (shop_id, transaction_id, account_id, amount_minor, currency)
    select %(shop)s, posted.id, e.account, e.amount, e.currency
    from posted, (values {entries}) as e (account, amount, currency)
"""


def test_the_database_refuses_by_itself_what_is_not_whole(conn: Connection, shop_id: int) -> None:
    euros = AccountName("platform", "EUR")
    accounts = ledger.open_accounts(conn, shop_id, [RECEIVABLE, PLATFORM, euros], NOW)
    ours = {"shop": shop_id, "a": accounts[RECEIVABLE], "b": accounts[PLATFORM], "c": accounts[euros]}
    for entries, constraint in (
        ("(%(a)s::int8, 100, 'GBP'), (%(b)s::int8, -99, 'GBP')", "ledger_balanced"),
        ("(%(a)s::int8, 100, 'GBP'), (%(c)s::int8, -100, 'EUR')", "ledger_balanced"),
        ("(%(a)s::int8, 100, 'EUR'), (%(b)s::int8, -100, 'EUR')", "ledger_account"),
        ("(%(a)s::int8, 100, 'GBP'), (0::int8, -100, 'GBP')", "ledger_account"),
        ("(%(a)s::int8, 0, 'GBP'), (%(b)s::int8, 0, 'GBP')", "ck_ledger_entries_amount"),
    ):
        error = refused(conn, POST_BY_HAND.format(entries=entries), **ours)
        assert error.orig.diag.constraint_name == constraint, entries  # type: ignore[union-attr]


def test_a_transaction_without_entries_is_refused(conn: Connection, shop_id: int) -> None:
    error = refused(
        conn,
        """
        insert into ledger_transactions (shop_id, key, kind, event_at, recorded_at, note, recorded_by)
        values (%(shop)s, 'empty', 'adjustment', now(), now(), 'x', 'x')
        """,
        shop=shop_id,
    )
    assert "has no entries" in str(error.orig)


def test_nothing_is_added_to_what_is_posted(conn: Connection, shop_id: int) -> None:
    posted = post(conn, shop_id, "a")["a"].id
    more = [AccountName("adjustments", "GBP"), AccountName("unassigned", "GBP")]
    accounts = ledger.open_accounts(conn, shop_id, more, NOW)
    insert = """
        insert into ledger_entries (shop_id, transaction_id, account_id, amount_minor, currency)
        values (%(shop)s, %(id)s, %(a)s, 5, 'GBP'), (%(shop)s, %(id)s, %(b)s, -5, 'GBP')
    """
    ids = dict(zip("ab", accounts.values(), strict=True))
    assert "post another one instead" in str(refused(conn, insert, shop=shop_id, id=posted, **ids).orig)
    assert "is not there" in str(refused(conn, insert, shop=shop_id, id=posted + 999, **ids).orig)


def test_the_same_fact_is_posted_once(conn: Connection, shop_id: int) -> None:
    first = post(conn, shop_id, "a")
    again = ledger.post(conn, shop_id, [make_transaction("a", 9999), make_transaction("b")], later(1))
    assert (again["a"].id, again["a"].is_new, again["b"].is_new) == (first["a"].id, False, True)
    assert entries_of(conn, shop_id, "a")["channel_receivable"] == 1200


def test_shops_have_ledgers_of_their_own(conn: Connection, shop_id: int) -> None:
    other = make_shop(conn)
    assert post(conn, shop_id, "a")["a"].id != post(conn, other, "a")["a"].id
    foreign = ledger.open_accounts(conn, other, [RECEIVABLE, PLATFORM], NOW)
    entries = "(%(a)s::int8, 100, 'GBP'), (%(b)s::int8, -100, 'GBP')"
    ids = {"a": foreign[RECEIVABLE], "b": foreign[PLATFORM]}
    refused(conn, POST_BY_HAND.format(entries=entries), shop=shop_id, **ids)


# --- two processes --------------------------------------------------------------------------------------------------

KEYS = [f"order:{number}:1" for number in range(40)]


def post_all(engine: Engine, world: World) -> list[Any]:
    """Post everything, some at a time, from the other end in every second process."""
    posted = {}
    for start in range(0, len(KEYS), 8):
        with unit_of_work(engine) as conn:
            posted |= post(conn, world.shop_id, *KEYS[start : start + 8], "shared")
    return [[key, one.id, one.is_new] for key, one in sorted(posted.items())]


def test_processes_that_post_the_same_keys_post_each_once(engine: Engine) -> None:
    with unit_of_work(engine) as conn:
        world = make_world(conn)
    answers = race(engine, __file__, [("post", world)] * 3)
    ids = [{key: number for key, number, _ in answer} for answer in answers]
    assert ids[0] == ids[1] == ids[2]
    assert set(ids[0]) == {*KEYS, "shared"}
    with unit_of_work(engine) as conn:
        assert scalar(conn, "select count(*) from ledger_transactions") == len(KEYS) + 1
        assert scalar(conn, "select count(*) from ledger_accounts") == 3
        assert scalar(conn, "select count(*) from ledger_entries") == 3 * (len(KEYS) + 1)


# --- nobody changes it ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def posted(servers: TestServers, template_database: embedded.Database) -> embedded.Database:
    database = embedded.create_database(servers.home, "posted", template=template_database.name)
    engine = create_engine(database.url)
    with unit_of_work(engine) as conn:
        post(conn, make_shop(conn), "a")
    engine.dispose()
    return database


@pytest.fixture(params=["application", "owner"])
def login(request: pytest.FixtureRequest, posted: embedded.Database) -> Iterator[Connection]:
    engine = create_engine(posted.url if request.param == "application" else posted.migrate_url)
    with engine.connect() as conn, conn.begin() as transaction:
        yield conn
        transaction.rollback()
    engine.dispose()


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(
    "change", ["update {table} set shop_id = shop_id", "delete from {table}", "truncate {table} cascade"]
)
def test_what_is_posted_stays(login: Connection, table: str, change: str) -> None:
    reason = str(refused(login, change.format(table=table)).orig)
    assert f"rows of {table} are facts" in reason or "permission denied" in reason


def test_an_upsert_cannot_change_it_either(login: Connection) -> None:
    row = fetch_one(login, "select * from ledger_entries order by amount_minor limit 1")
    assert row is not None
    upsert = """
        insert into ledger_entries (shop_id, transaction_id, account_id, amount_minor, currency)
        values (%(shop_id)s, %(transaction_id)s, %(account_id)s, 0, 'GBP')
        on conflict (shop_id, transaction_id, account_id) do update set amount_minor = 1
    """
    refused(login, upsert, **row)


def test_taxes_are_an_account_of_their_own(conn: Connection, shop_id: int) -> None:
    names = [TAX, AccountName("tax", "EUR"), TAX]
    opened = ledger.open_accounts(conn, shop_id, names, NOW)
    assert len(set(opened.values())) == 2
    assert ledger.open_accounts(conn, shop_id, names, later(1)) == opened


if __name__ == "__main__":
    play({"post": post_all})
