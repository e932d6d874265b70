"""What the jobs make of Amazon's orders, on real Postgres: sales, cancellations, what Amazon ships, the watermark."""

from __future__ import annotations

from datetime import timedelta

import pytest

from core.clock import utc_now
from core.db import execute, unit_of_work
from core.policies import operations as policies
from core.policies.operations import Change, Scope, Terms
from tests.adapters.amazon_trade import SKU, UNITS, Trade
from tests.adapters.canned_amazon_orders import CannedOrders, item_body, order_body, stamp
from tests.adapters.floor import Floor
from tests.factories import ACTOR
from workers.jobs import connections as jobs
from workers.jobs.asking import read_orders
from workers.jobs.exposure import sweep_now
from workers.jobs.policies import replan_now

# --- sales ------------------------------------------------------------------------------------------------------------


def test_trap_a_pending_order_reserves_and_is_no_revenue(trade: Trade) -> None:
    trade.sell("A", item_body("1", SKU, 3, price=None))
    trade.follow()
    assert trade.stock() == (UNITS, 3, UNITS - 3)
    assert (trade.order("A")["total_minor"], trade.order("A")["financial_status"]) == (0, "pending")
    money = {"grandTotal": {"amount": "7.50", "currencyCode": "GBP"}}
    trade.becomes("A", "UNSHIPPED", item_body("1", SKU, 3), proceeds=money)
    trade.follow()
    assert trade.stock() == (UNITS, 3, UNITS - 3)
    assert (trade.order("A")["total_minor"], trade.line("A")["total_minor"]) == (750, 750)
    trade.audit()


def test_what_amazon_counts_as_gone_is_shipped_and_its_parcels_are_not_shipped_twice(trade: Trade) -> None:
    trade.sell("A", item_body("1", SKU, 3), status="UNSHIPPED")
    item = item_body("1", SKU, 3, fulfillment={"quantityFulfilled": 2, "quantityUnfulfilled": 1})
    trade.becomes("A", "PARTIALLY_SHIPPED", item)
    trade.follow()
    assert trade.stock() == (UNITS - 2, 1, UNITS - 3)
    parcel = {
        "packageReferenceId": "1",
        "packageStatus": {"status": "SHIPPED"},
        "packageItems": [{"orderItemId": "1", "quantity": 2}],
    }
    trade.canned.change("A", trade.at(), packages=[parcel])
    trade.follow()
    assert trade.stock() == (UNITS - 2, 1, UNITS - 3)
    item = item_body("1", SKU, 3, fulfillment={"quantityFulfilled": 3, "quantityUnfulfilled": 0})
    trade.canned.change("A", trade.at(), packages=[parcel], orderItems=[item])
    trade.follow()
    assert trade.stock() == (UNITS - 3, 0, UNITS - 3)
    trade.audit()


@pytest.mark.parametrize(("reason", "is_put_back"), [("BUYER", True), ("MERCHANT", False)])
@pytest.mark.parametrize("ordered", [2, 0])
def test_a_cancellation_releases_and_exposes_what_amazon_puts_back(
    trade: Trade, reason: str, is_put_back: bool, ordered: int
) -> None:
    # Whether the order goes on telling what was ordered is not documented.
    trade.sell("A", item_body("1", SKU, 2))
    trade.follow()
    assert trade.stock() == (UNITS, 2, UNITS - 2)
    execution = {"cancelledBy": reason, "cancelReason": "NO_INVENTORY" if reason == "MERCHANT" else "changed my mind"}
    item = item_body("1", SKU, ordered, cancellation={"cancellationExecution": execution})
    trade.becomes("A", "CANCELLED", item)
    trade.follow()
    assert trade.stock() == (UNITS, 0, UNITS if is_put_back else UNITS - 2)
    # Told again, by another road and later, it is the same.
    trade.canned.change("A", trade.at())
    trade.follow()
    assert trade.stock() == (UNITS, 0, UNITS if is_put_back else UNITS - 2)
    trade.audit()


@pytest.mark.parametrize(("reason", "is_put_back"), [("BUYER", True), ("MERCHANT", False)])
def test_a_part_that_is_cancelled_of_an_order_that_goes_on(trade: Trade, reason: str, is_put_back: bool) -> None:
    trade.sell("A", item_body("1", SKU, 3), item_body("2", "SKU 2/%", 1), status="UNSHIPPED")
    trade.follow()
    execution = {"cancelledBy": reason, "cancelReason": "out of stock"}
    item = item_body("1", SKU, 3, cancellation={"cancellationExecution": execution})
    item["fulfillment"] = {"quantityFulfilled": 1, "quantityUnfulfilled": 0}
    trade.becomes("A", "PARTIALLY_SHIPPED", item, item_body("2", "SKU 2/%", 1))
    trade.follow()
    assert trade.stock() == (UNITS - 1, 0, UNITS - 3 + (2 if is_put_back else 0))
    trade.audit()


