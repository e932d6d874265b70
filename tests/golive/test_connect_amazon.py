"""`switchyard connect amazon`, a first sync with stock in Amazon's warehouses, and the doctor, against the sandbox."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest
from click.testing import Result

from core import invariants
from core.adapters.amazon.places import FBA_PLACE, OWN_PLACE
from core.bootstrap import Application
from core.clock import utc_now
from core.connections import mailboxes, markets, switches
from core.connections import operations as connections
from core.connections.queries import ConnectionRow
from core.db import execute, fetch, fetch_one, read_only, unit_of_work
from core.errors import BadInput
from core.messaging import inbox
from core.messaging.inbox import Incoming
from core.ports import PackageSent
from tests.factories import ACTOR
from tests.golive.conftest import FACTOR
from tests.golive.test_connect import connect as connect_shopify
from tests.golive.test_connect import parts, run, stored
from tests.sandbox.outside import Outside, SellerSide, ShopSide, availability, wait_for
from workers import world
from workers.connecting import NotRight
from workers.jobs import connections as jobs
from workers.jobs import external as external_jobs
from workers.jobs import inbox as inbox_jobs
from workers.jobs.notices import read_notices

SECRETS = ("client_secret", "refresh_token")


@pytest.fixture
def seller(outside: Outside) -> SellerSide:
    """A seller with a listing of its own, one that Amazon ships, and one sold both ways."""
    barcode = {"type": "ean", "value": "4006381333931"}
    side = outside.seller(
        {"sku": "OWN", "quantity": 7, "barcodes": [barcode]}, {"sku": "BOTH", "quantity": 4}, {"sku": "GONE"}
    )
    at_amazon = {"set": {"fulfillable": 30, "inboundShipped": 100}}
    outside.post(f"/amazon/{side.id}/fba", items=[{"sku": "FBA", **at_amazon}, {"sku": "BOTH", **at_amazon}])
    side.patch("BOTH", availability("merge", fulfillment_channel_code="AMAZON_EU"))
    wait_for(lambda: len(side.get("BOTH", "fulfillmentAvailability").json()["fulfillmentAvailability"]) > 1)
    return side


def connect(app: Application, side: SellerSide, *more: str, **changed: str) -> Result:
    given = {"marketplace": side.marketplace, "seller-id": side.id, "name": "Amazon"}
    given |= {name.replace("_", "-"): side.entry[name] for name in ("client_id", *SECRETS)}
    given |= {"base-url": f"{side.outside.url}/amazon", "lwa-url": f"{side.outside.url}/amazon/auth/o2/token"} | changed
    options = [word for name, value in given.items() for word in (f"--{name}", value)]
    return run(app, "connect", "amazon", *options, "--clock-factor", str(FACTOR), *more)


def test_a_seller_is_asked_for_looked_at_and_stored_in_shadow_mode(app: Application, seller: SellerSide) -> None:
    typed = "\n".join(["uk", seller.id.lower(), *(seller.entry[name] for name in ("client_id", *SECRETS)), ""])
    address = f"{seller.outside.url}/amazon"
    more = ("--base-url", address, "--lwa-url", f"{address}/auth/o2/token", "--clock-factor", str(FACTOR))
    done = run(app, "connect", "amazon", *more, typed=typed)
    assert done.exception is None, (done.output, done.exception)
    for secret in SECRETS:
        assert seller.entry[secret] not in done.output
    for words in (
        "account: Test answers (GBP)",
        "marketplace: the seller takes part in Amazon.co.uk",
        "roles: all that is needed is granted",
        "searchListingsItems 5.0/s",
        "notifications: no queue is set: orders come by polls only",
        "make a standard queue in eu-west-1",
        "in shadow mode",
    ):
        assert words in done.output
    (row,) = stored(app)
    assert (row.write_mode, row.account_ref, row.name, row.guarantee_class) == ("shadow", seller.id, "Amazon GB", "B")
    assert (row.settings["region"], row.settings["is_sku_source"]) == ("eu", True)
    with read_only(app.engine) as conn:
        secrets = connections.open_secrets(conn, app.settings.secret_keys, row.shop_id, row.id)
    assert {name: secrets[name] for name in SECRETS} == {name: seller.entry[name] for name in SECRETS}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"client-secret": "wrong-secret"}, "invalid_client: client ID and client secret do not belong together"),
        ({"refresh-token": "wrong-secret"}, "invalid_grant: the refresh token does not hold (any longer)"),
        ({"base-url": "http://127.0.0.1:9"}, "check that this machine may call out"),
        ({"marketplace": "DE"}, "takes part in Amazon.co.uk (A1F83G8C2ARO7P): connect one of these"),
        (
            {"seller-id": "ASOMEBODYELSE"},
            "this seller ID is not the one that authorised the app, or the role is missing",
        ),
        ({"queue-url": "https://sqs.eu-west-1.amazonaws.com/123456789012/q.fifo"}, "never puts notifications into one"),
        ({"queue-url": "https://sqs.eu-west-1.amazonaws.com/12/q"}, "an account of 12 digits"),
        ({"queue-url": "https://queues.example/123456789012/q"}, "does not say its region: enter queue_region"),
        ({"queue-url": "https://sqs.eu-west-1.amazonaws.com/123456789012/q"}, "cannot be read without aws_access_key"),
    ],
)
def test_nothing_is_stored_until_it_is_right(
    app: Application, seller: SellerSide, changed: dict[str, str], words: str
) -> None:
    done = connect(app, seller, **changed)
    assert isinstance(done.exception, NotRight), (done.output, done.exception)
    assert words in done.output
    assert "wrong-secret" not in done.output + str(done.exception)
    assert stored(app) == []


def with_queue(side: SellerSide, **changed: str) -> dict[str, str]:
    queue = side.entry["queue"]
    given = {"queue-url": f"{side.outside.url}{queue['path']}", "queue-region": queue["region"]}
    keys = {f"aws-{name}": queue[f"aws_{name.replace('-', '_')}"] for name in ("access-key-id", "secret-access-key")}
    return {**given, **keys, "sqs-endpoint": f"{side.outside.url}/sqs", **changed}


def test_a_queue_is_asked_itself_before_anything_is_stored(app: Application, seller: SellerSide) -> None:
    right = with_queue(seller)
    nowhere = right["queue-url"] + "-gone"
    wrongs = (
        ({"queue-url": nowhere}, "does not exist in"),
        ({"aws-secret-access-key": "wrong-secret"}, "AWS does not accept the access key"),
        ({"aws-access-key-id": "AKIANOBODY"}, "AWS does not accept the access key"),
        ({"sqs-endpoint": "http://127.0.0.1:9"}, "look whether this machine reaches AWS"),
    )
    for changed, words in wrongs:
        done = connect(app, seller, **{**right, **changed})
        assert isinstance(done.exception, NotRight), (changed, done.output, done.exception)
        assert words in done.output
        assert "wrong-secret" not in done.output
    sqs_of(right).set_queue_attributes(QueueUrl=right["queue-url"], Attributes={"Policy": ""})
    done = connect(app, seller, **right)
    assert isinstance(done.exception, NotRight), done.output
    assert "does not let Amazon's account" in done.output
    assert stored(app) == []


def sqs_of(given: dict[str, str]) -> Any:
    return boto3.client(
        "sqs",
        region_name=given["queue-region"],
        endpoint_url=given["sqs-endpoint"],
        aws_access_key_id=given["aws-access-key-id"],
        aws_secret_access_key=given["aws-secret-access-key"],
    )


def test_the_doctor_asks_the_queue_and_says_when_orders_come_without_it(app: Application, seller: SellerSide) -> None:
    done = connect(app, seller, **with_queue(seller))
    assert done.exception is None, (done.output, done.exception)
    assert "queue: it is there, knows the key, and lets the channel in" in done.output
    (row,) = stored(app)

    def queue() -> list[tuple[str, str]]:
        mine = parts(app)[1][f"Amazon (amazon, {seller.id})"]
        assert mine["notifications"][0]["state"] == "ok"
        return [(each["state"], each["says"]) for each in mine["queue"]]

    assert queue() == [
        ("ok", "it is there, knows the key, and lets the channel in"),
        ("problem", "it was never read"),
    ]
    read_notices(shop_id=row.shop_id, connection_id=row.id)
    assert [state for state, _ in queue()] == ["ok", "ok"]
    assert parts(app)[1][f"Amazon (amazon, {seller.id})"]["subscriptions"][-1]["state"] == "ok"
    with read_only(app.engine) as conn:
        calls = fetch(conn, "select operation, status, outcome, error from api_calls where status = 404 order by 1")
    # Asking for an order that is nobody's, and for subscriptions that are not there yet, is answered by that.
    assert {call["operation"] for call in calls} == {"getOrder", "getSubscription"}
    assert {(call["outcome"], call["error"]) for call in calls} == {("ok", None)}
    with unit_of_work(app.engine) as conn:
        execute(conn, "update connection_secrets set updated_at = updated_at - interval '1 day'")
        execute(
            conn,
            """
            insert into orders (shop_id, connection_id, channel_ref, name, placed_at, channel_created_at, version_at,
                recorded_at, currency, total_minor, is_test)
            values (%(shop)s, %(id)s, '1', '1', now() - interval '3 hours', now(), now(), now(), 'GBP', 0, false)
            """,
            shop=row.shop_id,
            id=row.id,
        )
    assert queue()[-1] == ("warning", "1 order came by polls alone: the queue never told of any")
    with unit_of_work(app.engine) as conn:
        mailboxes.note_came(conn, row.shop_id, row.id, {"notification/ORDER_CHANGE": 1}, utc_now())
    assert [state for state, _ in queue()] == ["ok", "ok"]
    room = mailboxes.Mailroom((row,))
    with unit_of_work(app.engine) as conn:
        mailboxes.note_unread(conn, room, "the key is not accepted", utc_now())
        execute(conn, "update channel_subscriptions set state = 'missing' where topic like '%%ORDER_CHANGE'")
    assert queue()[-1][0] == "problem"
    assert "the key is not accepted" in queue()[-1][1]
    status, found = parts(app)
    assert status == 1
    assert {each["state"] for each in found[f"Amazon (amazon, {seller.id})"]["subscriptions"]} == {"problem"}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"marketplace": "Narnia"}, "no marketplace of Amazon's"),
        ({"seller-id": "A 1"}, "no seller ID"),
        ({"base-url": "https://sellingpartnerapi-na.amazon.com"}, "is North America, and A1F83G8C2ARO7P is in Europe"),
        ({"region": "fe"}, "in the region eu, not fe: leave --region out"),
        ({"name": "  "}, "--name is empty"),
    ],
)
def test_what_cannot_be_is_said_before_anybody_is_asked(
    app: Application, seller: SellerSide, changed: dict[str, str], words: str
) -> None:
    refused = connect(app, seller, **changed).exception
    assert isinstance(refused, BadInput)
    assert words in str(refused)
    assert stored(app) == []


def test_a_shop_that_thinks_in_another_currency_is_said(app: Application, seller: SellerSide) -> None:
    with unit_of_work(app.engine) as conn:
        connections.open_shop(conn, "Euro shop", "UTC", "EUR", ACTOR, utc_now())
    done = connect(app, seller, shop="Euro shop")
    assert isinstance(done.exception, NotRight)
    assert "it sells in GBP, and the shop here thinks in EUR" in done.output


def test_credentials_can_be_entered_again_and_a_name_stays_with_its_account(
    app: Application, seller: SellerSide, shop: ShopSide
) -> None:
    assert connect_shopify(app, shop).exception is None
    assert connect(app, seller, shop="Test").exception is None
    assert connect(app, seller, shop="Test").exception is None
    amazon = [row for row in stored(app) if row.vendor == "amazon"]
    # The shop has a source of SKUs, and numbers, already.
    assert [row.settings["is_sku_source"] for row in amazon] == [False]
    refused = connect(app, seller, "--store-anyway", shop="Test", marketplace="DE").exception
    assert isinstance(refused, BadInput)
    assert "A1F83G8C2ARO7P already: call this one otherwise with --name" in str(refused)


def test_trap_a_sku_has_one_quantity_in_all_marketplaces_of_a_region(app: Application, seller: SellerSide) -> None:
    """Inventory is kept by seller and SKU: a second connection would write the first one's numbers over."""
    assert connect(app, seller, shop="Test").exception is None
    german = {"shop": "Test", "marketplace": "DE", "name": "Amazon DE"}
    refused = connect(app, seller, "--store-anyway", **german).exception
    assert isinstance(refused, BadInput)
    assert "connected in the same region already, as Amazon: there a SKU has one quantity" in str(refused)
    assert connect(app, seller, "--store-anyway", "--own-skus", **german).exception is None
    elsewhere = {"shop": "Test", "marketplace": "US", "name": "Amazon US"}
    assert connect(app, seller, "--store-anyway", **elsewhere).exception is None


