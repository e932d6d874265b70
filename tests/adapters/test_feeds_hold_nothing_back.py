"""No zero waits behind a feed, and no raise behind one that comes to nothing: real Postgres, canned Amazon."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine

from core import embedded, invariants
from core.clock import utc_now
from core.db import execute, fetch, read_only, unit_of_work
from core.inventory import differences, feeds, publishing, roads, weighing
from core.ports import LevelObservation
from tests.adapters.canned_feeds import report_of
from tests.adapters.feeding import FACTOR, SKUS, Seller, open_seller, prefer_feeds
from tests.conftest import TestServers
from tests.factories import BASELINE, make_channel_listing, make_connection, take_in, unique
from workers import feeds as feeding
from workers.jobs.inbox import ring_pushes

RAISED = dict.fromkeys(SKUS, 5)


@pytest.fixture(scope="module")
def database(servers: TestServers, template_database: embedded.Database) -> embedded.Database:
    """One for all of these: each test has a shop of its own."""
    return embedded.create_database(servers.home, "held_back", template=template_database.name)


@pytest.fixture(scope="module")
def shared_engine(database: embedded.Database) -> Iterator[Engine]:
    engine = create_engine(database.url)
    yield engine
    engine.dispose()


@pytest.fixture
def seller(shared_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Seller:
    prefer_feeds(monkeypatch)
    return open_seller(shared_engine)


def assert_audit_is_clean(seller: Seller) -> None:
    with read_only(seller.floor.engine) as conn:
        found = {
            item.name: item.rows for item in invariants.check(conn, utc_now(), shop_id=seller.shop_id) if item.rows
        }
    assert found == {}


def in_feed(seller: Seller) -> set[str]:
    return {write["sku"] for write in seller.writes() if write["road"] == "feed"}


# --- what could sell out within a feed -------------------------------------------------------------------------------


def test_what_is_left_in_ones_never_goes_into_a_feed(seller: Seller) -> None:
    seller.count(dict.fromkeys(SKUS, -10))
    assert seller.push()["accepted"] == len(SKUS)
    seller.canned.units |= dict.fromkeys(SKUS, 0)
    for _ in range(3):
        seller.check()
    assert set(seller.outcomes().values()) == {"confirmed"}
    few = SKUS[:6]
    seller.count({sku: differences.LEFT_FEW + (sku not in few) for sku in SKUS})
    assert seller.send() == {"submitted": len(SKUS) - len(few)}
    assert in_feed(seller).isdisjoint(few)
    assert seller.push()["accepted"] == len(few)
    assert sorted(seller.canned.submissions[-len(few) :]) == [(sku, differences.LEFT_FEW) for sku in sorted(few)]
    # Another channel sells one of them out, and the number that is read back lets its zero leave.
    seller.canned.units |= dict.fromkeys(few, differences.LEFT_FEW)
    seller.check()
    seller.count({few[0]: -differences.LEFT_FEW})
    seller.push()
    assert seller.canned.submissions[-1] == (few[0], 0)
    assert_audit_is_clean(seller)


def test_what_all_channels_together_could_sell_within_a_feed_never_goes_into_one(
    shared_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefer_feeds(monkeypatch)
    seller = open_seller(shared_engine)
    hot, warm = SKUS[:2]
    with unit_of_work(shared_engine) as conn:
        other = make_connection(conn, seller.shop_id, account_ref=unique("till"), locations={"L": seller.location_id})
        levels = (LevelObservation("theirs", "L", 10, BASELINE),)
        take_in(
            conn, other, [make_channel_listing("theirs", ref="theirs", inventory_ref="theirs", code=hot, levels=levels)]
        )
        hours = roads.SLOW_AFTER / FACTOR / timedelta(hours=1)
        rates = {(seller.row.id, hot): 5 / hours, (other.id, hot): 10 / hours, (seller.row.id, warm): 13 / hours}
        for (connection_id, code), rate in rates.items():
            changed = execute(
                conn,
                """
                update listings set sales_per_hour = %(rate)s, publishing = 'on'
                where shop_id = %(s)s and connection_id = %(c)s
                    and sku_id = (select id from skus where shop_id = %(s)s and code = %(code)s)
                """,
                s=seller.shop_id,
                c=connection_id,
                code=code,
                rate=rate,
            )
            assert changed == 1
    seller.count(RAISED)
    assert seller.push()["accepted"] == 1
    assert seller.canned.submissions == [(hot, 15)]
    assert seller.send() == {"submitted": len(SKUS) - 1}
    assert hot not in in_feed(seller)


def test_a_feed_that_waits_is_cancelled_as_soon_as_something_in_it_has_to_go_to_zero(
    seller: Seller, monkeypatch: pytest.MonkeyPatch
) -> None:
    seller.count(RAISED)
    seller.send()
    ref = str(seller.feed()["feed_ref"])
    seller.later(monkeypatch, timedelta(hours=2))
    assert seller.look() == 0
    ring_pushes(seller.floor.app)
    check = {"shop_id": seller.shop_id, "connection_id": seller.row.id}
    assert check not in seller.floor.queue.rung("stock.check")
    assert seller.canned.feeds[ref].status == "IN_QUEUE", "nothing in it is to be zero, however late it is"
    seller.count({"SKU-0": -15})
    ring_pushes(seller.floor.app)
    assert check in seller.floor.queue.rung("stock.check"), "nobody waits for the next look"
    seller.later(monkeypatch, timedelta(hours=2, seconds=1))
    assert seller.look() == 1
    assert (seller.canned.feeds[ref].status, seller.feed()["state"]) == ("CANCELLED", "cancelled")
    assert seller.push()["accepted"] == len(SKUS)
    # The first to be planned; several leave side by side, so it may arrive a moment behind another.
    assert seller.writes()[len(SKUS)]["sku"] == "SKU-0"
    assert ("SKU-0", 0) in seller.canned.submissions
    with read_only(seller.floor.engine) as conn:
        assert feeds.lanes_with_zeros(conn) == []
    assert_audit_is_clean(seller)


def test_a_feed_that_runs_is_not_asked_about_zeros_and_its_zero_leaves_when_it_has_ended(
    seller: Seller, monkeypatch: pytest.MonkeyPatch
) -> None:
    seller.count(RAISED)
    seller.send()
    ref = str(seller.feed()["feed_ref"])
    seller.canned.finish(ref, "IN_PROGRESS")
    seller.count({"SKU-0": -15})
    with read_only(seller.floor.engine) as conn:
        assert feeds.lanes_with_zeros(conn) == [(seller.shop_id, seller.row.id)]
    assert seller.look() == 0
    with read_only(seller.floor.engine) as conn:
        assert feeds.lanes_with_zeros(conn) == []
    seller.canned.apply(ref)
    seller.canned.finish(ref, "DONE", report_of(12))
    seller.later(monkeypatch, timedelta(minutes=1))
    assert seller.look() == 1
    seller.check()
    seller.push()
    assert seller.canned.submissions == [("SKU-0", 0)]


# --- feeds that come to nothing --------------------------------------------------------------------------------------


def slowly(seller: Seller, patch: pytest.MonkeyPatch, seconds: float) -> None:
    """From now on an upload takes so long."""
    upload = type(seller.channel.bulk).upload

    def slow(self: Any, writes: Any) -> str:
        document: str = upload(self, writes)
        seller.later(patch, timedelta(seconds=seconds))
        return document

    patch.setattr(type(seller.channel.bulk), "upload", slow)


def test_after_a_feed_that_was_too_late_raises_go_one_by_one(seller: Seller, monkeypatch: pytest.MonkeyPatch) -> None:
    seller.count(RAISED)
    with monkeypatch.context() as patch:
        slowly(seller, patch, publishing.SEND_WITHIN.total_seconds() + 1)
        assert "too slowly" in seller.send()["given_up"]
    assert not seller.canned.feeds
    assert seller.push()["accepted"] == len(SKUS)
    assert len(seller.canned.documents) == 1
    assert_audit_is_clean(seller)


def test_the_feed_after_one_that_was_too_late_is_smaller(seller: Seller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roads, "RESTS_AFTER_FAILURE", timedelta(0))
    seller.count(RAISED)
    with monkeypatch.context() as patch:
        slowly(seller, patch, 2 * roads.READY_WITHIN.total_seconds())
        assert "given_up" in seller.send()
    seller.later(monkeypatch, timedelta(hours=1))
    assert seller.send() == {"submitted": len(SKUS) // 2 - 1}, "it took a little more than twice what it may"


class _Died(Exception):
    pass


@pytest.mark.parametrize(("module", "step"), [(feeding, "settle"), (feeds, "end")])
def test_a_sender_that_dies_telling_that_nothing_was_taken_keeps_nobody_waiting(
    seller: Seller, monkeypatch: pytest.MonkeyPatch, module: Any, step: str
) -> None:
    seller.count(RAISED)
    seller.account.network.plan("throttled", "POST https://sp-api.test/feeds/2021-06-30/feeds", times=99)

    def die(*_: object, **__: object) -> None:
        raise _Died

    with monkeypatch.context() as patch:
        patch.setattr(module, step, die)
        with pytest.raises(_Died):
            seller.send()
    assert seller.feed()["state"] == "submitted"
    assert seller.look() == 1
    assert (seller.feed()["state"], seller.exposed()) == ("cancelled", dict.fromkeys(SKUS, 10))
    assert {write["outcome"] for write in seller.writes()} == {"refused"}
    assert {write["outcome_detail"] for write in seller.writes()} == {seller.feed()["reason"]}
    assert_audit_is_clean(seller)


def test_how_many_feeds_left_lately_is_asked_of_an_index(seller: Seller, database: embedded.Database) -> None:
    with unit_of_work(seller.floor.engine) as conn:
        execute(
            conn,
            """
            insert into channel_feeds (shop_id, connection_id, state, because, document_ref, planned_at, submitted_at,
                ended_at)
            select %(s)s, %(c)s, 'done', 'of old', 'old-' || n, at, at, at
            from generate_series(1, 5000) n cross join lateral (select now() - n * interval '1 hour' as at) t
            """,
            s=seller.shop_id,
            c=seller.row.id,
        )
    # Only who owns a table can have its rows counted.
    owner = create_engine(database.migrate_url)
    with unit_of_work(owner) as conn:
        execute(conn, "analyze connections, channel_feeds")
        rows = fetch(
            conn,
            f"explain {weighing._SUBMITTED_LATELY}",
            shop=seller.shop_id,
            connection=seller.row.id,
            since=utc_now() - timedelta(minutes=5),
        )
    owner.dispose()
    plan = "\n".join(str(row["QUERY PLAN"]) for row in rows)
    assert "ix_channel_feeds_submitted_at" in plan, plan