def test_units_that_left_stay_gone_when_the_rest_is_cancelled(trade: Trade) -> None:
    trade.sell("A", item_body("1", SKU, 3), status="UNSHIPPED")
    trade.follow()
    item = item_body("1", SKU, 3, cancellation={"cancellationExecution": {"cancelledBy": "BUYER"}})
    item["fulfillment"] = {"quantityFulfilled": 1, "quantityUnfulfilled": 0}
    trade.becomes("A", "CANCELLED", item)
    trade.follow()
    assert trade.stock() == (UNITS - 1, 0, UNITS - 1)
    trade.audit()


# --- what is not ours to ship, or not sold here -----------------------------------------------------------------------


def test_what_amazon_ships_is_on_record_and_takes_nothing_of_our_pool(trade: Trade) -> None:
    trade.sell("A", item_body("1", SKU, 4), status="UNSHIPPED", by="AMAZON")
    trade.follow()
    assert trade.stock() == (UNITS, 0, UNITS)
    line = trade.line("A")
    assert (line["mapping"], line["units"]) == ("unstocked", 4)
    assert line["sku_id"] is not None
    assert line["listing_id"] is not None
    assert trade.order("A")["ships_from_channel"]
    trade.becomes("A", "CANCELLED")
    trade.follow()
    assert trade.stock() == (UNITS, 0, UNITS)
    trade.audit()


def test_what_amazon_only_ships_for_another_channel_is_ignored_for_a_cause(trade: Trade) -> None:
    elsewhere = {"channelName": "NON_AMAZON"}
    trade.sell("A", item_body("1", SKU, 4), status="UNSHIPPED", by="AMAZON", salesChannel=elsewhere)
    trade.follow()
    assert trade.stock() == (UNITS, 0, UNITS)
    assert trade.floor.rows("select 1 from orders where shop_id = %(s)s", s=trade.row.shop_id) == []
    said = trade.floor.one("select state, cause from inbox_messages where shop_id = %(s)s", s=trade.row.shop_id)
    assert said == {"state": "ignored", "cause": "not_sold_here"}


# --- the watermark ----------------------------------------------------------------------------------------------------


def test_the_watermark_goes_to_the_returned_bound_and_waits_for_what_is_not_handled(trade: Trade) -> None:
    before = trade.watermark()
    trade.sell("A", item_body("1", SKU, 1))
    bound = trade.at().replace(microsecond=0)
    trade.floor.poll(trade.row)
    sweep_now(trade.floor.app)
    assert trade.watermark() == before
    trade.floor.drain(trade.row)
    sweep_now(trade.floor.app)
    assert trade.watermark() == bound


def test_the_watermark_stops_at_what_is_parked(trade: Trade) -> None:
    before = trade.watermark()
    trade.sell("A", item_body("1", SKU, 1))
    trade.canned.orders["A"]["orderItems"][0]["quantityOrdered"] = "many"
    trade.follow()
    sweep_now(trade.floor.app)
    assert trade.watermark() == before
    assert trade.floor.rows(
        "select 1 from inbox_messages where state = 'parked' and shop_id = %(s)s", s=trade.row.shop_id
    )


def test_in_escrow_a_seller_is_drained_watermarked_and_raised(trade: Trade) -> None:
    # What is shown at a take-over is known as of the end of its second: a reading from within it is older.
    trade.was_taken_over_a_minute_ago()
    with unit_of_work(trade.floor.engine) as conn:
        change = Change(Scope(), Terms(mode="escrow"))
        policies.save(conn, trade.row.shop_id, [change], ACTOR, utc_now())
    replan_now(trade.floor.app, trade.row.shop_id, 20)
    trade.floor.count(trade.row, {SKU: 10 - UNITS})
    shown: list[int] = []
    # Four rounds where every look finds its time; a busy machine may need more.
    while shown[-1:] != [10] and len(shown) < 12:
        sweep_now(trade.floor.app)
        trade.floor.push(trade.row)
        shown.append(trade.canned.units[SKU])
        trade.read_back()
        trade.at()
        trade.follow()
        assert trade.stock()[2] >= trade.canned.units[SKU]
    assert (shown[0], shown[-1]) == (0, 10)
    assert trade.canned.submissions == [(SKU, 0), (SKU, 10)]
    assert trade.stock() == (10, 0, 10)
    trade.audit()


