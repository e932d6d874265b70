"""Having Amazon put notifications into the queue: made once, mended when it is gone, and refused with the reason."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from core.adapters.amazon.client import SellingPartner
from core.adapters.amazon.queues import BadQueue
from core.adapters.amazon.subscriptions import WANTED
from core.adapters.base import ConnectionConfig, Deps
from core.bootstrap import Application
from core.clock import utc_now
from core.connections import switches
from core.db import fetch, read_only, unit_of_work
from core.ports import ChannelSubscription
from tests.factories import ACTOR
from tests.notices.conftest import Connect, Post, drain, inbox_of
from tests.sandbox.outside import Outside, SellerSide, wait_for
from workers.jobs import subscriptions
from workers.jobs.notices import read_notices

TOPICS = {each.topic for each in WANTED}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names of what the job rang for."""
    rung: list[str] = []
    monkeypatch.setattr(subscriptions, "ring_once", lambda app, name, **ids: rung.append(name))
    return rung


def ensure(app: Application, row: Any, **options: Any) -> dict[str, ChannelSubscription]:
    with app.channel(row) as channel:
        return {item.topic: item for item in channel.ensure_subscriptions("unused", **options)}


def states(found: dict[str, ChannelSubscription]) -> set[str]:
    return {item.state for item in found.values()}


def partner(side: SellerSide, outside: Outside) -> SellingPartner:
    """The vendor's API as the seller's own application asks it."""
    settings = {"lwa_url": f"{outside.url}/amazon/auth/o2/token", "clock_factor": 100}
    secrets = {name: side.entry[name] for name in ("client_id", "client_secret", "refresh_token")}
    config = ConnectionConfig(1, 1, "amazon", f"{outside.url}/amazon", side.id, "GBP", settings, secrets)
    return SellingPartner(config, Deps(lambda call: None, None, None, utc_now))


def drop(side: SellerSide, outside: Outside, kind: str) -> None:
    """Amazon forgets a subscription."""
    api = partner(side, outside)
    found = api.run("getSubscription", {"type": kind})["payload"]["subscriptionId"]
    api.run("deleteSubscriptionById", {"type": kind, "subscription": found})


def test_a_destination_and_its_subscriptions_are_made_once(
    app: Application, connect: Connect, own_queue: Post, side: SellerSide, outside: Outside
) -> None:
    row = connect(own_queue)
    looked_at = ensure(app, row, repair=False)
    assert (looked_at.keys(), states(looked_at)) == (TOPICS, {"missing"})
    first = ensure(app, row)
    assert states(first) == {"standing"}
    assert all(item.is_changed and item.was_missing for item in first.values())
    again = ensure(app, row)
    assert {item.ref for item in again.values()} == {item.ref for item in first.values()}
    assert not any(item.is_changed or item.was_missing for item in again.values())
    api = partner(side, outside)
    (destination,) = api.run("getDestinations")["payload"]
    assert destination["resource"]["sqs"]["arn"] == side.entry["queue"]["arn"]
    said = api.run("getSubscription", {"type": "ORDER_CHANGE"})["payload"]["processingDirective"]["eventFilter"]
    assert said["orderChangeTypes"] == ["BuyerRequestedChange", "OrderStatusChange"]


def test_what_amazon_tells_reaches_the_inbox(
    app: Application, connect: Connect, own_queue: Post, side: SellerSide, outside: Outside
) -> None:
    row = connect(own_queue)
    ensure(app, row)
    change = {"AmazonOrderId": "1-2", "OrderChangeType": "OrderStatusChange", "SellerId": side.id}
    tip = {**change, "AmazonOrderId": "1-3", "OrderChangeType": "DeliveryTipChange"}
    for said in (tip, change):
        outside.post(f"/amazon/{side.id}/notices", kind="ORDER_CHANGE", payload={"OrderChangeNotification": said})
    wait_for(lambda: read_notices(shop_id=row.shop_id, connection_id=row.id) and inbox_of(app, row))
    (message,) = inbox_of(app, row)
    assert json.loads(bytes(message["body"]))["Payload"]["OrderChangeNotification"]["AmazonOrderId"] == "1-2"


