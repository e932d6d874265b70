"""Connections to look at: one with a whole day behind it, one that is compared only, one that does not answer."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import timedelta

from psycopg.types.json import Jsonb
from sqlalchemy import Connection

from core.connections import checkup
from core.connections.checkup import Probe
from core.db import execute
from core.ports import ChannelAccount
from tests.dashboard import seed, worlds

TOPICS = (
    "orders/create",
    "orders/updated",
    "orders/cancelled",
    "refunds/create",
    "inventory_levels/update",
    "products/update",
    "fulfillments/create",
)


@dataclass(frozen=True)
class Connections:
    """What was seeded, by id."""

    shop: int
    shopify: int
    amazon: int
    shadow: int
    till: int
    skus: tuple[int, ...]


def several(conn: Connection) -> Connections:
    """A busy Shopify, an Amazon that refuses of late, a second Shopify in shadow mode, and a paused till."""
    world = worlds.calm(conn)
    shop, shopify, amazon = world.shop, world.shopify, world.amazon
    seed.set_state(
        conn, "connections", shopify, account_ref="harbour-goods.myshopify.com", watermark_at=seed.ago(seconds=70)
    )
    seed.set_state(conn, "connections", amazon, account_ref="A2EUQ1WTGCTBG2", watermark_at=seed.ago(minutes=4))
    execute(conn, _CALLS, shop=shop, c=shopify, calls=2_400, version="2026-10")
    _amazon_calls(conn, shop, amazon)
    subscriptions(conn, shop, shopify)
    warned(conn, shop, shopify)
    tested(conn, shop, shopify)
    acted(conn, shop, shopify)
    shadow = seed.connection(
        conn, shop, "Shopify DE", account_ref="harbour-goods-de.myshopify.com", write_mode="shadow",
        watermark_at=seed.ago(seconds=50), created_at=seed.ago(hours=5), orders_polled_at=seed.ago(seconds=50),
        open_orders_read_at=seed.ago(hours=4),
    )  # fmt: skip
    seed.call(conn, shop, shadow, seed.ago(seconds=30), operation="orders", quota_left="1985 of 2000",
              api_version="2026-10", asked_version="2026-10", purpose="connection.poll", cost=8.0)  # fmt: skip
    compared(conn, shop, shadow, list(world.skus.values()))
    till = seed.connection(conn, shop, "Till Covent Gdn", "lightspeed", "C", state="paused")
    seed.insert(
        conn, "audit_entries", shop_id=shop, acted_at=seed.ago(hours=2), actor="bob", act="pause",
        subject=f"connection:{till}", reason="the till is being replaced", details="{}",
    )  # fmt: skip
    return Connections(shop, shopify, amazon, shadow, till, tuple(world.skus.values()))


# A day of calls, dearest while stock is written; the sync of the whole at night.
_CALLS = """
    insert into api_calls (shop_id, connection_id, operation, method, status, outcome, elapsed_ms, attempt, error,
        api_version, asked_version, purpose, cost, quota_left, called_at)
    select %(shop)s, %(c)s, p.operation, 'POST', case when k.kind = 'error' then 503 else 200 end, k.kind,
        120 + (n * 7919) %% 90, 1, case k.kind when 'error' then 'Shopify is not available just now'
            when 'throttled' then 'the quota of points is used up' end,
        %(version)s, %(version)s, p.purpose, p.cost * (0.6 + ((n * 104729) %% 1000) / 1250.0),
        (1200 + (n * 37) %% 790) || ' of 2000', t.at
    from generate_series(1, %(calls)s) n
    cross join lateral (
        select now() - interval '40 seconds'
            - (86400.0 * (n - 1) / %(calls)s + 900 * sin(n / 55.0)) * interval '1 second' as at
    ) t
    cross join lateral (
        select case when n %% 3 = 0 then 0 when n %% 5 = 0 then 1 when n %% 7 = 0 then 2 when n %% 31 = 0 then 4
            else case when (n / 120) %% 7 = 2 then 3 else 0 end end as place
    ) w
    cross join lateral (
        select (array['stock.push', 'connection.poll', 'inbox.drain', 'connection.sync', 'stock.check'])[1 + w.place]
            as purpose, (array['setQuantities', 'orders', 'order', 'variants', 'levels'])[1 + w.place] as operation,
            (array[12, 9, 5, 44, 7])[1 + w.place] as cost
    ) p
    cross join lateral (
        select case when n %% 401 = 0 then 'throttled' when n %% 977 = 0 then 'error' else 'ok' end as kind
    ) k
    where t.at < now()
