"""The traps that users of Shopify's API fall into, each with a test of its own name: on real Postgres, by real parsing.

Those of a single request or answer are in test_shopify_trap_calls.py, those of the door in tests/api/test_webhooks.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine

from core import bootstrap, embedded
from core.clock import utc_now
from core.connections.queries import ConnectionRow
from core.db import unit_of_work
from core.messaging import inbox
from core.messaging.inbox import Incoming
from tests.adapters.bodies import BIG
from tests.adapters.canned_shopify import LOCATION, CannedShop
from tests.adapters.floor import Floor
from tests.conftest import TestServers

SET = "inventorySetQuantities("
MORNING, NOON, EVENING = "2026-11-26T08:00:00Z", "2026-11-26T12:00:00Z", "2026-11-26T18:00:00Z"


@pytest.fixture(scope="module")
def traps_engine(servers: TestServers, template_database: embedded.Database) -> Iterator[Engine]:
    database = embedded.create_database(servers.home, "traps", template=template_database.name)
    engine = create_engine(database.url)
    yield engine
    engine.dispose()


@pytest.fixture
def floor(traps_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Floor:
    made = Floor(traps_engine)
    monkeypatch.setattr(bootstrap, "application", lambda: made)
    return made


@pytest.fixture
def canned() -> CannedShop:
    """Two articles, ten units of each."""
    return CannedShop(levels={"5000": 10, "5001": 10})


@pytest.fixture
def row(floor: Floor, canned: CannedShop) -> ConnectionRow:
    made = floor.connect(canned)
    floor.sync(made)
    return made


# --- orders -----------------------------------------------------------------------------------------------------------


def test_trap_orders_updated_comes_before_orders_create(floor: Floor, row: ConnectionRow) -> None:
    floor.deliver(row, ("orders/updated", _order(units=1, at=EVENING)))
    floor.deliver(row, ("orders/create", _order(units=3, at=MORNING)))
    assert _orders(floor, row) == [("900", 1)]
    assert _available(floor, row)["SKU-5000"] == 9


def test_trap_orders_paid_comes_before_orders_create(floor: Floor, row: ConnectionRow) -> None:
    floor.deliver(row, ("orders/paid", _order(units=2, at=NOON)))
    assert _orders(floor, row) == []
    floor.deliver(row, ("orders/updated", _order(units=2, at=NOON)), ("orders/create", _order(units=2, at=MORNING)))
    assert _orders(floor, row) == [("900", 2)]


def test_trap_a_refund_comes_before_its_order(floor: Floor, row: ConnectionRow) -> None:
    refund = {
        "id": 7,
        "order_id": 900,
        "created_at": EVENING,
        "refund_line_items": [{"line_item_id": 901, "quantity": 1, "restock_type": "cancel", "subtotal": "1.00"}],
    }
    floor.deliver(row, ("refunds/create", json.dumps(refund).encode()))
    waiting = floor.one("select state, waiting_for from inbox_messages where connection_id = %(c)s", c=row.id)
    assert waiting == {"state": "waiting", "waiting_for": "order:900"}
    floor.deliver(row, ("orders/create", _order(units=3, at=NOON)))
    assert _available(floor, row)["SKU-5000"] == 8


def test_trap_the_same_webhook_comes_twice_within_the_same_second(floor: Floor, row: ConnectionRow) -> None:
    def record(_: int) -> int:
        with unit_of_work(floor.engine) as conn:
            message = Incoming("one-webhook-id", "orders/create", _order(units=2, at=NOON), None)
            return inbox.record(conn, row.shop_id, row.id, [message], "webhook", utc_now())

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(record, range(8))) == [0] * 7 + [1]
    floor.drain(row)
    assert _available(floor, row)["SKU-5000"] == 8


def test_trap_orders_updated_without_a_visible_change_is_normal(floor: Floor, row: ConnectionRow) -> None:
    floor.deliver(row, ("orders/create", _order(units=2, at=NOON)))
    before = _booked(floor, row)
    for minute in range(3):
        floor.deliver(row, ("orders/updated", _order(units=2, at=f"2026-11-26T12:0{minute + 1}:00Z")))
    assert _booked(floor, row) == before
    assert floor.push(row).get("sent", 0) == 0


def test_trap_deliveries_have_no_order_and_an_older_one_overwrites_nothing(floor: Floor, row: ConnectionRow) -> None:
    floor.deliver(row, ("inventory_levels/update", _level(4, EVENING)))
    floor.deliver(row, ("inventory_levels/update", _level(9, NOON)))
    assert _listing(floor, row)["published_units"] == 4


def test_trap_no_delivery_is_promised_so_polls_bring_what_never_came(
    floor: Floor, canned: CannedShop, row: ConnectionRow
) -> None:
    canned.place_order("910", 1)
    assert floor.poll(row) == 1
    floor.drain(row)
    assert _orders(floor, row) == [("910", 1)]


def test_trap_a_polls_window_overlaps_and_what_it_shows_again_is_known(
    floor: Floor, canned: CannedShop, row: ConnectionRow
) -> None:
    canned.place_order("910", 1)
    account = floor.accounts[row.id]
    assert floor.poll(row) == 1
    floor.drain(row)
    assert floor.poll(row) == 0
    # Read at 10:00 by the vendor's clock, and asked again from two minutes before.
    asked = account.network.bodies("query Orders(")[-1]["variables"]["query"]
    assert asked == "updated_at:>='2026-11-20T09:58:00Z'"
    canned.orders[0].update(updatedAt="2026-11-20T10:00:09Z")
    assert floor.poll(row) == 1


def test_trap_ids_beyond_doubles_stay_exact_from_the_body_to_the_row(floor: Floor, row: ConnectionRow) -> None:
    floor.deliver(row, ("orders/create", _order(units=1, at=NOON, ref=BIG)))
    assert _orders(floor, row) == [(str(BIG), 1)]
    found = floor.one("select l.channel_ref from order_lines l where l.shop_id = %(s)s", s=row.shop_id)
    assert found["channel_ref"] == str(BIG + 1)


def test_trap_personal_fields_are_null_without_approval(floor: Floor, row: ConnectionRow) -> None:
    body = {**json.loads(_order(units=1, at=NOON)), "customer": None, "shipping_address": None, "email": None}
    floor.deliver(row, ("orders/create", json.dumps(body).encode()))
    order = floor.one("select customer_ref, country_code from orders where shop_id = %(s)s", s=row.shop_id)
    assert order == {"customer_ref": None, "country_code": None}


@pytest.mark.parametrize("level_first", [False, True])
def test_trap_units_that_an_edit_took_off_are_promised_no_longer(
    floor: Floor, canned: CannedShop, row: ConnectionRow, level_first: bool
) -> None:
    """The line goes on saying how many were ordered, and no refund tells of them."""
    sold_at = utc_now()
    floor.deliver(row, ("orders/create", _order(units=3, at=sold_at.isoformat())))
    canned.levels["5000"] = 7
    assert _available(floor, row)["SKU-5000"] == 7
    edited_at = (sold_at + timedelta(seconds=5)).replace(microsecond=0).isoformat()
    body = json.loads(_order(units=3, at=sold_at.isoformat()))
    body["line_items"][0]["current_quantity"], body["refunds"] = 1, []
    edited = ("orders/updated", json.dumps({**body, "updated_at": edited_at}).encode())
    level = ("inventory_levels/update", _level(9, edited_at))
    canned.levels["5000"] = 9
    for message in (level, edited) if level_first else (edited, level):
        floor.deliver(row, message)
        # Nothing is written over what the channel put back, and no more is shown than there is.
        assert floor.push(row).get("sent", 0) == 0
    assert _available(floor, row)["SKU-5000"] == 9
    listing = _listing(floor, row)
    assert (listing["desired_units"], listing["published_units"], listing["unseen_units"]) == (9, 9, 0)
    acts = floor.rows("select kind, ref from channel_acts where connection_id = %(c)s", c=row.id)
    assert acts == [{"kind": "order_edit", "ref": "900"}]


# --- levels and writes ------------------------------------------------------------------------------------------------


def test_trap_inventory_levels_update_fires_for_our_own_writes_too(
    floor: Floor, canned: CannedShop, row: ConnectionRow
) -> None:
    floor.count(row, {"SKU-5000": 5})
    assert floor.push(row)["confirmed"] == 1
    for number in range(3):
        echo = _level(canned.levels["5000"], (utc_now()).isoformat())
        floor.deliver(row, ("inventory_levels/update", echo))
        assert _listing(floor, row)["unseen_units"] == 0
        assert floor.push(row).get("sent", 0) == 0, f"echo {number} was taken for an edit"
    assert floor.rows("select 1 from channel_acts where connection_id = %(c)s", c=row.id) == []


def test_trap_a_sale_lowers_the_channel_by_itself_and_the_baseline_follows_it(
    floor: Floor, canned: CannedShop, row: ConnectionRow
) -> None:
    canned.levels["5000"] = 7
    now = utc_now().isoformat()
    floor.deliver(row, ("orders/create", _order(units=3, at=now)))
    assert (_listing(floor, row)["published_units"], _listing(floor, row)["desired_units"]) == (7, 7)
    assert floor.push(row).get("sent", 0) == 0
    floor.count(row, {"SKU-5000": 1})
    assert floor.push(row)["confirmed"] == 1
    (call,) = floor.accounts[row.id].network.bodies(SET)
    (pair,) = call["variables"]["input"]["quantities"]
    assert (pair["changeFromQuantity"], pair["quantity"]) == (7, 8)


def test_trap_open_orders_are_not_subtracted_twice(floor: Floor, canned: CannedShop, row: ConnectionRow) -> None:
    """What we write is `available`, which has open orders off already; `on_hand` is written nowhere."""
    canned.levels["5000"] = 7
    floor.deliver(row, ("orders/create", _order(units=3, at=utc_now().isoformat())))
    floor.count(row, {"SKU-5000": 5})
    floor.push(row)
    (call,) = floor.accounts[row.id].network.bodies(SET)
    assert call["variables"]["input"]["name"] == "available"
    assert canned.levels["5000"] == 12
    level = floor.one(
        "select k.on_hand, k.reserved, k.available from stock_levels k join skus s on s.shop_id = k.shop_id"
        " and s.id = k.sku_id where k.shop_id = %(s)s and s.code = 'SKU-5000'",
        s=row.shop_id,
    )
    assert level == {"on_hand": 15, "reserved": 3, "available": 12}


def test_trap_available_is_null_for_what_is_not_tracked(floor: Floor, row: ConnectionRow) -> None:
    before = _listing(floor, row)
    floor.deliver(row, ("inventory_levels/update", _level(None, EVENING)))
    assert _listing(floor, row) == before
    state = floor.one("select state from inbox_messages where connection_id = %(c)s", c=row.id)
    assert state == {"state": "handled"}


def test_trap_a_level_names_no_variant_but_an_item_and_a_place(floor: Floor, row: ConnectionRow) -> None:
    floor.deliver(row, ("inventory_levels/update", _level(6, EVENING, item=5001)))
    shown = floor.rows(
        "select channel_ref, published_units from listings where connection_id = %(c)s order by 1", c=row.id
    )
    assert [(one["channel_ref"], one["published_units"]) for one in shown] == [("6000", 10), ("6001", 6)]


def test_trap_a_key_is_repeated_for_the_same_number_only_and_never_for_another(
    floor: Floor, canned: CannedShop, row: ConnectionRow
) -> None:
    """A fixed key for another number is refused, a random one for the same number may apply it twice."""
    account = floor.accounts[row.id]
    floor.count(row, {"SKU-5000": 5})
    account.network.plan("lost_reply", SET)
    floor.push(row)
    floor.count(row, {"SKU-5000": -2})
    floor.push(row)
    first, again, second = account.network.bodies(SET)
    assert first["variables"] == again["variables"]
    assert second["variables"]["key"] != first["variables"]["key"]
    assert (canned.levels["5000"], canned.applied) == (13, 2)


def test_trap_a_number_that_staff_typed_is_counted_and_not_fought_over(
    floor: Floor, canned: CannedShop, row: ConnectionRow
) -> None:
    canned.levels["5000"] = 25
    floor.deliver(row, ("inventory_levels/update", _level(25, "2026-11-25T12:00:00Z")))
    assert floor.push(row).get("sent", 0) == 0
    assert _listing(floor, row)["unseen_units"] == 15
    with unit_of_work(floor.engine) as conn:
        # Nothing explains it, though every order is known: some minutes pass.
        conn.exec_driver_sql(
            f"update listings set unseen_since = unseen_since - interval '10 minutes' where connection_id = {row.id}"
        )
    floor.poll(row)
    floor.push(row)
    day = floor.one("select kind, acts, units from channel_acts_by_day where connection_id = %(c)s", c=row.id)
    assert day == {"kind": "stock_edit", "acts": 1, "units": 15}


# --- subscriptions ----------------------------------------------------------------------------------------------------


def test_trap_a_timeout_is_no_failure_where_no_key_is_taken(
    floor: Floor, canned: CannedShop, row: ConnectionRow
) -> None:
    """A subscription whose creation was not answered is looked for before it is made again."""
    account = floor.accounts[row.id]
    account.network.plan("lost_reply", '"ORDERS_CREATE"')
    assert floor.check(row)["missing"] == 1
    assert floor.check(row) == {
        "standing": 12,
        "advised": 0,
        "missing": 0,
        "refused": 0,
        "changed": 0,
        "dropped": 0,
    }
    assert sum(one["topic"] == "ORDERS_CREATE" for one in canned.subscriptions) == 1


def test_trap_include_fields_without_updated_at_make_shopify_drop_deliveries(
    floor: Floor, canned: CannedShop, row: ConnectionRow
) -> None:
    floor.check(row)
    assert len(canned.subscriptions) == 12
    assert all("updated_at" in one["includeFields"] or not one["includeFields"] for one in canned.subscriptions)


def test_trap_after_eight_failures_a_subscription_is_deleted(
    floor: Floor, canned: CannedShop, row: ConnectionRow
) -> None:
    floor.check(row)
    canned.subscriptions.clear()
    counts = floor.check(row)
    assert (counts["dropped"], counts["standing"]) == (12, 12)
    repairs = floor.rows("select repairs from channel_subscriptions where connection_id = %(c)s", c=row.id)
    assert [one["repairs"] for one in repairs] == [1] * 12


def _order(units: int, at: str, ref: int = 900) -> bytes:
    body: dict[str, Any] = {
        "id": ref,
        "name": f"#{ref}",
        "created_at": MORNING if at in (MORNING, NOON, EVENING) or at.startswith("2026-11-26T12:0") else at,
        "updated_at": at,
        "currency": "GBP",
        "total_price": f"{units}.00",
        "line_items": [
            {"id": ref + 1, "variant_id": 6000, "sku": "SKU-5000", "quantity": units, "price": "1.00", "name": "Mug"}
        ],
    }
    return json.dumps(body).encode()


def _level(units: int | None, at: str, item: int = 5000) -> bytes:
    body = {"inventory_item_id": item, "location_id": int(LOCATION), "available": units, "updated_at": at}
    return json.dumps(body).encode()


def _orders(floor: Floor, row: ConnectionRow) -> list[tuple[str, int]]:
    found = floor.rows(
        "select o.channel_ref, sum(l.units)::int as units from orders o join order_lines l on l.shop_id = o.shop_id"
        " and l.order_id = o.id where o.connection_id = %(c)s group by 1 order by 1",
        c=row.id,
    )
    return [(one["channel_ref"], one["units"]) for one in found]


def _available(floor: Floor, row: ConnectionRow) -> dict[str, int]:
    found = floor.rows(
        "select s.code, k.available from stock_levels k join skus s on s.shop_id = k.shop_id and s.id = k.sku_id"
        " where k.shop_id = %(s)s",
        s=row.shop_id,
    )
    return {one["code"]: one["available"] for one in found}


def _listing(floor: Floor, row: ConnectionRow) -> dict[str, Any]:
    return floor.one(
        "select desired_units, published_units, unseen_units, exposed_units from listings where connection_id = %(c)s"
        " and inventory_ref = '5000'",
        c=row.id,
    )


def _booked(floor: Floor, row: ConnectionRow) -> list[dict[str, Any]]:
    return floor.rows(
        "select (select count(*) from stock_movements m where m.shop_id = %(s)s) as movements, r.id, r.units, r.state"
        " from reservations r where r.shop_id = %(s)s order by r.id",
        s=row.shop_id,
    )
