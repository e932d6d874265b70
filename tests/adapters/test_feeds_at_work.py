"""Feeds as the jobs send them and find out what became of them: real Postgres, canned Amazon."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Engine, create_engine

from core import bootstrap, embedded, invariants
from core.clock import utc_now
from core.connections import operations as connections
from core.connections import switches
from core.db import execute, fetch, read_only, unit_of_work
from core.inventory import checking, feeds, publishing, weighing
from core.inventory.publishing import WRITES_STOPPED, FeedPlace
from core.messaging.doorbell import Lane
from tests.adapters.canned_feeds import an_error, report_of
from tests.adapters.feeding import SKUS, Seller, open_seller, prefer_feeds
from tests.alerting import look
from tests.conftest import TestServers
from tests.factories import ACTOR
from workers import feeds as feeding

RAISED = dict.fromkeys(SKUS, 5)


@pytest.fixture(scope="module")
def shared_engine(servers: TestServers, template_database: embedded.Database) -> Iterator[Engine]:
    """One database for all of these: each test has a shop of its own."""
    database = embedded.create_database(servers.home, "feeds", template=template_database.name)
    engine = create_engine(database.url)
    yield engine
    engine.dispose()


@pytest.fixture
def seller(shared_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Seller:
    prefer_feeds(monkeypatch)
    return open_seller(shared_engine)


def ref_of(seller: Seller) -> str:
    return str(seller.feed()["feed_ref"])


def sent(seller: Seller) -> str:
    """Everything is raised and has left in a feed; returns Amazon's id of it."""
    seller.count(RAISED)
    assert seller.send() == {"submitted": len(SKUS)}
    return ref_of(seller)


def assert_audit_is_clean(seller: Seller) -> None:
    with read_only(seller.floor.engine) as conn:
        found = {
            item.name: item.rows for item in invariants.check(conn, utc_now(), shop_id=seller.shop_id) if item.rows
        }
    assert found == {}


def test_raises_leave_in_one_feed_and_are_believed_when_they_are_read_back(seller: Seller) -> None:
    ref = sent(seller)
    feed = seller.feed()
    assert (feed["state"], feed["messages"], feed["open_writes"]) == ("submitted", 12, 12)
    assert {(write["road"], write["sent_at"] is not None) for write in seller.writes()} == {("feed", True)}
    assert [message["sku"] for message in seller.canned.messages(ref)] == [
        write["sku"] for write in sorted(seller.writes(), key=lambda write: write["batch_position"])
    ]
    assert seller.exposed() == dict.fromkeys(SKUS, 25), "the old number may be sold, and the new one on top of it"
    seller.canned.apply(ref)
    assert seller.check() == {"checked": 0, "settled": 0}, "nothing is read before the feed has ended"
    seller.canned.finish(ref, "DONE", report_of(12))
    assert seller.check()["feeds_ended"] == 1
    seller.check()
    assert set(seller.outcomes().values()) == {"confirmed"}
    assert (seller.feed()["state"], seller.feed()["accepted"], seller.feed()["refused"]) == ("done", 12, 0)
    assert seller.exposed() == dict.fromkeys(SKUS, 15)
    assert_audit_is_clean(seller)