"""


def _amazon_calls(conn: Connection, shop: int, amazon: int) -> None:
    common = {"method": "GET", "api_version": "2021-08-01", "asked_version": "2021-08-01", "quota_left": "5/s"}
    with seed.many(conn) as many:
        for minute in range(1, 300, 4):
            seed.call(
                many, shop, amazon, seed.ago(minutes=minute), operation="searchOrders", purpose="connection.poll",
                cost=1.0, **common,
            )  # fmt: skip
    for minute in (3, 6, 9):
        seed.call(
            conn, shop, amazon, seed.ago(minutes=minute), "refused", operation="patchListingsItem", status=403,
            purpose="stock.push", cost=1.0, error="Unauthorized Access to requested resource is denied [*no*] <b>",
            **common,
        )  # fmt: skip


def sells_at_amazon(conn: Connection, world: Connections) -> None:
    """Three feeds, one under way; a queue that is read; a sweep on its way; stock in a warehouse of Amazon's."""
    shop, amazon, skus = world.shop, world.amazon, world.skus
    seed.set_state(
        conn, "connections", amazon, orders_asked_at=seed.ago(minutes=2), orders_resume="page:7",
        settings=Jsonb({"queue_url": "http://127.0.0.1:9/queue"}),
    )  # fmt: skip
    done = seed.feed(
        conn, shop, amazon, "done", 1_204, feed_ref="50041", accepted=1_190, refused=14, minutes=50, took=9,
        because="1,204 raises take 4 minutes one by one (5 a second, 3 lowered ones first) and 2 minutes in a feed",
    )  # fmt: skip
    seed.feed(
        conn, shop, amazon, "fatal", 600, feed_ref="50042", minutes=30, took=3, has_failed=True,
        because="600 raises take 2 minutes one by one and 80 seconds in a feed (as measured on 1 feeds)",
        reason="the document is no JSON [*no*] <b>",
    )  # fmt: skip
    seed.feed(
        conn, shop, amazon, "in_progress", 800, feed_ref="50043", minutes=4,
        because="800 raises take 3 minutes one by one and 90 seconds in a feed (as measured on 1 feeds)",
    )  # fmt: skip
    listing = seed.listing(conn, shop, amazon, skus[0], None, channel_ref="SKU-OF-FEED", publishing="off")
    write = seed.write(conn, shop, amazon, listing, 7, road="feed", feed_id=done, sent_at=seed.ago(minutes=49))
    execute(conn, "update listing_writes set doubt = 'not_shown' where id = %(id)s", id=write)
    seed.insert(
        conn, "channel_mailboxes", "connection_id", shop_id=shop, connection_id=amazon, read_at=seed.ago(minutes=2),
        came_at=seed.ago(minutes=3),
    )  # fmt: skip
    for topic, messages in (("ORDER_CHANGE", 214), ("FBA_INVENTORY_AVAILABILITY_CHANGES", 31)):
        seed.insert(
            conn, "channel_notices", "connection_id", shop_id=shop, connection_id=amazon, topic=topic,
            messages=messages, hour_at=seed.ago(hours=1),
        )  # fmt: skip
    place = seed.insert(
        conn, "locations", shop_id=shop, name="Amazon UK warehouses", kind="external", connection_id=amazon,
        created_at=seed.ago(days=9),
    )  # fmt: skip
    execute(
        conn,
        """
        update connections set settings = settings || '{"external_places": ["AFN"]}' where id = %(id)s
        """,
        id=amazon,
    )
    for number, sku in enumerate([*skus[:3], None]):
        seed.listing(
            conn, shop, amazon, sku, place, channel_ref=f"FBA-{number}", channel_location_ref="AFN", publishing="off",
            publishing_reason="kept by the channel itself", published_units=6 + number,
        )  # fmt: skip
        if sku is not None:
            seed.level(conn, shop, sku, place, on_hand=6 + number)


