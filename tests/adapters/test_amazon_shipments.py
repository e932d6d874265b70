"""Packages that Amazon is to be told of: queued once, sent until it knows them, corrected by people."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from click.testing import CliRunner

from core.alerts import shipments as shipment_alerts
from core.audit import Actor
from core.clock import utc_now
from core.connections import switches
from core.db import execute, unit_of_work
from core.orders import confirming, packages
from core.orders.confirming import CannotConfirm, Package
from tests.adapters.amazon_trade import SKU, Trade
from tests.adapters.canned_amazon_orders import item_body
from tests.alerting import look
from workers import cli, console
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
    ({"shipped_at": utc_now() - timedelta(days=1)}, "lies before the order, which was placed"),
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


def later(shop: Trade, hours: float) -> None:
    """Everything that was asked for was asked for so long ago."""
    with unit_of_work(shop.floor.engine) as conn:
        execute(
            conn,
            "update shipment_confirmations set requested_at = requested_at - %(t)s, refused_at = refused_at - %(t)s",
            t=timedelta(hours=hours),
        )


def alert(shop: Trade) -> tuple[int, int, bool] | None:
    """(packages and orders when it was last seen, whether it is open) of the newest alert."""
    sweep_shipments()
    with unit_of_work(shop.floor.engine) as conn:
        look(conn, shop.row.shop_id, "unconfirmed_shipment", utc_now())
    found = shop.floor.rows(
        """
        select units, skus, closed_at is null as is_open from alerts
        where shop_id = %(s)s and kind = 'unconfirmed_shipment' order by id desc limit 1
        """,
        s=shop.row.shop_id,
    )
    return (found[0]["units"], found[0]["skus"], found[0]["is_open"]) if found else None


def troubles(shop: Trade) -> list[str]:
    found = shop.floor.rows("select state from unconfirmed_shipments where shop_id = %(s)s", s=shop.row.shop_id)
    return [row["state"] for row in found]


def run(shop: Trade, monkeypatch: pytest.MonkeyPatch, *words: str) -> Any:
    monkeypatch.setattr(console, "application", lambda: shop.floor)
    monkeypatch.setattr(console, "shop_of", lambda app, name: shop.row.shop_id)
    monkeypatch.setattr(console, "person", lambda: "Ada")
    return CliRunner().invoke(confirm_shipment, list(words))


def test_a_refused_package_is_told_listed_and_over_once_it_is_corrected(
    shop: Trade, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert alert(shop) is None
    queue(shop, package())
    assert alert(shop) is None
    assert "will be told" in run(shop, monkeypatch, "--list").output
    shop.canned.refuses_shipments = True
    send(shop)
    assert (alert(shop), troubles(shop)) == ((1, 1, True), ["refused"])
    with unit_of_work(shop.floor.engine) as conn:
        found = packages.unconfirmed(conn, shop.row.shop_id)
        said = shipment_alerts.words(found)
    assert said.headline == "1 package is not confirmed"
    assert said.sentence.startswith(f"{shop.row.name}: the channel refuses to know of it")
    assert "(1, such as package 1 of order A: InvalidInput). Correct it with" in said.sentence
    listed = run(shop, monkeypatch, "--list").output
    assert "order A, package 1, 2 units by UPS 1Z1" in listed
    assert "the channel refuses to know of it (InvalidInput: " in listed
    monkeypatch.setattr(cli, "application", lambda: shop.floor)
    status = CliRunner().invoke(cli.status).output
    assert f"{shop.row.name}: 1 package is not confirmed: `switchyard confirm-shipment --list`" in status
    shop.canned.refuses_shipments = False
    queue(shop, package(package_ref="1", units={"1": 1}))
    send(shop)
    assert (alert(shop), troubles(shop)) == ((1, 1, False), [])
    assert run(shop, monkeypatch, "--list").output == "Every channel knows every package.\n"
    assert "the channel knows it" in run(shop, monkeypatch, "--list", "--all").output


def test_a_package_that_is_not_told_for_an_hour_is_told_to_people(shop: Trade) -> None:
    queue(shop, package())
    shop.floor.accounts[shop.row.id].network.plan("lost_reply", "shipmentConfirmation", times=99)
    send(shop)
    assert troubles(shop) == []
    later(shop, 1.1)
    assert (alert(shop), troubles(shop)) == ((1, 1, True), ["late"])
    with unit_of_work(shop.floor.engine) as conn:
        switches.stop_writes(conn, shop.row.shop_id, shop.row.id, BY, utc_now())
    assert troubles(shop) == ["held"]
    with unit_of_work(shop.floor.engine) as conn:
        switches.resume_writes(conn, shop.row.shop_id, shop.row.id, BY, utc_now())
    shop.floor.accounts[shop.row.id].network.planned.clear()
    send(shop)
    assert alert(shop) == (1, 1, False)


def test_what_somebody_confirmed_by_hand_after_a_refusal_is_over(shop: Trade) -> None:
    queue(shop, package())
    shop.canned.refuses_shipments = True
    send(shop)
    assert alert(shop) == (1, 1, True)
    left = {units: {"quantityFulfilled": units, "quantityUnfulfilled": 0} for units in (1, 3)}
    items = (item_body("1", SKU, 3, fulfillment=left[3]), item_body("2", "SKU 2/%", 1, fulfillment=left[1]))
    shop.becomes("A", "SHIPPED", *items)
    shop.follow()
    assert (alert(shop), troubles(shop)) == ((1, 1, False), [])


def test_what_left_of_a_cancelled_order_is_to_be_called_back_and_that_is_over_after_days(shop: Trade) -> None:
    queue(shop, package())
    shop.canned.refuses_shipments = True
    send(shop)
    shop.becomes("A", "CANCELLED")
    shop.follow()
    assert (alert(shop), troubles(shop)) == ((1, 1, True), ["recall"])
    later(shop, 100)
    with unit_of_work(shop.floor.engine) as conn:
        execute(conn, "update orders set cancelled_at = cancelled_at - interval '4 days'")
    assert (alert(shop), troubles(shop)) == ((1, 1, False), [])


def test_packages_are_listed_page_by_page(shop: Trade, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        queue(shop, package(units={"1": 1}, tracking_number=f"1Z{number}"))
    first = run(shop, monkeypatch, "--list", "--limit", "2").output.splitlines()
    assert [line.split("UPS ")[1].split(",")[0] for line in first[:2]] == ["1Z2", "1Z1"]
    words = first[2].removeprefix("There are more: ").rstrip(".").split()
    rest = run(shop, monkeypatch, *words, "--limit", "2").output.splitlines()
    assert [line.split("UPS ")[1].split(",")[0] for line in rest] == ["1Z0"]


def test_a_moment_without_a_zone_or_before_the_order_is_refused(shop: Trade, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["A", "--carrier", "UPS", "--tracking", "1Z1", "--reason", "it left", "--shipped-at"]
    for moment, why in (
        ("2026-11-26T09:30:00", "no time zone"),
        ("2026-11-26", "no time zone"),
        ("2020-01-01T00:00:00+00:00", "lies before the order, which was placed"),
        ("yesterday", "no date and time"),
    ):
        wrong = run(shop, monkeypatch, *words, moment)
        assert isinstance(wrong.exception, CannotConfirm), wrong.output
        assert why in str(wrong.exception)
    assert shop.floor.rows("select 1 from shipment_confirmations where shop_id = %(s)s", s=shop.row.shop_id) == []


def test_what_the_command_lacks_is_said(shop: Trade, monkeypatch: pytest.MonkeyPatch) -> None:
    for words, why in (
        (["A"], "--carrier is missing"),
        (["A", "--list"], "leave ORDER"),
        (["A", "--all"], "are for --list"),
    ):
        told = run(shop, monkeypatch, *words)
        assert (told.exit_code, why in told.output) == (2, True), told.output