def test_trap_the_demos_seller_is_guarded_like_a_real_one(app: Application, seller: SellerSide) -> None:
    """What the sandbox's world connects says its region, so that nobody else writes the same quantities beside it."""
    new = world.amazon_connection(seller.outside.url, seller.entry, FACTOR)
    assert new.settings["region"] == "eu"
    with unit_of_work(app.engine) as conn:
        shop_id = connections.open_shop(conn, "Test", "UTC", "GBP", ACTOR, utc_now())
        connections.connect(conn, shop_id, new, app.settings.secret_keys, ACTOR, utc_now())
    refused = connect(app, seller, "--store-anyway", shop="Test", marketplace="DE", name="Amazon DE").exception
    assert isinstance(refused, connections.StockShared)


def test_a_sale_in_another_marketplace_of_the_region_takes_the_same_stock(app: Application, outside: Outside) -> None:
    """Connected in GB alone: an order at DE of the same SKU is swept, booked in its currency, and confirmed."""
    both = ["A1F83G8C2ARO7P", "A1PA6795UKMFR9"]
    entry = outside.post("/sellers", seller_id="SEVERALPLACES", name="Several", marketplace_ids=both)
    side = SellerSide(outside, entry)
    outside.post(f"/amazon/{side.id}/listings", listings=[{"sku": "OWN", "quantity": 7}])
    assert connect(app, side).exception is None
    (row,) = stored(app)
    assert markets.covered(row.settings) == set(both)
    with read_only(app.engine) as conn:
        run_row = fetch_one(conn, "select id from sync_runs")
    assert run_row is not None
    done = jobs.sync_connection(shop_id=row.shop_id, connection_id=row.id, sync_run_id=run_row["id"])
    assert "failed" not in done, done
    line = {"sku": "OWN", "quantity": 2, "price": "2.50"}
    wanted = {"key": "at-de", "lines": [line], "marketplace_id": both[1], "pending_seconds": 0}
    (order,) = outside.post(f"/amazon/{side.id}/orders", orders=[wanted])["orders"]

    def booked() -> Any:
        jobs.poll_connection(shop_id=row.shop_id, connection_id=row.id)
        inbox_jobs.drain_inbox(shop_id=row.shop_id, connection_id=row.id)
        with read_only(app.engine) as conn:
            return fetch_one(conn, "select channel_ref, currency from orders")

    wait_for(booked)
    with read_only(app.engine) as conn:
        found = fetch_one(conn, "select on_hand, reserved from stock_levels")
        assert [each.name for each in invariants.check(conn, utc_now()) if each.rows] == []
    assert (dict(booked()), dict(found or {})) == (
        {"channel_ref": order["id"], "currency": "EUR"},
        {"on_hand": 7, "reserved": 2},
    )
    with unit_of_work(app.engine) as conn:
        assert switches.to_live(conn, row.shop_id, row.id, ACTOR, utc_now())
    item = str(order["lines"][0]["id"])
    package = PackageSent(order["id"], "1", "DHL", None, None, "D1", utc_now(), ((item, 2),))
    with app.channel(stored(app)[0]) as channel:
        assert channel.confirm_shipment(package).outcome == "confirmed"