def test_a_sale_at_amazon_is_told_of_and_the_order_is_asked_for(
    app: Application, connect: Connect, own_queue: Post, side: SellerSide, outside: Outside
) -> None:
    row = connect(own_queue)
    ensure(app, row)
    outside.post(f"/amazon/{side.id}/sales", sku="MUG", quantity=1)

    def told() -> bool:
        read_notices(shop_id=row.shop_id, connection_id=row.id)
        return "notification/ORDER_CHANGE" in {message["topic"] for message in inbox_of(app, row)}

    wait_for(told)
    drain(app, row)
    assert "orders.read" in {name for queue in app.broker.read().queues for name in queue.jobs}


def test_a_subscription_that_is_gone_is_made_again_and_its_gap_swept(
    app: Application, connect: Connect, own_queue: Post, side: SellerSide, outside: Outside, asked: list[str]
) -> None:
    row = connect(own_queue)
    subscriptions.check_connection(shop_id=row.shop_id, connection_id=row.id)
    assert asked == []
    drop(side, outside, "ORDER_CHANGE")
    done = subscriptions.check_connection(shop_id=row.shop_id, connection_id=row.id)
    assert (done["standing"], done["changed"], done["dropped"]) == (len(WANTED), 1, 1)
    # Orders are polled for; nothing else was missed.
    assert asked == ["connection.poll"]
    drop(side, outside, "LISTINGS_ITEM_MFN_QUANTITY_CHANGE")
    subscriptions.check_connection(shop_id=row.shop_id, connection_id=row.id)
    assert asked == ["connection.poll", "connection.poll", "connection.sync"]
    with read_only(app.engine) as conn:
        repairs = {
            row["topic"]: row["repairs"] for row in fetch(conn, "select topic, repairs from channel_subscriptions")
        }
    assert sum(repairs.values()) == 2


def test_subscriptions_of_a_destination_that_is_gone_move_to_a_new_one(
    app: Application, connect: Connect, own_queue: Post, side: SellerSide, outside: Outside
) -> None:
    row = connect(own_queue)
    ensure(app, row)
    _delete_destinations(side, outside)
    assert {item.was_missing for item in ensure(app, row, repair=False).values()} == {True}
    mended = ensure(app, row)
    assert states(mended) == {"standing"}
    assert all(item.is_changed and item.was_missing for item in mended.values())


def _delete_destinations(side: SellerSide, outside: Outside) -> None:
    grant = {"grant_type": "client_credentials", "scope": "sellingpartnerapi::notifications"}
    fields = {name: side.entry[name] for name in ("client_id", "client_secret")} | grant
    with outside.client("/amazon") as http:
        http.headers["user-agent"] = "Test/1.0 (Language=Python)"
        http.headers["x-amz-access-token"] = http.post("/auth/o2/token", data=fields).json()["access_token"]
        for one in http.get("/notifications/v1/destinations").json()["payload"]:
            gone = http.delete(f"/notifications/v1/destinations/{one['destinationId']}")
            assert gone.status_code == 200


def test_another_filter_is_replaced_by_ours(
    app: Application, connect: Connect, own_queue: Post, side: SellerSide, outside: Outside
) -> None:
    row = connect(own_queue)
    ensure(app, row)
    drop(side, outside, "ORDER_CHANGE")
    api = partner(side, outside)
    (destination,) = api.run("getDestinations")["payload"]
    only = {"eventFilter": {"eventFilterType": "ORDER_CHANGE", "orderChangeTypes": ["DeliveryTipChange"]}}
    body = {"payloadVersion": "1.0", "destinationId": destination["destinationId"], "processingDirective": only}
    api.run("createSubscription", {"type": "ORDER_CHANGE"}, body=body)
    changed = [item for item in ensure(app, row).values() if item.is_changed]
    assert [(item.topic, item.state) for item in changed] == [("notification/ORDER_CHANGE", "standing")]


def test_what_leads_into_somebody_elses_queue_is_left_alone(
    app: Application, connect: Connect, own_queue: Post, side: SellerSide, outside: Outside
) -> None:
    api = partner(side, outside)
    arn = "arn:aws:sqs:eu-west-1:111122223333:of-another-installation"
    specification = {"name": "other", "resourceSpecification": {"sqs": {"arn": arn}}}
    theirs = api.run("createDestination", body=specification)["payload"]["destinationId"]
    body = {"payloadVersion": "1.0", "destinationId": theirs}
    made = api.run("createSubscription", {"type": "ORDER_CHANGE"}, body=body)["payload"]
    row = connect(own_queue)
    found = ensure(app, row)
    order = found.pop("notification/ORDER_CHANGE")
    assert order.state == "refused"
    assert order.problem is not None
    assert "go into another queue" in order.problem
    assert states(found) == {"standing"}
    assert api.run("getSubscription", {"type": "ORDER_CHANGE"})["payload"] == made
    # Known as ours, of before the queue moved.
    moved = ensure(app, row, known={made["subscriptionId"]})["notification/ORDER_CHANGE"]
    assert (moved.state, moved.was_missing, moved.is_changed) == ("standing", True, True)


