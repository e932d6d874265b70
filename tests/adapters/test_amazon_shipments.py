"""Packages that Amazon is to be told of: queued once, sent until it knows them, corrected by people."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from click.testing import CliRunner

from core.audit import Actor
from core.clock import utc_now
from core.connections import switches
from core.db import execute, unit_of_work
from core.orders import confirming
from core.orders.confirming import CannotConfirm, Package
from tests.adapters.amazon_trade import SKU, Trade
from tests.adapters.canned_amazon_orders import item_body
from workers import console
from workers.jobs import shipments
from workers.jobs.shipments import confirm_shipments, sweep_shipments
from workers.shipments_cli import confirm_shipment

BY = Actor("Ada", "it left with the noon van")


@pytest.fixture
def shop(trade: Trade) -> Trade:
    """With an order of three and one units to be shipped."""
    trade.sell("A", item_body("1", SKU, 3), item_body("2", "SKU 2/%", 1), status="UNSHIPPED")
    trade.follow()
    return trade


def package(**more: Any) -> Package:
    known = Package("A", "UPS", "1Z1", utc_now() - timedelta(minutes=1), {"1": 2})
    return replace(known, **more)


def queue(shop: Trade, sent: Package) -> confirming.Queued:
    with unit_of_work(shop.floor.engine) as conn:
        return confirming.queue(conn, shop.row.shop_id, sent, BY, utc_now())


def send(shop: Trade) -> dict[str, Any]:
    with unit_of_work(shop.floor.engine) as conn:
        execute(conn, "update shipment_confirmations set next_try_at = now()")
    return confirm_shipments(shop_id=shop.row.shop_id, connection_id=shop.row.id)


def state(shop: Trade) -> dict[str, Any]:
    return shop.floor.one("select * from shipment_confirmations where shop_id = %(s)s", s=shop.row.shop_id)


def test_a_package_is_told_once_and_again_when_it_is_edited(shop: Trade) -> None:
    sent = package()
    first = queue(shop, sent)
    assert (first.package_ref, first.is_new) == ("1", True)
    assert send(shop) == {"confirmed": 1}
    assert send(shop) == {}
    assert not queue(shop, replace(sent, package_ref="1")).is_new
    queue(shop, replace(sent, package_ref="1", tracking_number="1Z2"))
    assert send(shop) == {"confirmed": 1}
    details = [body["packageDetail"] for _, body in shop.canned.confirmations]
    assert [detail["trackingNumber"] for detail in details] == ["1Z1", "1Z2"]
    assert {detail["packageReferenceId"] for detail in details} == {"1"}
    said = shop.floor.rows(
        "select * from audit_entries where act = 'confirm_shipment' and shop_id = %(s)s", s=shop.row.shop_id
    )
    assert [entry["actor"] for entry in said] == ["Ada", "Ada"]


def test_what_is_left_of_an_order_goes_into_the_next_package(shop: Trade) -> None:
    queue(shop, package())
    assert queue(shop, package(units={}, tracking_number="1Z9")).package_ref == "2"
    send(shop)
    _, body = shop.canned.confirmations[1]
    assert body["packageDetail"]["orderItems"] == [
        {"orderItemId": "1", "quantity": 1},
        {"orderItemId": "2", "quantity": 1},
    ]
    with pytest.raises(CannotConfirm, match="nothing of A is still to be shipped"):
        queue(shop, package(units={}, tracking_number="1Z10"))


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"order": "B"}, "no order is called 'B'"),
    ({"units": {"1": 4}}, "4 units where 3 are still to be shipped"),
    ({"units": {"7": 1}}, "has no line '7'"),
    ({"units": {"1": 0}}, "0 units are no shipment"),
    ({"carrier_code": "Other"}, "carrier's name is missing"),
    ({"carrier_code": " "}, "carrier code is missing"),
    ({"tracking_number": ""}, "tracking number is missing"),
    ({"package_ref": "first"}, "no package reference"),
    ({"package_ref": "0"}, "no package reference"),
    ({"shipped_at": utc_now() + timedelta(days=1)}, "lies in the future"),
    ({"shipped_at": utc_now().replace(tzinfo=None)}, "no time zone"),
]


def test_what_cannot_be_confirmed_is_said_and_nothing_is_queued(shop: Trade) -> None:
    for wrong, words in WRONG:
        with pytest.raises(CannotConfirm, match=words):
            queue(shop, package(**wrong))
    assert shop.floor.rows("select 1 from shipment_confirmations where shop_id = %(s)s", s=shop.row.shop_id) == []


def test_an_order_that_is_not_to_be_confirmed(trade: Trade) -> None:
    trade.sell("A", item_body("1", SKU, 3), status="PENDING")
    trade.sell("B", item_body("1", SKU, 3), status="CANCELLED")
    trade.sell("C", item_body("1", SKU, 3), status="UNSHIPPED", by="AMAZON")
    trade.follow()
    words = {"A": "waits for its payment", "B": "is cancelled", "C": "itself: there is nothing to confirm"}
    for order, why in words.items():
        with pytest.raises(CannotConfirm, match=why):
            queue(trade, package(order=order))


def test_a_refused_package_waits_for_a_person_and_a_lost_answer_does_not(shop: Trade) -> None:
    account = shop.floor.accounts[shop.row.id]
    queue(shop, package())
    account.network.plan("lost_reply", "shipmentConfirmation", times=9)
    assert send(shop) == {"again": 1}
    account.network.planned.clear()
    shop.canned.refuses_shipments = True
    assert send(shop) == {"refused": 1}
    assert (state(shop)["last_code"], state(shop)["confirmed_revision"]) == ("InvalidInput", None)
    assert send(shop) == {}
    shop.canned.refuses_shipments = False
    queue(shop, package(package_ref="1", units={"1": 1}))
    assert send(shop) == {"confirmed": 1}
    assert state(shop)["refused_at"] is None


def test_what_is_corrected_while_it_is_told_is_told_again(shop: Trade) -> None:
    sent = package()
    queue(shop, sent)
    with unit_of_work(shop.floor.engine) as conn:
        (due,) = confirming.take(conn, shop.row.shop_id, shop.row.id, 5, utc_now())
    queue(shop, replace(sent, package_ref="1", tracking_number="1Z2"))
    with shop.floor.channel(shop.row) as channel, unit_of_work(shop.floor.engine) as conn:
        confirming.settle(conn, shop.row.shop_id, due, channel.confirm_shipment(due.package), utc_now())
    assert send(shop) == {"confirmed": 1}
    assert shop.canned.confirmations[-1][1]["packageDetail"]["trackingNumber"] == "1Z2"


def test_nothing_is_told_while_nothing_may_be_written(shop: Trade) -> None:
    queue(shop, package())
    with unit_of_work(shop.floor.engine) as conn:
        switches.stop_writes(conn, shop.row.shop_id, shop.row.id, BY, utc_now())
    assert send(shop) == {}
    assert sweep_shipments()["connections"] == 0
    with unit_of_work(shop.floor.engine) as conn:
        switches.resume_writes(conn, shop.row.shop_id, shop.row.id, BY, utc_now())
    sweep_shipments()
    assert {"shop_id": shop.row.shop_id, "connection_id": shop.row.id} in shop.floor.queue.rung("shipments.confirm")
    assert send(shop) == {"confirmed": 1}


def test_the_command_queues_rings_and_says_so(shop: Trade, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "application", lambda: shop.floor)
    monkeypatch.setattr(console, "shop_of", lambda app, name: shop.row.shop_id)
    monkeypatch.setattr(console, "person", lambda: "Ada")
    words = ["A", "--carrier", "UPS", "--tracking", "1Z1", "--line", "1=2", "--reason", "it left"]
    told = CliRunner().invoke(confirm_shipment, words)
    assert (told.exit_code, told.output) == (0, "Package 1 of A will be confirmed.\n")
    assert shop.floor.queue.rung("shipments.confirm") == [{"shop_id": shop.row.shop_id, "connection_id": shop.row.id}]
    assert send(shop) == {"confirmed": 1}
    wrong = CliRunner().invoke(confirm_shipment, [*words[:-4], "--line", "1:2", "--reason", "it left"])
    assert isinstance(wrong.exception, CannotConfirm)
    assert "write it like" in str(wrong.exception)
    entry = shop.floor.one(
        "select reason from audit_entries where act = 'confirm_shipment' and shop_id = %(s)s", s=shop.row.shop_id
    )
    assert entry == {"reason": "it left"}


def test_packages_that_take_long_have_their_turn_behind_others(shop: Trade, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipments, "SEND_SECONDS", -1.0)
    queue(shop, package())
    assert send(shop) == {"confirmed": 1}
    where = {"shop_id": shop.row.shop_id, "connection_id": shop.row.id}
    assert shop.floor.queue.rung("shipments.confirm") == [where]
    # Nothing is left: nothing is rung for.
    assert send(shop) == {}
    assert shop.floor.queue.rung("shipments.confirm") == [where]
