"""What the jobs make of a Shopify: first loads, subscriptions, hints, shops side by side. On real Postgres."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine

from core import bootstrap, embedded
from core.adapters.shopify.parsing import SUBSCRIBED
from core.clock import utc_now
from core.connections import switches, watching
from core.connections.queries import ConnectionRow
from core.db import execute, fetch, unit_of_work
from core.errors import Permanent, Retryable
from core.messaging.doorbell import Lane, lane_lock
from core.orders import intake
from core.ports import ChannelSubscription
from core.runs import control
from tests.adapters.bodies import ORDER
from tests.adapters.canned_shopify import CannedShop
from tests.adapters.floor import Floor
from tests.conftest import TestServers
from tests.factories import ACTOR
from workers import exports
from workers.jobs.asking import read_orders
from workers.jobs.subscriptions import check_subscriptions


@pytest.fixture(scope="module")
def shared_engine(servers: TestServers, template_database: embedded.Database) -> Iterator[Engine]:
    """One database for the module: every test has shops of its own."""
    database = embedded.create_database(servers.home, "shopify_jobs", template=template_database.name)
    engine = create_engine(database.url)
    yield engine
    engine.dispose()


@pytest.fixture
def floor(shared_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Floor:
    made = Floor(shared_engine)
    monkeypatch.setattr(bootstrap, "application", lambda: made)
    monkeypatch.setattr(exports, "EXPORT_FROM", 5)
    # A minute on the channel's clock is too short for our own rows where the machine is busy.
    monkeypatch.setattr(exports, "PATIENCE", timedelta(days=1))
    return made


# --- the first load ---------------------------------------------------------------------------------------------------


def test_a_large_catalogue_is_exported(floor: Floor) -> None:
    canned = CannedShop()
    row = floor.connect(canned)
    counts = floor.sync(row)
    assert (counts["listings"], counts["taken_over"], counts["publishing_started"]) == (10, 10, 10)
    assert canned.exports_begun == 1
    assert _operations(floor, row).count("variants") == 0
    run = floor.one("select state, done, total from sync_runs where connection_id = %(c)s", c=row.id)
    assert run == {"state": "done", "done": 10, "total": 10}
    assert watching.EXPORT not in floor.row(row.shop_id, row.id).settings


def test_a_sync_that_is_stopped_ends_at_its_next_step_and_the_next_one_goes_through(
    floor: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = floor.connect(CannedShop())
    take_in = intake.take_in
    read: list[int] = []

    def stopped_meanwhile(conn: Connection, of: ConnectionRow, page: Any, now: datetime) -> Any:
        read.append(len(page))
        (run,) = fetch(conn, "select id from sync_runs where connection_id = %(c)s and state = 'running'", c=of.id)
        with unit_of_work(floor.engine) as other:
            control.cancel(other, of.shop_id, run["id"], ACTOR, utc_now())
        return take_in(conn, of, page, now)

    with monkeypatch.context() as patched:
        patched.setattr(intake, "take_in", stopped_meanwhile)
        assert floor.sync(row) == {"cancelled": True}
    assert len(read) == 1, "what it was in the middle of is finished, and nothing more is read"
    run = floor.one("select state, cancel_asked_by from sync_runs where connection_id = %(c)s", c=row.id)
    assert run == {"state": "cancelled", "cancel_asked_by": ACTOR.name}
    assert floor.one("select count(*) as n from listings where connection_id = %(c)s", c=row.id)["n"] == read[0]
    assert floor.sync(row)["listings"] == 10


def test_a_sync_without_an_answer_has_failed_and_one_that_is_refused_was_answered(
    floor: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is a failed job that can be done again; the second is an answer of the channel's."""
    row = floor.connect(CannedShop())

    def meets(error: Exception) -> None:
        def take_in(*_given: Any) -> Any:
            raise error

        monkeypatch.setattr(intake, "take_in", take_in)

    meets(Retryable("the network is gone"))
    with pytest.raises(Retryable, match="the network is gone"):
        floor.sync(row)
    meets(Permanent("the token lacks a scope"))
    assert floor.sync(row) == {"failed": "the token lacks a scope"}
    ended = floor.rows("select state, error from sync_runs where connection_id = %(id)s order by id", id=row.id)
    assert [(run["state"], run["error"]) for run in ended] == [
        ("failed", "the network is gone"),
        ("failed", "the token lacks a scope"),
    ]