def test_trap_8_nothing_is_made_while_the_queue_does_not_let_amazon_in(
    app: Application, connect: Connect, own_queue: Post, side: SellerSide, outside: Outside, asked: list[str]
) -> None:
    row = connect(own_queue)
    good = own_queue.client.get_queue_attributes(QueueUrl=own_queue.url, AttributeNames=["Policy"])["Attributes"]
    own_queue.set_policy("")
    found = ensure(app, row)
    assert states(found) == {"refused"}
    assert all("437568002678" in (item.problem or "") for item in found.values())
    assert partner(side, outside).run("getDestinations")["payload"] == []
    own_queue.set_policy(good["Policy"])
    subscriptions.check_connection(shop_id=row.shop_id, connection_id=row.id)
    own_queue.set_policy("")
    subscriptions.check_connection(shop_id=row.shop_id, connection_id=row.id)
    own_queue.set_policy(good["Policy"])
    asked.clear()
    # Nothing was gone at Amazon, and yet nothing came meanwhile.
    done = subscriptions.check_connection(shop_id=row.shop_id, connection_id=row.id)
    assert (done["standing"], done["dropped"]) == (len(WANTED), len(WANTED))
    assert asked == ["connection.poll", "connection.sync"]


def test_a_type_that_the_application_may_not_have_does_not_hold_up_the_others(
    app: Application, connect: Connect, own_queue: Post, side: SellerSide, outside: Outside
) -> None:
    kinds = ["FBA_INVENTORY_AVAILABILITY_CHANGES", "ORDER_CHANGE"]
    outside.post(f"/amazon/{side.id}/forbidden_notices", kinds=kinds)
    found = ensure(app, connect(own_queue))
    refused = {topic: item.is_advised for topic, item in found.items() if item.state == "refused"}
    assert refused == {"notification/FBA_INVENTORY_AVAILABILITY_CHANGES": True, "notification/ORDER_CHANGE": False}
    assert "may not have this type" in (found["notification/ORDER_CHANGE"].problem or "")
    assert sum(item.state == "standing" for item in found.values()) == len(WANTED) - 2


def test_a_creation_without_an_answer_is_looked_for_the_next_time(
    app: Application, connect: Connect, own_queue: Post, outside: Outside
) -> None:
    row = connect(own_queue)
    match = "POST /amazon/notifications/v1/subscriptions/ORDER_CHANGE"
    outside.faults(kind="lost_reply", match=match, count=1)
    first = ensure(app, row)["notification/ORDER_CHANGE"]
    assert first.state == "missing"
    again = ensure(app, row)["notification/ORDER_CHANGE"]
    assert (again.state, again.is_changed) == ("standing", False)


def test_a_queue_that_keeps_an_order_is_refused_before_anybody_is_asked(
    app: Application, connect: Connect, own_queue: Post
) -> None:
    row = connect(own_queue, queue_url=f"{own_queue.url}.fifo")
    with pytest.raises(BadQueue, match="FIFO"):
        ensure(app, row)
    with read_only(app.engine) as conn:
        assert not fetch(conn, "select from api_calls")


def test_a_connection_that_writes_nothing_makes_nothing(
    app: Application, connect: Connect, own_queue: Post, side: SellerSide, outside: Outside
) -> None:
    row = connect(own_queue)
    with unit_of_work(app.engine) as conn:
        switches.stop_writes(conn, row.shop_id, row.id, ACTOR, utc_now())
    done = subscriptions.check_connection(shop_id=row.shop_id, connection_id=row.id)
    assert (done["missing"], done["changed"]) == (len(WANTED), 0)
    assert partner(side, outside).run("getDestinations")["payload"] == []


def test_a_connection_without_a_queue_asks_for_nothing(app: Application, connect: Connect, own_queue: Post) -> None:
    assert ensure(app, connect(own_queue, queue_url=None)) == {}
