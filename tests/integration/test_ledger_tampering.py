"""Whoever changes what is sealed is found out, and the row is named: as the database's superuser, past every guard.

Some even seal everything anew after their change, so that the database holds together. The anchors do not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError

from core import embedded
from core.db import execute, fetch, fetch_one, unit_of_work
from core.ledger import anchoring, recorded, sealing
from core.ledger.rules import GENESIS, digest, head_after, members_in, members_of
from core.ledger.verifying import Verifier
from tests.commands import run_here
from tests.factories import NOW, make_shop
from tests.ledgers import post

TOMORROW = NOW + timedelta(days=1)
KEYS = [f"order:{number}:1" for number in range(1, 13)]
TORN = "order:5:1"
"""The transaction that is tampered with; its seal is neither the first nor the last."""


@dataclass
class Ledger:
    """A ledger of twelve transactions in four seals, two of them anchored on each of two days."""

    database: embedded.Database
    engine: Engine
    superuser: Engine
    anchors: Path
    redis_url: str
    shop_id: int = 0
    room: int = 0
    """An id among the sealed that nobody has: one of a unit of work that was undone, between the days."""

    def audit(self) -> tuple[int, dict[str, list[dict[str, Any]]]]:
        """What `switchyard audit` says: its exit status and the rows of what is broken."""
        environment = {
            "DATABASE_URL": self.database.url,
            "REDIS_URL": self.redis_url,
            "LEDGER_ANCHOR_DIR": str(self.anchors),
        }
        done = run_here("audit", "--json", environment=environment)
        assert done.out, done.err
        said = json.loads(done.out)
        return done.status, {item["name"]: item["rows"] for item in said["checks"] if item["rows"]}

    def named(self) -> set[tuple[str | None, str]]:
        """Which transactions the look at the chain names, and what it says of each."""
        with self.engine.connect() as conn:
            found = list(Verifier(conn, self.shop_id, self.anchors, TOMORROW + timedelta(days=1)).run())
        return {(one.row["key"], one.row["what"]) for one in found if one.name == "ledger_rows_are_as_sealed"}


@pytest.fixture
def ledger(database: embedded.Database, redis_url: str, tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(
        database, create_engine(database.url), create_engine(database.superuser_url), tmp_path / "anchors", redis_url
    )
    with unit_of_work(made.engine) as conn:
        made.shop_id = make_shop(conn)
        for day, keys in enumerate((KEYS[:6], KEYS[6:])):
            now = NOW + timedelta(days=day)
            if day:
                with conn.begin_nested() as undone:
                    made.room = post(conn, made.shop_id, "undone")["undone"].id
                    undone.rollback()
            post(conn, made.shop_id, *keys, now=now)
            assert sealing.seal(conn, made.shop_id, now, limit=3)
            assert sealing.seal(conn, made.shop_id, now, limit=3)
            assert anchoring.anchor(conn, made.shop_id, made.anchors, now)
    yield made
    made.engine.dispose()
    made.superuser.dispose()


def change_entries(conn: Connection, row: Any) -> None:
    """A balanced pair, so that the transaction still adds up."""
    for kind, delta in (("platform", -50), ("tax", 50)):
        sql = """
            update ledger_entries e set amount_minor = amount_minor + %(delta)s from ledger_accounts k
            where k.shop_id = e.shop_id and k.id = e.account_id and k.kind = %(kind)s and e.transaction_id = %(id)s
        """
        assert execute(conn, sql, delta=delta, kind=kind, id=row["id"]) == 1


def change_note(conn: Connection, row: Any) -> None:
    assert execute(conn, "update ledger_transactions set note = 'Something else' where id = %(id)s", id=row["id"]) == 1


def change_day(conn: Connection, row: Any) -> None:
    sql = "update ledger_transactions set event_at = event_at - interval '40 days' where id = %(id)s"
    assert execute(conn, sql, id=row["id"]) == 1


def delete(conn: Connection, row: Any) -> None:
    assert execute(conn, "delete from ledger_entries where transaction_id = %(id)s", id=row["id"]) == 3
    assert execute(conn, "delete from ledger_transactions where id = %(id)s", id=row["id"]) == 1


TAMPERINGS: dict[str, tuple[Callable[[Connection, Any], None], str | None, str]] = {
    "entries": (change_entries, TORN, "entry changed"),
    "note": (change_note, TORN, "row changed"),
    "day": (change_day, TORN, "row changed"),
    "deleted": (delete, None, "row gone"),
}


def tamper(ledger: Ledger, change: Callable[[Connection, Any], None], is_rechained: bool = False) -> Any:
    with ledger.superuser.begin() as conn:
        execute(conn, "set local session_replication_role = replica")
        row = fetch_one(conn, "select * from ledger_transactions where key = %(key)s", key=TORN)
        change(conn, row)
        if is_rechained:
            rechain(conn, ledger.shop_id)
    return row


def rechain(conn: Connection, shop_id: int) -> None:
    """Seal everything anew: what whoever owns the database can do, with our own code."""
    head = GENESIS
    for seal in list(recorded.seals(conn, shop_id)):
        rows = recorded.transactions(conn, shop_id, list(members_in(seal.members)))
        members = members_of((row.id, digest(shop_id, row)) for row in rows)
        after = head_after(head, members)
        execute(
            conn,
            """
            update ledger_seals set members = %(members)s, transactions = %(count)s, previous_head = %(before)s,
                head = %(after)s
            where shop_id = %(shop)s and number = %(number)s
            """,
            shop=shop_id,
            number=seal.number,
            members=members,
            count=len(rows),
            before=head,
            after=after,
        )
        execute(
            conn,
            "update ledger_anchors set head = %(after)s where shop_id = %(shop)s and seal_number = %(number)s",
            shop=shop_id,
            number=seal.number,
            after=after,
        )
        head = after


def test_a_ledger_that_nobody_touched_is_clean(ledger: Ledger) -> None:
    assert ledger.audit() == (0, {})
    assert ledger.named() == set()


@pytest.mark.parametrize("name", TAMPERINGS)
def test_what_was_changed_is_named(ledger: Ledger, name: str) -> None:
    change, key, what = TAMPERINGS[name]
    row = tamper(ledger, change)
    assert ledger.named() == {(key, f"{what} since the anchor of 2024-03-04")}
    status, broken = ledger.audit()
    assert status == 1
    (found,) = broken["ledger_rows_are_as_sealed"]
    assert (found["transaction_id"], found["seal"]) == (row["id"], 2)
    assert "ledger_is_as_anchored" not in broken, "the seals are as they were"


@pytest.mark.parametrize("name", TAMPERINGS)
def test_it_is_named_though_every_seal_was_written_anew(ledger: Ledger, name: str) -> None:
    change, key, what = TAMPERINGS[name]
    row = tamper(ledger, change, is_rechained=True)
    assert ledger.named() == {(key, f"{what} since the anchor of 2024-03-04")}
    status, broken = ledger.audit()
    assert status == 1
    assert [found["transaction_id"] for found in broken["ledger_rows_are_as_sealed"]] == [row["id"]]
    assert [found["seal"] for found in broken["ledger_is_as_anchored"]] == [2, 3, 4]
    assert {found["day"] for found in broken["ledger_anchors_are_whole"]} == {"2024-03-04", "2024-03-05"}
    assert "ledger_chain_follows" not in broken, "in the database everything follows"


@pytest.mark.parametrize("name", TAMPERINGS)
def test_without_anchors_the_rows_alone_give_it_away(ledger: Ledger, name: str, tmp_path: Path) -> None:
    change, key, what = TAMPERINGS[name]
    tamper(ledger, change)
    with ledger.superuser.begin() as conn:
        execute(conn, "set local session_replication_role = replica")
        execute(conn, "delete from ledger_anchors")
    ledger.anchors = tmp_path / "elsewhere"
    assert ledger.named() == {(key, what)}


def insert(conn: Connection, shop_id: int, number: int) -> int:
    """Put a transaction among the sealed ones, by an id that nobody got; as the application could, too."""
    accounts = fetch(conn, "select id from ledger_accounts where kind in ('platform', 'tax') order by id")
    execute(
        conn,
        """
        with posted as (
            insert into ledger_transactions (shop_id, id, key, kind, event_at, recorded_at, note, recorded_by)
            overriding system value values (%(shop)s, %(id)s, 'slipped in', 'adjustment', %(now)s, %(now)s, 'x', 'x')
            returning id
        )
        insert into ledger_entries (shop_id, transaction_id, account_id, amount_minor, currency)
        select %(shop)s, posted.id, a, m, 'GBP' from posted, unnest(%(accounts)s::int8[], '{7,-7}'::int8[]) as e (a, m)
        """,
        shop=shop_id,
        id=number,
        now=NOW,
        accounts=[row["id"] for row in accounts],
    )
    return number


@pytest.mark.parametrize("is_sealed", [False, True])
def test_what_is_slipped_in_is_named_sealed_or_not(ledger: Ledger, is_sealed: bool) -> None:
    number = ledger.room
    later = TOMORROW + timedelta(hours=9)
    # Even the application's own login could, and cannot hide it.
    with unit_of_work(ledger.engine) as conn:
        insert(conn, ledger.shop_id, number)
        if is_sealed:
            assert sealing.seal(conn, ledger.shop_id, later, whole=True)
    assert ledger.named() == {("slipped in", "row added into the sealed range")}
    status, broken = ledger.audit()
    assert status == 1
    assert [row["transaction_id"] for row in broken["ledger_rows_are_as_sealed"]] == [number]


def test_what_is_slipped_in_and_sealed_anew_with_the_rest_is_named(ledger: Ledger) -> None:
    with ledger.superuser.begin() as conn:
        execute(conn, "set local session_replication_role = replica")
        number = insert(conn, ledger.shop_id, ledger.room)
        row = fetch_one(conn, "select * from ledger_seals where number = 2")
        assert row is not None
        (member,) = recorded.transactions(conn, ledger.shop_id, [number])
        members = row["members"] + members_of([(number, digest(ledger.shop_id, member))])
        execute(
            conn,
            """
            update ledger_seals set members = %(members)s, transactions = 4, last_id = %(id)s,
                head = sha256(previous_head || %(members)s) where number = 2
            """,
            members=members,
            id=number,
        )
        rechain(conn, ledger.shop_id)
    assert ledger.named() == {("slipped in", "row added into the sealed range, and sealed with it")}
    status, broken = ledger.audit()
    assert (status, len(broken["ledger_is_as_anchored"])) == (1, 3)


def test_seals_that_are_cut_off_are_missed(ledger: Ledger) -> None:
    with ledger.superuser.begin() as conn:
        execute(conn, "set local session_replication_role = replica")
        execute(conn, "delete from ledger_anchors where seal_number = 4")
        execute(conn, "delete from ledger_seals where number >= 3")
        execute(conn, "delete from ledger_entries where transaction_id > %(room)s", room=ledger.room)
        execute(conn, "delete from ledger_transactions where id > %(room)s", room=ledger.room)
    assert len(ledger.named()) == 1
    _, broken = ledger.audit()
    assert [row["seal"] for row in broken["ledger_is_as_anchored"]] == [3, 4]
    assert len(broken["ledger_rows_are_as_sealed"]) == 6


def test_a_seal_taken_out_of_the_middle_is_missed(ledger: Ledger) -> None:
    with ledger.superuser.begin() as conn:
        execute(conn, "set local session_replication_role = replica")
        execute(conn, "delete from ledger_seals where number = 3")
    _, broken = ledger.audit()
    assert [row["what"] for row in broken["ledger_chain_follows"]] == ["seals 3 to 3 are gone"]
    assert [row["seal"] for row in broken["ledger_is_as_anchored"]] == [3]


def test_an_anchor_that_is_gone_or_changed_is_missed(ledger: Ledger) -> None:
    first, second = sorted(ledger.anchors.rglob("*.jsonl"))
    whole = first.read_text()
    first.unlink()
    _, broken = ledger.audit()
    said = [row["what"] for row in broken["ledger_anchors_are_whole"]]
    assert len(said) == 2
    assert "though it was put at" in said[0]
    assert "begins after seal 2: the files with seals from 1 on are missing" in said[1]
    first.write_text(whole.replace('"seal":1,', '"seal":9,'))
    _, broken = ledger.audit()
    assert [row["day"] for row in broken["ledger_anchors_are_whole"]] == ["2024-03-04"]
    assert second.stat().st_mode & 0o222 == 0, "nobody writes to it any more"


def test_a_new_system_without_anchors_is_clean_and_says_so(engine: Engine, tmp_path: Path) -> None:
    with unit_of_work(engine) as conn:
        shop_id = make_shop(conn)
        verifier = Verifier(conn, shop_id, tmp_path / "not there", NOW)
        assert list(verifier.run()) == []
        (note,) = verifier.notes
        assert "has no anchors yet" in note


@pytest.mark.parametrize(
    "sql",
    [
        "set session_replication_role = replica",
        "alter table ledger_entries disable trigger all",
        "drop trigger whole_and_balanced on ledger_entries",
        "update ledger_entries set amount_minor = 1",
        "update ledger_transactions set note = 'x'",
        "delete from ledger_transactions",
        "update ledger_seals set head = previous_head",
        "delete from ledger_seals",
        "delete from ledger_anchors",
        "truncate ledger_entries",
    ],
)
def test_the_application_can_do_none_of_it(ledger: Ledger, sql: str) -> None:
    with ledger.engine.connect() as conn, pytest.raises(DBAPIError, match=r"permission denied|must be owner|are facts"):
        execute(conn, sql)