def test_a_small_catalogue_is_read_by_pages(floor: Floor) -> None:
    canned = CannedShop(levels={"5000": 3, "5001": 4})
    row = floor.connect(canned)
    assert floor.sync(row)["listings"] == 2
    assert canned.exports_begun == 0


@pytest.mark.parametrize(
    "shop",
    [
        pytest.param(CannedShop(export_errors=["LIMIT_REACHED"]), id="limit_reached"),
        pytest.param(CannedShop(export_errors=["OPERATION_IN_PROGRESS"]), id="operation_in_progress"),
        pytest.param(CannedShop(export_errors=["INVALID"]), id="invalid"),
        pytest.param(CannedShop(export_states=["RUNNING", "FAILED"]), id="failed"),
        pytest.param(CannedShop(export_states=["FAILED"], export_partial=True), id="failed_with_a_part"),
        pytest.param(CannedShop(export_states=["CANCELING", "CANCELED"]), id="canceled"),
        pytest.param(CannedShop(export_states=["EXPIRED"]), id="expired"),
        pytest.param(CannedShop(export_is_empty=True), id="empty"),
    ],
)
def test_an_export_that_comes_to_nothing_is_made_up_for_by_pages(floor: Floor, shop: CannedShop) -> None:
    row = floor.connect(shop)
    counts = floor.sync(row)
    assert counts["taken_over"] == 10
    assert "variants" in _operations(floor, row)
    assert len(shop.files_given) == shop.export_partial
    assert watching.EXPORT not in floor.row(row.shop_id, row.id).settings


def test_a_restart_picks_up_the_export_under_way(floor: Floor) -> None:
    canned = CannedShop(export_states=["RUNNING"])
    row = floor.connect(canned, clock_factor=1_000_000)
    assert "still writing" in floor.sync(row)["waiting"]
    run = floor.one("select id, state, error from sync_runs where connection_id = %(c)s", c=row.id)
    assert (run["state"], "export 42" in run["error"]) == ("queued", True)
    assert floor.row(row.shop_id, row.id).settings[watching.EXPORT] == "42"
    canned.export_states, canned.export_began = ["COMPLETED"], utc_now().isoformat()
    assert floor.sync(row)["taken_over"] == 10
    assert canned.exports_begun == 1
    assert {watching.EXPORT, watching.EXPORT_HOLDS_UNTIL}.isdisjoint(floor.row(row.shop_id, row.id).settings)


@pytest.mark.parametrize("how_it_ended", ["put_back", "worker_died"])
def test_an_export_that_is_picked_up_holds_what_was_sold_before_it_began(
    floor: Floor, monkeypatch: pytest.MonkeyPatch, how_it_ended: str
) -> None:
    # The numbers' last change is the sale itself: without the shop's word it would look like one still to come.
    canned = CannedShop(export_states=["RUNNING"])
    canned.place_order("77", 1)
    row = floor.connect(canned, clock_factor=1_000_000)
    if how_it_ended == "worker_died":
        with monkeypatch.context() as patch:
            patch.setattr(exports, "_awaited", _die)
            with pytest.raises(SystemExit):
                floor.sync(row)
        with unit_of_work(floor.engine) as conn:
            execute(
                conn,
                "update sync_runs set heartbeat_at = heartbeat_at - interval '1 day' where connection_id = %(c)s",
                c=row.id,
            )
    else:
        floor.sync(row)
    # Sold while the catalogue is written down, perhaps after its level: that one is in doubt.
    sold_meanwhile = utc_now().replace(microsecond=0).isoformat()
    canned.place_order("78", 1, at=sold_meanwhile)
    canned.export_states, canned.export_began = ["COMPLETED"], utc_now().isoformat()
    assert floor.sync(row)["taken_over"] == 10
    assert canned.exports_begun == 1
    floor.drain(row)
    # 10 shown: the one that was sold before lies on the shelf beside them, the other is taken off.
    level = floor.one(
        "select k.on_hand, k.reserved from stock_levels k join skus s on s.shop_id = k.shop_id and s.id = k.sku_id"
        " where s.shop_id = %(s)s and s.code = 'SKU-5000'",
        s=row.shop_id,
    )
    assert level == {"on_hand": 11, "reserved": 2}