def test_a_marketplace_with_skus_of_its_own_is_left_to_its_own_connection(app: Application, outside: Outside) -> None:
    both = ["A1F83G8C2ARO7P", "A1PA6795UKMFR9"]
    side = SellerSide(outside, outside.post("/sellers", seller_id="APARTINDE", name="A", marketplace_ids=both))
    assert connect(app, side, shop="Test").exception is None
    german = {"shop": "Test", "marketplace": "DE", "name": "Amazon DE"}
    assert connect(app, side, "--own-skus", "--store-anyway", **german).exception is None
    british = next(row for row in stored(app) if row.name == "Amazon")
    own = next(row for row in stored(app) if row.name == "Amazon DE")
    assert [markets.covered(row.settings) for row in (british, own)] == [{both[0]}, {both[1]}]
    with unit_of_work(app.engine) as conn:
        # Whoever asks again finds both.
        assert markets.covered(markets.note(conn, british, both, utc_now()).settings) == {both[0]}
        assert markets.covered(markets.note(conn, own, both, utc_now()).settings) == {both[1]}


def test_the_first_sync_puts_what_amazon_keeps_beside_the_pool(app: Application, seller: SellerSide) -> None:
    assert connect(app, seller).exception is None
    (row,) = stored(app)
    with read_only(app.engine) as conn:
        run_row = fetch_one(conn, "select id from sync_runs")
    assert run_row is not None
    done = jobs.sync_connection(shop_id=row.shop_id, connection_id=row.id, sync_run_id=run_row["id"])
    assert done["listings"] == 4, done
    assert levels(app) == {
        ("OWN", False): 7, ("BOTH", False): 4, ("GONE", False): 0, ("BOTH", True): 30, ("FBA", True): 30,
    }  # fmt: skip
    with read_only(app.engine) as conn:
        found = fetch(conn, "select channel_ref, channel_location_ref as place, publishing from listings")
        barcode = fetch_one(conn, "select barcode from skus where code = 'OWN'")
    assert {(each["channel_ref"], each["place"]): each["publishing"] for each in found} == {
        ("OWN", OWN_PLACE): "on", ("BOTH", OWN_PLACE): "on", ("GONE", OWN_PLACE): "on",
        ("BOTH", FBA_PLACE): "off", ("FBA", FBA_PLACE): "off",
    }  # fmt: skip
    assert barcode is not None
    assert barcode["barcode"] == "4006381333931"

    seller.outside.post(f"/amazon/{seller.id}/fba", items=[{"sku": "FBA", "sell": 12}])
    assert external_jobs.read_external(shop_id=row.shop_id, connection_id=row.id) == {"read": 2, "moved": 1}
    assert levels(app)["FBA", True] == 18
    assert external_jobs.read_external(shop_id=row.shop_id, connection_id=row.id) == {"read": 2, "moved": 0}
    told(app, row, seller, "FBA", 17)
    assert levels(app)["FBA", True] == 17
    with read_only(app.engine) as conn:
        assert [each.name for each in invariants.check(conn, utc_now()) if each.rows] == []