def test_where_orders_are_read_a_raise_in_a_feed_is_believed_once_the_watermark_has_passed_a_reading(
    shared_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefer_feeds(monkeypatch)
    seller = open_seller(shared_engine, reads_orders=True)
    with unit_of_work(shared_engine) as conn:
        connections.note_poll_complete(conn, seller.shop_id, seller.row.id, utc_now(), utc_now())
    ref = sent(seller)
    seller.canned.apply(ref)
    seller.canned.finish(ref, "DONE", report_of(12))
    for _ in range(2):
        seller.check()
    assert set(seller.outcomes().values()) == {None}, "sales may have led to the same numbers"
    assert seller.exposed() == dict.fromkeys(SKUS, 25)
    with unit_of_work(shared_engine) as conn:
        later = utc_now() + timedelta(minutes=1)
        connections.note_poll_complete(conn, seller.shop_id, seller.row.id, later, later)
        landed = checking.landed(conn, seller.shop_id, seller.row.id)
        publishing.settle(conn, seller.shop_id, landed, timedelta(0), later)
        checking.end_doubts(conn, seller.shop_id, seller.row.id, later)
    assert set(seller.outcomes().values()) == {"confirmed"}
    assert seller.exposed() == dict.fromkeys(SKUS, 15)


def test_trap_5_done_is_not_success_line_by_line(seller: Seller) -> None:
    ref = sent(seller)
    skus = [message["sku"] for message in seller.canned.messages(ref)]
    seller.canned.finish(ref, "DONE", report_of(12, an_error(3, skus[2]), an_error(3, skus[2], "99022"), an_error(7)))
    assert seller.look() == 1
    refused = {sku for sku, outcome in seller.outcomes().items() if outcome == "refused"}
    assert refused == {skus[2], skus[6]}
    (one,) = [write for write in seller.writes() if write["sku"] == skus[2]]
    assert (one["outcome_code"], "99022" in one["outcome_detail"]) == ("90220", True)
    assert {sku: units for sku, units in seller.exposed().items() if units == 10}.keys() == refused
    assert {write["accepted_at"] is not None for write in seller.writes() if write["outcome"] is None} == {True}
    assert (seller.feed()["accepted"], seller.feed()["refused"]) == (10, 2)
    assert_audit_is_clean(seller)


def test_trap_5_a_fatal_feed_leaves_all_of_it_in_doubt_and_what_landed_is_found(seller: Seller) -> None:
    ref = sent(seller)
    landed = [message["sku"] for message in seller.canned.messages(ref)][:5]
    for sku in landed:
        seller.canned.units[sku] = 15
    seller.canned.finish(ref, "FATAL")
    assert seller.look() == 1
    assert set(seller.outcomes().values()) == {None}
    assert {write["doubt"] for write in seller.writes()} == {
        "the feed was aborted: some, none or all of it may be in force"
    }
    seller.check()
    outcomes = seller.outcomes()
    assert {sku for sku in SKUS if outcomes[sku] == "confirmed"} == set(landed)
    assert {outcomes[sku] for sku in SKUS if sku not in landed} == {None}
    assert {seller.exposed()[sku] for sku in SKUS if sku not in landed} == {25}
    assert_audit_is_clean(seller)


def test_a_cancelled_feed_did_surely_nothing(seller: Seller) -> None:
    ref = sent(seller)
    seller.canned.finish(ref, "CANCELLED")
    assert seller.look() == 1
    assert set(seller.outcomes().values()) == {"refused"}
    assert seller.exposed() == dict.fromkeys(SKUS, 10)
    assert seller.feed()["state"] == "cancelled"
    assert_audit_is_clean(seller)


@pytest.mark.parametrize("status", ["IN_QUEUE", "IN_PROGRESS"])
def test_a_feed_that_has_not_ended_settles_nothing(seller: Seller, status: str) -> None:
    ref = sent(seller)
    seller.canned.finish(ref, status)
    assert seller.look() == 0
    assert set(seller.outcomes().values()) == {None}
    assert seller.feed()["state"] == ("submitted" if status == "IN_QUEUE" else "in_progress")


def test_a_report_that_cannot_be_read_is_asked_for_again(seller: Seller) -> None:
    ref = sent(seller)
    seller.canned.finish(ref, "DONE", b"<html>")
    assert seller.look() == 0
    assert set(seller.outcomes().values()) == {None}
    seller.canned.finish(ref, "DONE", report_of(12))
    assert seller.look() == 1


def test_done_without_a_report_proves_nothing(seller: Seller) -> None:
    ref = sent(seller)
    seller.canned.finish(ref, "DONE")
    assert seller.look() == 1
    assert set(seller.outcomes().values()) == {None}
    assert seller.feed()["unshown_writes"] == 12


def test_zeros_and_lowered_numbers_never_wait_behind_a_feed(seller: Seller) -> None:
    seller.count({"SKU-0": -10, "SKU-1": -3, **dict.fromkeys(SKUS[2:], 5)})
    counts = seller.push()
    assert (counts["accepted"], counts["left_to_feed"]) == (2, 1)
    assert dict(seller.canned.submissions) == {"SKU-0": 0, "SKU-1": 7}
    assert seller.floor.queue.rung("stock.feed") == [{"shop_id": seller.shop_id, "connection_id": seller.row.id}]
    assert seller.send() == {"submitted": 10}
    roads = {write["sku"]: write["road"] for write in seller.writes()}
    assert {sku for sku, road in roads.items() if road == "call"} == {"SKU-0", "SKU-1"}


def test_scarce_goods_never_go_into_a_feed(seller: Seller) -> None:
    with unit_of_work(seller.floor.engine) as conn:
        execute(
            conn,
            """
            update stock_levels set escrow_line_units = 8 where shop_id = %(s)s
                and sku_id in (select id from skus where code in ('SKU-0', 'SKU-1') and shop_id = %(s)s)
            """,
            s=seller.shop_id,
        )
    sent_in_feed = {"SKU-0", "SKU-1"}
    seller.count(RAISED)
    assert seller.send() == {"submitted": 10}
    assert sent_in_feed.isdisjoint(message["sku"] for message in seller.canned.messages(ref_of(seller)))
    seller.push()
    assert {sku for sku, _ in seller.canned.submissions} == sent_in_feed


def test_trap_10_behind_a_stuck_feed_everything_else_goes_one_by_one_and_somebody_is_told(
    seller: Seller, monkeypatch: pytest.MonkeyPatch
) -> None:
    seller.count(dict.fromkeys(SKUS[:6], 5))
    seller.send()
    seller.canned.finish(ref_of(seller), "IN_PROGRESS")
    seller.look()
    seller.count({"SKU-0": -15, **dict.fromkeys(SKUS[6:], 5)})
    assert seller.push()["accepted"] == 6
    assert {sku for sku, _ in seller.canned.submissions} == set(SKUS[6:])
    assert seller.send()["because"].startswith("one feed is under way")
    with unit_of_work(seller.floor.engine) as conn:
        now = utc_now() + timedelta(days=3)
        assert [look(conn, seller.shop_id, kind, now) for kind in ("slow_feed", "unshown_feed")] == ["open", "nothing"]
        assert look(conn, seller.shop_id, "slow_feed", now) == "keep"
        (told,) = fetch(
            conn, "select payload ->> 'text' as text from outbox_messages where shop_id = %(s)s", s=seller.shop_id
        )
    assert "with 6 listings, 1 of which should show nothing by now and cannot be told" in told["text"]
    assert "4320 minutes" in told["text"]
    of_feed = "select feed_id, connection_id, listings, zeros from slow_feeds where shop_id = %(s)s"
    card = {"feed_id": seller.feed()["id"], "connection_id": seller.row.id, "listings": 6, "zeros": 1}
    assert seller.floor.rows(of_feed, s=seller.shop_id) == [card]
    seller.canned.apply(ref_of(seller))
    seller.canned.finish(ref_of(seller), "DONE", report_of(6))
    seller.look()
    with unit_of_work(seller.floor.engine) as conn:
        assert look(conn, seller.shop_id, "slow_feed", now) == "close"


def test_trap_6_what_was_accepted_and_does_not_show_stays_open_and_exposed_and_is_told(
    seller: Seller, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = sent(seller)
    seller.canned.apply(ref)
    hidden = {"SKU-3", "SKU-4"}
    for sku in hidden:
        seller.canned.units[sku] = 10
    seller.canned.finish(ref, "DONE", report_of(12))
    for _ in range(3):
        seller.check()
    assert {sku for sku, outcome in seller.outcomes().items() if outcome is None} == hidden
    assert {seller.exposed()[sku] for sku in hidden} == {25}
    assert seller.feed()["unshown_writes"] == 2
    with unit_of_work(seller.floor.engine) as conn:
        now = utc_now()
        assert [look(conn, seller.shop_id, kind, now) for kind in ("slow_feed", "unshown_feed")] == ["nothing", "open"]
        (told,) = fetch(
            conn, "select payload ->> 'text' as text from outbox_messages where shop_id = %(s)s", s=seller.shop_id
        )
        assert "2 of feed" in told["text"]
    card = seller.floor.one("select * from unshown_feeds where shop_id = %(s)s", s=seller.shop_id)
    assert (card["feed_id"], card["writes"], card["example_code"]) == (seller.feed()["id"], 2, "SKU-3")
    # A person ends what is left, by what Amazon shows now.
    seller.floor.accounts[seller.row.id] = seller.account
    ended, left = feeding.settle_feed(seller.floor.app, seller.feed()["id"], ACTOR)
    assert (ended, left, seller.feed()["open_writes"]) == (2, 0, 0)
    assert {seller.outcomes()[sku] for sku in hidden} == {"stale"}
    assert {seller.exposed()[sku] for sku in hidden} == {25}, "until a reading has been passed"
    assert_audit_is_clean(seller)
    seller.push()
    assert {sku for sku, _ in seller.canned.submissions} == hidden


def test_where_another_number_was_submitted_since_the_write_will_not_come_into_force(seller: Seller) -> None:
    ref = sent(seller)
    seller.canned.apply(ref)
    seller.canned.submitted |= {"SKU-3": 4}
    for sku in ("SKU-3", "SKU-4"):
        seller.canned.units[sku] = 10
    seller.canned.finish(ref, "DONE", report_of(12))
    for _ in range(4):
        seller.check()
    open_ones = {sku for sku, outcome in seller.outcomes().items() if outcome is None}
    assert open_ones == {"SKU-4"}, "of which the last submission is ours"
    (one,) = [write for write in seller.writes() if write["sku"] == "SKU-3"]
    assert (one["outcome"], one["outcome_code"]) == ("stale", "NOT_SUBMITTED")
    assert_audit_is_clean(seller)


# --- on the way out --------------------------------------------------------------------------------------------------


def test_what_is_too_old_when_it_would_leave_does_not_leave(seller: Seller, monkeypatch: pytest.MonkeyPatch) -> None:
    seller.count(RAISED)
    upload = type(seller.channel.bulk).upload

    def slowly(self: object, writes: object) -> str:
        document: str = upload(self, writes)  # type: ignore[arg-type]
        seller.later(monkeypatch, publishing.SEND_WITHIN)
        return document

    monkeypatch.setattr(type(seller.channel.bulk), "upload", slowly)
    assert seller.send() == {"given_up": "it was put together too slowly to leave"}
    assert not seller.canned.feeds
    assert {(write["outcome"], write["sent_at"]) for write in seller.writes()} == {("withdrawn", None)}
    assert (seller.feed()["state"], seller.exposed()) == ("cancelled", dict.fromkeys(SKUS, 10))


def test_a_stop_while_it_is_uploaded_holds_all_of_it(seller: Seller, monkeypatch: pytest.MonkeyPatch) -> None:
    seller.count(RAISED)
    upload = type(seller.channel.bulk).upload

    def then_stop(self: object, writes: object) -> str:
        document: str = upload(self, writes)  # type: ignore[arg-type]
        with unit_of_work(seller.floor.engine) as conn:
            switches.stop_writes(conn, seller.shop_id, seller.row.id, ACTOR, utc_now())
        return document

    monkeypatch.setattr(type(seller.channel.bulk), "upload", then_stop)
    assert seller.send() == {"given_up": "nothing may be written any more"}
    held = seller.floor.rows("select has_failed from channel_feeds where shop_id = %(s)s", s=seller.shop_id)
    assert held == [{"has_failed": False}], "it is not held against feeds"
    assert not seller.canned.feeds
    assert {(write["outcome"], write["outcome_code"]) for write in seller.writes()} == {("withdrawn", WRITES_STOPPED)}


def test_a_document_that_is_not_taken_sends_everything_down_the_other_road(seller: Seller) -> None:
    seller.count(RAISED)
    seller.canned.dead = {"doc-0", "doc-1"}
    assert "given_up" in seller.send()
    assert {write["outcome"] for write in seller.writes()} == {"withdrawn"}
    assert seller.push()["accepted"] == 12
    assert {write["road"] for write in seller.writes() if write["outcome"] is None} == {"call"}


def test_a_submission_that_is_refused_did_surely_nothing(seller: Seller) -> None:
    seller.count(RAISED)
    seller.account.network.plan("throttled", "POST https://sp-api.test/feeds/2021-06-30/feeds", times=99)
    assert seller.send() == {"unsent": 12}
    assert set(seller.outcomes().values()) == {"refused"}
    assert (seller.feed()["state"], seller.exposed()) == ("cancelled", dict.fromkeys(SKUS, 10))
    assert_audit_is_clean(seller)


def lost(seller: Seller, mishap: str) -> None:
    seller.count(RAISED)
    seller.account.network.plan(mishap, "POST https://sp-api.test/feeds/2021-06-30/feeds")  # type: ignore[arg-type]
    assert seller.send() == {"unknown": 12}
    assert (seller.feed()["state"], seller.feed()["feed_ref"]) == ("submitted", None)
    assert set(seller.outcomes().values()) == {None}


def test_a_feed_whose_reply_got_lost_is_found_at_the_channel_and_never_sent_again(
    seller: Seller, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost(seller, "lost_reply")
    (ref,) = seller.canned.feeds
    assert seller.look() == 0
    assert seller.feed()["feed_ref"] is None, "it may still be on its way"
    seller.later(monkeypatch, feeds.UNSURE_FOR)
    assert seller.look() == 0
    assert ref_of(seller) == ref
    seller.canned.apply(ref)
    seller.canned.finish(ref, "DONE", report_of(12))
    seller.later(monkeypatch, feeds.UNSURE_FOR + timedelta(minutes=1))
    assert seller.look() == 1
    seller.check()
    assert set(seller.outcomes().values()) == {"confirmed"}
    assert len(seller.canned.feeds) == 1


def test_a_feed_that_never_arrived_exposes_nothing_once_that_is_sure(
    seller: Seller, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost(seller, "lost_reply")
    seller.canned.feeds.clear()
    seller.later(monkeypatch, feeds.UNSURE_FOR - timedelta(seconds=5))
    assert seller.look() == 0
    assert seller.exposed() == dict.fromkeys(SKUS, 25)
    seller.later(monkeypatch, feeds.UNSURE_FOR + feeds.UNSEEN_FOR)
    assert seller.look() == 1
    assert {write["outcome_code"] for write in seller.writes()} == {"FEED_LOST"}
    assert (seller.feed()["state"], seller.exposed()) == ("lost", dict.fromkeys(SKUS, 10))
    assert_audit_is_clean(seller)


def test_where_several_might_be_it_nobody_guesses(seller: Seller, monkeypatch: pytest.MonkeyPatch) -> None:
    lost(seller, "lost_reply")
    (ref,) = seller.canned.feeds
    seller.canned.feeds["somebody's"] = seller.canned.feeds[ref]
    seller.later(monkeypatch, feeds.UNSURE_FOR + timedelta(seconds=5))
    assert seller.look() == 1
    assert (seller.feed()["state"], seller.feed()["unshown_writes"]) == ("lost", 12)
    assert seller.exposed() == dict.fromkeys(SKUS, 25)


def test_a_dead_senders_feed_that_was_not_marked_is_withdrawn_by_the_next(seller: Seller) -> None:
    seller.count(RAISED)
    with unit_of_work(seller.floor.engine) as conn:
        lane = feeding.lane_of(seller.row, seller.channel, 1)
        dead = feeds.begin(conn, lane, "because", utc_now())
        assert dead is not None
        place = FeedPlace(dead, feeds.new_key(), 0)
        assert len(feeds.fill(conn, lane, place, 5, timedelta(0), utc_now())) == 5
    assert seller.send() == {"submitted": 12}
    assert sorted(str(write["outcome"]) for write in seller.writes()) == ["None"] * 12 + ["withdrawn"] * 5
    assert_audit_is_clean(seller)


def test_many_are_planned_in_sets(seller: Seller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "PLANNED_AT_ONCE", 5)
    ref = sent(seller)
    assert sorted(write["batch_position"] for write in seller.writes()) == list(range(12))
    assert [message["messageId"] for message in seller.canned.messages(ref)] == list(range(1, 13))
    assert len({write["planned_at"] for write in seller.writes()}) == 3


def test_the_job_sends_a_feed_and_rings_for_what_is_left(seller: Seller, monkeypatch: pytest.MonkeyPatch) -> None:
    from workers.jobs import feeds as jobs

    seller.count(RAISED)
    monkeypatch.setattr(bootstrap, "application", lambda: seller.floor.app)
    monkeypatch.setattr(type(seller.floor), "channel", lambda self, row: _Same(seller))
    assert jobs.send(shop_id=seller.shop_id, connection_id=seller.row.id) == {"submitted": 12}
    assert {name for name, _ in seller.floor.queue.rings} >= {"stock.push", "stock.check"}


class _Same:
    """The same channel each time, whose quota has come to something."""

    def __init__(self, seller: Seller) -> None:
        self._seller = seller

    def __enter__(self) -> object:
        return self._seller.channel

    def __exit__(self, *_: object) -> None:
        pass


def test_the_limit_of_feeds_is_the_sellers_whichever_shop_sends_them(seller: Seller) -> None:
    other = open_seller(seller.floor.engine)
    now = utc_now()

    def lately() -> int:
        lane = Lane("stock-push", other.shop_id, other.row.id)
        with read_only(seller.floor.engine) as conn:
            return len(weighing._submitted_lately(conn, lane, timedelta(minutes=5), now))

    sent(seller)
    assert lately() == 0
    with unit_of_work(seller.floor.engine) as conn:
        execute(
            conn,
            "update connections set account_ref = lower(%(account)s) where id = %(id)s",
            account=seller.row.account_ref,
            id=other.row.id,
        )
    assert lately() == 1