def test_trap_no_number_is_sent_that_is_older_than_the_newest_known_order(trade: Trade) -> None:
    # Trap 4: planned before the order was known, the number would be above what Amazon shows since.
    trade.floor.count(trade.row, {SKU: -4})
    trade.sell("A", item_body("1", SKU, 3))
    trade.follow()
    trade.floor.push(trade.row)
    assert trade.canned.submissions == [(SKU, UNITS - 4 - 3)]


def test_trap_a_pending_order_that_is_known_late_is_exposed_until_the_number_is_sent_again(trade: Trade) -> None:
    trade.floor.count(trade.row, {SKU: -4})
    trade.was_taken_over_a_minute_ago()
    trade.sell("A", item_body("1", SKU, 3), after=-30)
    trade.floor.push(trade.row)
    assert trade.canned.submissions == [(SKU, UNITS - 4)]
    for _ in range(5):
        assert trade.stock()[2] >= trade.canned.units[SKU]
        trade.at()
        trade.read_back()
        trade.follow()
        sweep_now(trade.floor.app)
        trade.floor.push(trade.row)
    assert trade.canned.submissions == [(SKU, UNITS - 4), (SKU, UNITS - 4 - 3)]


def test_a_sweep_that_comes_too_early_asks_nothing_and_a_click_does(trade_floor: Floor) -> None:
    canned = CannedOrders(hidden_for=timedelta())
    row = trade_floor.connect_seller(canned, clock_factor=1)
    trade_floor.sync(row)
    asked = len(canned.searches)
    assert jobs.poll_connection(shop_id=row.shop_id, connection_id=row.id) == {"early": True}
    assert len(canned.searches) == asked
    assert trade_floor.poll(row) == 0
    assert len(canned.searches) > asked
    with unit_of_work(trade_floor.engine) as conn:
        execute(
            conn,
            "update connections set orders_asked_at = orders_asked_at - interval '3 minutes' where id = %(id)s",
            id=row.id,
        )
    assert jobs.poll_connection(shop_id=row.shop_id, connection_id=row.id) == {"recorded": 0}


def test_a_hint_is_asked_for_by_the_order_itself(trade: Trade) -> None:
    trade.sell("A", item_body("1", SKU, 2))
    counts = read_orders(shop_id=trade.row.shop_id, connection_id=trade.row.id, kind="order", refs="A,gone")
    trade.floor.drain(trade.row)
    assert counts == {"recorded": 1}
    assert trade.stock() == (UNITS, 2, UNITS - 2)
    # The sweep finds it again, and it is the same.
    trade.follow()
    assert trade.stock() == (UNITS, 2, UNITS - 2)


def test_orders_that_were_open_before_bring_their_units_along(trade_floor: Floor) -> None:
    canned = CannedOrders(hidden_for=timedelta())
    long_ago = stamp(utc_now() - timedelta(days=40))
    pending = {"fulfillmentStatus": "PENDING", "fulfilledBy": "MERCHANT"}
    canned.put(order_body("A", item_body("1", SKU, 3), at=long_ago, fulfillment=pending))
    trade = Trade(trade_floor, canned)
    trade_floor.drain(trade.row)
    assert trade.stock()[:2] == (UNITS + 3, 3)
    trade.becomes("A", "CANCELLED")
    trade.follow()
    assert trade.stock()[:2] == (UNITS + 3, 0)
    trade.audit()


# --- connected before its orders could be read ------------------------------------------------------------------------


def test_a_poll_asks_for_the_sync_that_reads_what_is_open_and_only_then_is_it_watched(trade: Trade) -> None:
    with unit_of_work(trade.floor.engine) as conn:
        execute(
            conn,
            """
            update connections set open_orders_read_at = null, reads_orders = false, orders_asked_at = null
            where id = %(id)s
            """,
            id=trade.row.id,
        )
        execute(conn, "update sync_runs set requested_at = requested_at - interval '2 hours'")
    is_read = "select reads_orders, open_orders_read_at is not null as is_read from connections where id = %(id)s"
    jobs.poll_connection(shop_id=trade.row.shop_id, connection_id=trade.row.id)
    assert trade.floor.one(is_read, id=trade.row.id) == {"reads_orders": False, "is_read": False}
    (asked,) = trade.floor.queue.rung("connection.sync")
    assert "open_orders" in jobs.sync_connection(**asked)  # type: ignore[arg-type]
    assert dict(trade.floor.one(is_read, id=trade.row.id)) == {"reads_orders": True, "is_read": True}