@pytest.mark.parametrize("state", ["RUNNING", "CANCELING"])
def test_an_export_that_hangs_for_hours_is_given_up(floor: Floor, state: str) -> None:
    canned = CannedShop(export_states=[state])
    row = floor.connect(canned, clock_factor=1_000_000)
    assert "still writing" in floor.sync(row)["waiting"]
    canned.export_began = (utc_now() - timedelta(hours=4)).isoformat()
    assert floor.sync(row)["taken_over"] == 10
    assert canned.exports_begun == 1
    assert watching.EXPORT not in floor.row(row.shop_id, row.id).settings


@pytest.mark.parametrize("address", ["https://[", "https://169.254.169.254/x", "https://storage.test/\x01"])
def test_a_file_at_no_address_to_follow_is_made_up_for_by_pages(floor: Floor, address: str) -> None:
    canned = CannedShop(export_address=address)
    row = floor.connect(canned)
    assert floor.sync(row)["taken_over"] == 10
    assert canned.files_given == []


def test_an_old_export_is_not_taken_for_the_catalogue_of_today(floor: Floor) -> None:
    canned = CannedShop(export_states=["COMPLETED"], export_query="{ products }")
    row = floor.connect(canned, export="42")
    assert floor.sync(row)["taken_over"] == 10
    assert canned.exports_begun == 1


def test_the_end_of_an_export_rings_the_sync_that_waits_for_it(floor: Floor) -> None:
    row = floor.connect(CannedShop(export_states=["RUNNING"]), clock_factor=1_000_000)
    floor.sync(row)
    body = json.dumps({"admin_graphql_api_id": "gid://shopify/BulkOperation/42", "status": "completed"}).encode()
    floor.queue.rings.clear()
    floor.deliver(row, ("bulk_operations/finish", body.replace(b"/42", b"/43")))
    assert floor.queue.rung("connection.sync") == []
    floor.deliver(row, ("bulk_operations/finish", body))
    run = floor.one("select id from sync_runs where connection_id = %(c)s", c=row.id)
    assert floor.queue.rung("connection.sync") == [
        {"shop_id": row.shop_id, "connection_id": row.id, "sync_run_id": run["id"]}
    ]


# --- subscriptions ----------------------------------------------------------------------------------------------------


def test_subscriptions_are_made_and_on_record(floor: Floor) -> None:
    canned = CannedShop()
    row = floor.connect(canned)
    count = len(SUBSCRIBED)
    assert floor.check(row) == {
        "standing": count, "missing": 0, "refused": 0, "advised": 0, "changed": count, "dropped": 0
    }  # fmt: skip
    assert floor.check(row)["changed"] == 0
    assert {one["uri"] for one in canned.subscriptions} == {f"https://us.test/webhooks/shopify/{row.id}"}
    topics = _topics(floor, row)
    assert set(topics) == set(SUBSCRIBED)
    assert {(one["state"], one["repairs"], one["missed_at"], one["problem"]) for one in topics.values()} == {
        ("standing", 0, None, None)
    }
    assert all(one["ref"].startswith("gid://") for one in topics.values())


def test_a_topic_without_a_scope_that_is_only_advised_is_told_apart(floor: Floor) -> None:
    topic = "fulfillment_orders/order_routing_complete"
    canned = CannedShop(refused_topics=["FULFILLMENT_ORDERS_ORDER_ROUTING_COMPLETE"])
    row = floor.connect(canned)
    counts = floor.check(row)
    assert (counts["standing"], counts["refused"], counts["advised"]) == (len(SUBSCRIBED) - 1, 0, 1)
    found = _topics(floor, row)
    assert {name for name, one in found.items() if one["is_advised"]} == {topic}
    assert "read_merchant_managed_fulfillment_orders" in found[topic]["problem"]
    # Refused although the scope is granted: that is no mere advice.
    canned.scopes.append("write_merchant_managed_fulfillment_orders")
    assert floor.check(row)["refused"] == 1
    assert _topics(floor, row)[topic]["is_advised"] is False