def told(app: Application, row: ConnectionRow, seller: SellerSide, sku: str, units: int) -> None:
    """A notification about what Amazon keeps comes, and is handled."""
    here = {"MarketplaceId": seller.marketplace, "FulfillmentInventory": {"Fulfillable": units}}
    payload = {"SellerId": seller.id, "SKU": sku, "FulfillmentInventoryByMarketplace": [here]}
    kind, now = "FBA_INVENTORY_AVAILABILITY_CHANGES", utc_now()
    body = json.dumps({"NotificationType": kind, "EventTime": now.isoformat(), "Payload": payload}).encode()
    with unit_of_work(app.engine) as conn:
        came = [Incoming("n1", f"notification/{kind}", body, now)]
        assert inbox.record(conn, row.shop_id, row.id, came, "queue", now) == 1
    assert inbox_jobs.drain_inbox(shop_id=row.shop_id, connection_id=row.id) == {"messages": 1}


def levels(app: Application) -> dict[tuple[str, bool], int]:
    with read_only(app.engine) as conn:
        found = fetch(conn, "select s.code, v.is_external, v.on_hand from sku_levels v join skus s on s.id = v.sku_id")
    return {(row["code"], row["is_external"]): row["on_hand"] for row in found}


def test_the_doctor_says_how_the_account_is(app: Application, seller: SellerSide) -> None:
    assert connect(app, seller).exception is None
    _, found = parts(app)
    mine = found[f"Amazon (amazon, {seller.id})"]
    states: dict[str, list[Any]] = {about: [each["state"] for each in items] for about, items in mine.items()}
    for about in ("credentials", "account", "marketplace", "roles", "token", "clock", "quota"):
        assert states[about] == ["ok"], (about, mine[about])
    assert states["notifications"] == ["warning"]
    assert "docs/amazon.md" in mine["notifications"][0]["next_step"]
    assert "subscriptions" not in mine