def subscriptions(conn: Connection, shop: int, shopify: int) -> None:
    """One of the topics is gone, one was and is made again, one is refused."""
    for place, topic in enumerate(TOPICS):
        more: dict[str, object] = {}
        if topic == "orders/cancelled":
            more = {"state": "missing", "missed_at": seed.ago(hours=3), "repairs": 1}
        elif topic == "refunds/create":
            more = {"repairs": 2, "missed_at": seed.ago(days=2), "repaired_at": seed.ago(days=2, seconds=-9)}
        elif topic == "fulfillments/create":
            more = {"state": "refused", "problem": "the app has no right to read fulfilments [read_fulfillments]"}
        seed.insert(
            conn, "channel_subscriptions", "topic", shop_id=shop, connection_id=shopify, topic=topic,
            **{"state": "standing", "ref": f"gid://shopify/WebhookSubscription/{900 + place}",
               "checked_at": seed.ago(minutes=42), **more},
        )  # fmt: skip


def warned(conn: Connection, shop: int, shopify: int) -> None:
    """Two things that the vendor will take away."""
    for minute, text in ((3, "Order.oldTotal"), (90, "Order.oldTotal"), (400, "Shop.products, Shop.productVariants")):
        seed.call(
            conn, shop, shopify, seed.ago(minutes=minute), operation="orders", deprecation=text, cost=9.0,
            api_version="2026-10", asked_version="2026-10", purpose="connection.poll", quota_left="1990 of 2000",
        )  # fmt: skip


def tested(conn: Connection, shop: int, connection: int) -> None:
    """A test that passed, with one right missing that is only advised."""
    probe = Probe(
        ChannelAccount(
            ref="harbour-goods.myshopify.com", name="Harbour Goods", currency="GBP", time_zone="Europe/London",
            plan="Advanced", missing={}, advised={"read_all_orders": "to see changes of orders older than 60 days"},
            granted=frozenset({"read_inventory", "read_locations", "read_orders", "read_products", "write_inventory"}),
            api_version="2026-10", supported_until=seed.now() + timedelta(days=300),
        ),
        answered_version="2026-10", clock_ahead=timedelta(seconds=0.2), token_lives=timedelta(hours=24),
    )  # fmt: skip
    findings = checkup.of_probe(probe, probe.account.ref, "GBP", seed.now())
    answer = {
        "ref": probe.account.ref, "name": probe.account.name, "plan": probe.account.plan, "elapsed_ms": 142,
        "granted": sorted(probe.account.granted or ()), "findings": [asdict(found) for found in findings],
    }  # fmt: skip
    seed.run(
        conn, shop, connection, "done", kind="test_connection", reason="tested on the Connections page", counts=answer,
        requested_at=seed.ago(minutes=6), started_at=seed.ago(minutes=6), ended_at=seed.ago(minutes=6),
    )  # fmt: skip


def compared(conn: Connection, shop: int, shadow: int, skus: list[int]) -> None:
    """Of twenty listings twelve are equal; the others would be raised, lowered, taken to zero, or are not known yet."""
    place = seed.location(conn, shop, "Hamburg")
    shows = {0: (4, 9), 1: (31, 12), 2: (7, 0), 3: (2, 0), 4: (18, 19), 5: (150, 44), 6: (None, 6)}
    for number, sku in enumerate(skus):
        shown, wanted = shows.get(number, (9, 9))
        off = {"publishing": "off", "publishing_reason": "offered by no channel rule"} if number == 7 else {}
        seed.listing(conn, shop, shadow, sku, place, published_units=shown, desired_units=wanted, **off)


def acted(conn: Connection, shop: int, shopify: int) -> None:
    """What people did there: three numbers typed, one of them not explained yet, and two draft orders."""
    typed = [
        ("stock_edit", f"s-{place}", seed.ago(days=place, hours=3), units) for place, units in enumerate((5, -2, 8))
    ]
    drafted = [("draft_order", f"d-{place}", seed.ago(days=4 + place), None) for place in range(2)]
    for kind, ref, at, units in [*typed, *drafted]:
        seed.insert(
            conn, "channel_acts", "ref", shop_id=shop, connection_id=shopify, kind=kind, ref=ref, acted_at=at,
            units=units,
        )  # fmt: skip
    execute(
        conn,
        "update listings set exposed_units = published_units, edited_units = 4 where id ="
        " (select min(id) from listings where connection_id = %(c)s and published_units >= 4)",
        c=shopify,
    )


def stop(
    conn: Connection, shop: int, connection: int | None = None, reason: str = "Shopify shows wrong numbers"
) -> int:
    """An open stop: of one connection, or of the whole shop."""
    return seed.insert(
        conn, "write_stops", shop_id=shop, connection_id=connection, stopped_by="ada", reason=reason,
        stopped_at=seed.now() - timedelta(minutes=12),
    )  # fmt: skip