def test_two_connections_to_one_account_keep_their_own_subscriptions_and_follow_their_own_moves(
    floor: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of another shop here, or of another installation: it is the same app to Shopify, and the same name."""
    canned = CannedShop()
    first, second = floor.connect(canned), floor.connect(canned)
    for row in (first, second, first):
        floor.check(row)
    assert floor.check(first)["changed"] == 0

    def addresses() -> dict[str, int]:
        return dict(Counter(one["uri"] for one in canned.subscriptions))

    count = len(SUBSCRIBED)
    here, there = (f"https://us.test/webhooks/shopify/{row.id}" for row in (first, second))
    assert addresses() == {here: count, there: count}
    ids = {one["id"] for one in canned.subscriptions}
    monkeypatch.setattr(Floor, "webhook_address", lambda _self, row: f"https://moved.test/webhooks/shopify/{row.id}")
    assert floor.check(first)["changed"] == count
    assert addresses() == {here.replace("us.test", "moved.test"): count, there: count}
    assert {one["id"] for one in canned.subscriptions} == ids


def test_a_dropped_subscription_is_mended_and_its_gap_filled(floor: Floor) -> None:
    canned = CannedShop()
    row = floor.connect(canned)
    floor.check(row)
    canned.subscriptions = [one for one in canned.subscriptions if one["topic"] != "ORDERS_CREATE"]
    assert floor.check(row)["dropped"] == 1
    found = _topics(floor, row)["orders/create"]
    assert (found["state"], found["repairs"]) == ("standing", 1)
    assert found["missed_at"] is not None
    assert found["repaired_at"] is not None
    assert floor.queue.rung("connection.poll") == [{"shop_id": row.shop_id, "connection_id": row.id}]
    assert floor.queue.rung("connection.sync") == []
    assert floor.check(row)["dropped"] == 0
    notices = floor.rows("select payload ->> 'text' as text from outbox_messages where shop_id = %(s)s", s=row.shop_id)
    assert [notice["text"].partition(":")[0] for notice in notices] == [
        f"{row.name} had stopped calling us for orders/create"
    ]


def test_levels_that_were_not_told_are_read_again(floor: Floor) -> None:
    canned = CannedShop()
    row = floor.connect(canned)
    floor.check(row)
    canned.subscriptions = [one for one in canned.subscriptions if one["topic"] != "INVENTORY_LEVELS_UPDATE"]
    floor.check(row)
    run = floor.one("select id, trigger, reason from sync_runs where connection_id = %(c)s", c=row.id)
    assert (run["trigger"], "inventory_levels/update" in run["reason"]) == ("event", True)
    assert [ring["sync_run_id"] for ring in floor.queue.rung("connection.sync")] == [run["id"]]


def test_a_subscription_that_leaves_fields_out_is_made_whole(floor: Floor) -> None:
    canned = CannedShop()
    row = floor.connect(canned)
    floor.check(row)
    canned.subscriptions[0]["includeFields"] = ["id", "note"]
    canned.subscriptions[1]["filter"] = "total_price:>100"
    assert floor.check(row)["changed"] == 2
    assert {(one["filter"], tuple(one["includeFields"])) for one in canned.subscriptions} == {(None, ())}


def test_a_refused_topic_holds_up_no_other_and_says_all_that_is_wrong(floor: Floor) -> None:
    canned = CannedShop(refused_topics=["ORDERS_EDITED"])
    row = floor.connect(canned)
    others = len(SUBSCRIBED) - 1
    assert floor.check(row) == {
        "standing": others, "missing": 0, "refused": 1, "advised": 0, "changed": others, "dropped": 0
    }  # fmt: skip
    found = _topics(floor, row)["orders/edited"]
    assert (found["state"], found["problem"], found["ref"]) == ("refused", "this; and that", None)


def test_while_writes_are_stopped_subscriptions_are_only_looked_at(floor: Floor) -> None:
    canned = CannedShop()
    row = floor.connect(canned)
    _stop(floor, row)
    counts = floor.check(row)
    # One of them could not be made either: no scope for it is granted.
    assert (counts["missing"], counts["advised"]) == (len(SUBSCRIBED) - 1, 1)
    assert canned.subscriptions == []
    _resume(floor, row)
    assert floor.check(row)["standing"] == len(SUBSCRIBED)
    _stop(floor, row)
    canned.subscriptions = [one for one in canned.subscriptions if one["topic"] != "ORDERS_CREATE"]
    counts = floor.check(row)
    others = len(SUBSCRIBED) - 1
    assert counts == {"standing": others, "missing": 1, "refused": 0, "advised": 0, "changed": 0, "dropped": 1}
    assert floor.check(row)["dropped"] == 0, "told of a second time"
    lost = next(one for one in _topics(floor, row).values() if one["state"] == "missing")
    assert (lost["repairs"], lost["repaired_at"]) == (0, None)
    assert lost["missed_at"] is not None
    _resume(floor, row)
    counts = floor.check(row)
    assert (counts["standing"], counts["dropped"]) == (len(SUBSCRIBED), 1)
    assert _topics(floor, row)[lost["topic"]]["repairs"] == 1


def test_two_that_check_at_once_do_not_make_them_twice(floor: Floor) -> None:
    canned = CannedShop()
    row = floor.connect(canned)
    with lane_lock(floor.engine, Lane("subscriptions", row.shop_id, row.id)) as is_held:
        assert is_held
        assert check_subscriptions(floor.app, row, floor.accounts[row.id].channel()) == {"busy": True}
    assert canned.subscriptions == []


def test_in_shadow_mode_a_channel_is_asked_to_call_us(floor: Floor) -> None:
    row = floor.connect(CannedShop())
    with unit_of_work(floor.engine) as conn:
        switches.to_shadow(conn, row.shop_id, row.id, ACTOR, utc_now())
    assert floor.check(row)["standing"] == len(SUBSCRIBED)


def test_a_topic_that_is_no_longer_ours_is_forgotten(floor: Floor) -> None:
    row = floor.connect(CannedShop())
    with unit_of_work(floor.engine) as conn:
        watching.note_subscriptions(
            conn, row.shop_id, row.id, [ChannelSubscription("old/topic", "standing")], utc_now()
        )
    floor.check(row)
    assert "old/topic" not in _topics(floor, row)


# --- hints, and what people do at the channel -------------------------------------------------------------------------


def test_an_edited_order_is_asked_for_and_counted_once(floor: Floor) -> None:
    canned = CannedShop()
    canned.place_order("77", 1)
    row = floor.connect(canned)
    floor.sync(row)
    edit = {"order_edit": {"id": 1, "order_id": 77, "created_at": "2026-11-20T09:30:00Z", "committed_at": None}}
    floor.deliver(row, ("orders/edited", json.dumps(edit).encode()))
    (ring,) = floor.queue.rung("orders.read")
    assert ring == {"shop_id": row.shop_id, "connection_id": row.id, "kind": "order", "refs": "77"}
    canned.orders[0].update(edited=True, updatedAt="2026-11-20T10:30:00Z")
    assert read_orders(**ring) == {"recorded": 1}  # type: ignore[arg-type]
    floor.drain(row)
    acts = floor.rows("select kind, ref, acted_at from channel_acts where connection_id = %(c)s", c=row.id)
    assert [(act["kind"], act["ref"], act["acted_at"].minute) for act in acts] == [("order_edit", "77", 30)]


def test_a_routed_order_is_found_by_its_fulfilment_order(floor: Floor) -> None:
    canned = CannedShop(scopes=["read_orders", "read_merchant_managed_fulfillment_orders"])
    canned.place_order("78", 1)
    canned.route("78", 1)
    row = floor.connect(canned)
    body = {"fulfillment_order": {"id": "gid://shopify/FulfillmentOrder/1", "status": "open"}}
    floor.deliver(row, ("fulfillment_orders/order_routing_complete", json.dumps(body).encode()))
    (ring,) = floor.queue.rung("orders.read")
    assert (ring["kind"], ring["refs"]) == ("fulfilment_order", "1")
    assert read_orders(**ring) == {"recorded": 1}  # type: ignore[arg-type]
    assert read_orders(**ring) == {"recorded": 0}  # type: ignore[arg-type]


def test_many_hints_travel_in_few_jobs(floor: Floor) -> None:
    row = floor.connect(CannedShop())
    edits = [{"order_edit": {"id": n, "order_id": 10**18 + n, "created_at": "2026-11-20T09:30:00Z"}} for n in range(20)]
    floor.deliver(row, *(("orders/edited", json.dumps(edit).encode()) for edit in edits * 2))
    refs = [str(ring["refs"]).split(",") for ring in floor.queue.rung("orders.read")]
    assert [len(some) for some in refs] == [8, 8, 4]
    assert {ref for some in refs for ref in some} == {str(10**18 + n) for n in range(20)}


def test_a_dead_queue_costs_neither_the_messages_nor_the_check(floor: Floor) -> None:
    canned = CannedShop()
    row = floor.connect(canned)
    floor.check(row)
    floor.queue.is_dead = True
    edit = {"order_edit": {"id": 1, "order_id": 77, "created_at": "2026-11-20T09:30:00Z"}}
    floor.deliver(row, ("orders/edited", json.dumps(edit).encode()))
    state = floor.one("select state from inbox_messages where connection_id = %(c)s", c=row.id)
    assert state == {"state": "handled"}
    canned.subscriptions.clear()
    assert floor.check(row)["dropped"] == len(SUBSCRIBED)
    run = floor.one("select state from sync_runs where connection_id = %(c)s", c=row.id)
    assert run == {"state": "queued"}


def test_what_people_do_at_the_channel_is_counted_by_the_shops_day(floor: Floor) -> None:
    canned = CannedShop()
    canned.place_order("79", 1)
    canned.orders[0].update(sourceName="shopify_draft_order", edited=True, updatedAt="2026-11-21T00:10:00Z")
    row = floor.connect(canned)
    floor.sync(row)
    floor.drain(row)
    draft = {**ORDER, "id": 80, "source_name": "shopify_draft_order", "created_at": "2026-11-20T23:59:00Z"}
    plain = {**ORDER, "id": 81, "source_name": "web"}
    floor.deliver(row, *(("orders/updated", json.dumps(one).encode()) for one in (draft, draft, plain)))
    days = floor.rows(
        "select day::text, kind, acts from channel_acts_by_day where shop_id = %(s)s order by 1, 2", s=row.shop_id
    )
    assert days == [
        {"day": "2026-11-20", "kind": "draft_order", "acts": 2},
        {"day": "2026-11-21", "kind": "order_edit", "acts": 1},
    ]


# --- shops side by side -----------------------------------------------------------------------------------------------


def test_two_shops_with_the_same_ids_know_nothing_of_each_other(floor: Floor) -> None:
    first, second = CannedShop(levels={"5000": 10}), CannedShop(levels={"5000": 70})
    one, other = floor.connect(first), floor.connect(second)
    floor.sync(one)
    floor.sync(other)
    floor.check(one)
    assert len(second.subscriptions) == 0
    # After the stock was taken over: what is from before brings its units along.
    first.place_order("500", 1, at=utc_now().isoformat())
    assert floor.poll(one) == 1
    floor.drain(one)
    assert _available(floor, one.shop_id) == {"SKU-5000": 9}
    assert _available(floor, other.shop_id) == {"SKU-5000": 70}
    assert floor.poll(other) == 0


def test_two_connections_of_one_shop_sell_one_stock_and_keep_their_ids_apart(floor: Floor) -> None:
    first, second = CannedShop(levels={"5000": 10}), CannedShop(levels={"5000": 4})
    one = floor.connect(first)
    other = floor.connect(second, shop_id=one.shop_id)
    floor.sync(one)
    floor.sync(other)
    for canned, row in ((first, one), (second, other)):
        canned.place_order("500", 1, at=utc_now().isoformat())
        floor.poll(row)
        floor.drain(row)
    orders = floor.rows("select connection_id, channel_ref from orders where shop_id = %(s)s", s=one.shop_id)
    assert sorted((order["connection_id"], order["channel_ref"]) for order in orders) == [
        (one.id, "500"),
        (other.id, "500"),
    ]
    assert _available(floor, one.shop_id) == {"SKU-5000": 8}
    listings = floor.rows(
        "select connection_id, desired_units from listings where shop_id = %(s)s order by 1", s=one.shop_id
    )
    assert [listing["connection_id"] for listing in listings] == [one.id, other.id]


def _die(*_: object) -> None:
    raise SystemExit


def _topics(floor: Floor, row: Any) -> dict[str, dict[str, Any]]:
    found = floor.rows("select * from channel_subscriptions where connection_id = %(c)s", c=row.id)
    return {one["topic"]: one for one in found}


def _stop(floor: Floor, row: ConnectionRow) -> None:
    with unit_of_work(floor.engine) as conn:
        switches.stop_writes(conn, row.shop_id, row.id, ACTOR, utc_now())


def _resume(floor: Floor, row: ConnectionRow) -> None:
    with unit_of_work(floor.engine) as conn:
        switches.resume_writes(conn, row.shop_id, row.id, ACTOR, utc_now())


def _operations(floor: Floor, row: Any) -> list[str]:
    return [call.operation for call in floor.accounts[row.id].log]


def _available(floor: Floor, shop_id: int) -> dict[str, int]:
    found = floor.rows(
        "select s.code, k.available from stock_levels k join skus s on s.shop_id = k.shop_id and s.id = k.sku_id"
        " where k.shop_id = %(s)s",
        s=shop_id,
    )
    return {one["code"]: one["available"] for one in found}
