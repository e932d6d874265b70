"""Whole shops to look at: a calm one, a troubled one, and a big one to measure with."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from core.db import execute
from tests.dashboard import seed

GOODS = (
    ("85123A", "White hanging heart T-light holder"),
    ("22423", "Regency cakestand 3 tier"),
    ("85099B", "Jumbo bag red retrospot"),
    ("47566", "Party bunting"),
    ("84879", "Assorted colour bird ornament"),
    ("20725", "Lunch bag red retrospot"),
    ("22720", "Set of 3 cake tins pantry design"),
    ("21212", "Pack of 72 retrospot cake cases"),
    ("20727", "Lunch bag black skull"),
    ("22457", "Natural slate heart chalkboard"),
    ("22726", "Alarm clock bakelike green"),
    ("22086", "Paper chain kit 50s Christmas"),
    ("22469", "Heart of wicker small"),
    ("23084", "Rabbit night light"),
    ("22197", "Popcorn holder small"),
    ("85099F", "Jumbo bag strawberry"),
    ("23203", "Jumbo bag vintage doily"),
    ("21034", "Rex cash and carry jumbo shopper"),
    ("22383", "Lunch bag suki design"),
    ("22960", "Jam making set with jars"),
)


@dataclass(frozen=True)
class World:
    """What was seeded, by id."""

    shop: int
    shopify: int
    amazon: int
    skus: dict[str, int]


def calm(conn: Connection) -> World:
    """Two channels in step, orders coming in."""
    dice = random.Random(7)
    shop = seed.shop(conn)
    shopify = seed.connection(conn, shop)
    amazon = seed.connection(conn, shop, "Amazon UK", "amazon", "B")
    bristol, leeds = seed.location(conn, shop), seed.location(conn, shop, "Leeds")
    skus = {}
    for place, (code, title) in enumerate(GOODS):
        skus[code] = seed.sku(conn, shop, code, title, barcode=f"50{place:011d}")
        _stock(conn, shop, skus[code], (bristol, leeds), (shopify, amazon), dice, 20 + place * 7)
    for connection in (shopify, amazon):
        _traffic(conn, shop, connection, list(skus.values())[:6], bristol, dice)
        seed.call(conn, shop, connection, seed.ago(seconds=20))
    return World(shop, shopify, amazon, skus)


def _stock(
    conn: Connection,
    shop: int,
    sku: int,
    places: tuple[int, int],
    channels: tuple[int, int],
    dice: random.Random,
    start: int,
) -> None:
    near, far = places
    units, at = 0, seed.ago(days=80)
    seed.level(conn, shop, sku, near, 0)
    seed.level(conn, shop, sku, far, 0)
    seed.movement(conn, shop, sku, far, 12, seed.ago(days=81), reason="count", note="First count")
    with seed.many(conn) as many:
        while at < seed.ago(hours=3):
            delta = -min(units, dice.randint(1, 6)) if units > start // 2 or dice.random() < 0.7 else start
            if delta:
                seed.movement(many, shop, sku, near, delta, at, note="Counted" if delta > 0 else None)
                units += delta
            at += timedelta(hours=dice.randint(5, 90))
    execute(
        conn,
        "update stock_levels set on_hand = %(u)s where sku_id = %(s)s and location_id = %(l)s",
        u=units,
        s=sku,
        l=near,
    )
    execute(conn, "update stock_levels set on_hand = 12 where sku_id = %(s)s and location_id = %(l)s", s=sku, l=far)
    for channel in channels:
        shown = units if channel == channels[0] else max(units - 2, 0)
        listing = seed.listing(
            conn, shop, channel, sku, near, desired_units=shown, published_units=shown, title="Thing"
        )
        with seed.many(conn) as many:
            for back in range(5, -1, -1):
                at = seed.ago(minutes=9 + back * 17 + dice.random() * 9)
                seed.confirmed(many, shop, channel, listing, shown + back + 1, shown + back, at)


def _traffic(conn: Connection, shop: int, channel: int, skus: list[int], place: int, dice: random.Random) -> None:
    with seed.many(conn) as many:
        for minute in range(119, 0, -1):
            for _ in range(dice.randint(0, 3 + minute // 60)):
                seed.message(many, shop, channel, seed.ago(minutes=minute - dice.random() * 0.9))
        for number in range(60):
            at = seed.ago(minutes=dice.random() * 700 + 3)
            seed.order(many, shop, channel, at, f"#{1042 + number}")
            seed.order(many, shop, channel, at - timedelta(days=7), f"#{742 + number}", is_test=number % 9 == 0)
    for number, sku in enumerate(skus):
        at = seed.ago(hours=20 - number)
        line = seed.line(conn, shop, seed.order(conn, shop, channel, at, f"#{900 + number}"), sku, 2)
        seed.promise(conn, shop, sku, place, line, 2, at)
        execute(
            conn,
            "update stock_levels set reserved = reserved + 2 where sku_id = %(s)s and location_id = %(l)s",
            s=sku,
            l=place,
        )


def troubled(conn: Connection) -> World:
    """The same shop on a bad day: behind, doubtful, refused, parked, unmapped, failed."""
    world = calm(conn)
    shop, amazon, shopify = world.shop, world.amazon, world.shopify
    till = seed.connection(conn, shop, "Till Covent Gdn", "lightspeed", "C")
    seed.message(conn, shop, till, seed.ago(minutes=47), topic="sale")
    seed.connection(conn, shop, "Vendor DF", "amazon_vendor", "B", state="paused")
    seed.set_state(
        conn, "connections", amazon, last_error="the access token was refused (403)", last_error_at=seed.now()
    )
    for _ in range(41):
        seed.message(conn, shop, amazon, seed.ago(minutes=19 + random.random() * 3), "received")
    execute(
        conn,
        "update listings set desired_units = desired_units + 3 where connection_id = %(c)s and id %% 2 = 0",
        c=amazon,
    )
    _doubts(conn, world)
    for number in range(3):
        seed.message(
            conn,
            shop,
            shopify,
            seed.ago(hours=2 + number),
            "parked",
            cause="unreadable",
            detail="line 3 has no quantity",
        )
    for number in range(2):
        order = seed.order(conn, shop, shopify, seed.ago(hours=4 + number), f"#{1201 + number}")
        seed.line(
            conn,
            shop,
            order,
            None,
            3,
            code="GIFT-WRAP*",
            title="Gift wrap [red]",
            mapping_reason="no SKU has this code",
        )
    for number in range(4):
        seed.listing(conn, shop, shopify, None, None, channel_code=f"TEST-{number}", title="Old test product")
    for minute in (50, 35, 5):
        seed.job(
            conn,
            "reconcile.stock",
            seed.ago(minutes=minute),
            error="Traceback\nTimeout: no answer within 30 seconds",
            fingerprint="a1",
        )
    seed.schedule(
        conn, "audit.nightly", seed.ago(hours=9), "finished", {"violations": 2, "broken": {"levels are sums": 2}}
    )
    return world


def _doubts(conn: Connection, world: World) -> None:
    found = (
        conn.exec_driver_sql(
            "select id from listings where connection_id = %(c)s order by id limit 3", {"c": world.shopify}
        )
        .scalars()
        .all()
    )
    seed.set_state(conn, "listings", found[0], desired_units=4)
    seed.write(
        conn,
        world.shop,
        world.shopify,
        found[0],
        4,
        at=seed.ago(minutes=6),
        from_units=9,
        sent_at=seed.ago(minutes=6),
        doubt="no answer came within 30 seconds",
        next_check_at=seed.now() + timedelta(minutes=3),
        attempts=2,
    )
    seed.set_state(
        conn,
        "listings",
        found[1],
        desired_units=2,
        push_problem="the item is not stocked at this location",
        push_failures=4,
        next_push_at=seed.now() + timedelta(minutes=12),
    )
    short = world.skus["22423"]
    execute(conn, "update stock_levels set reserved = on_hand + 3 where sku_id = %(s)s", s=short)


def big(conn: Connection, skus: int = 5_000, movements: int = 1_000_000, orders: int = 300_000) -> int:
    """A large shop, made by set-based statements; returns the shop."""
    shop = seed.shop(conn, "Big shop")
    channels = [seed.connection(conn, shop), seed.connection(conn, shop, "Amazon UK", "amazon", "B")]
    place = seed.location(conn, shop)
    values = {"shop": shop, "place": place, "n": skus, "m": movements, "o": orders, "a": channels[0], "b": channels[1]}
    for sql in _BIG:
        execute(conn, sql, **values)
    for channel in channels:
        seed.call(conn, shop, channel, seed.now())
    return shop


def analyse(conn: Connection) -> None:
    """Statistics, as autovacuum would have made them."""
    execute(conn, "analyze")


def moment() -> datetime:
    return seed.now()


_BIG = (
    """
    insert into skus (shop_id, code, title, is_stocked, created_at)
    select %(shop)s, 'SKU-' || lpad(n::text, 6, '0'), 'Product number ' || n, true, now()
    from generate_series(1, %(n)s) n
    """,
    """
    insert into stock_levels (shop_id, sku_id, location_id, on_hand, reserved)
    select shop_id, id, %(place)s, id %% 90, id %% 7 from skus where shop_id = %(shop)s
    """,
    # One in ten moves the first SKU: a hot one.
    """
    insert into stock_movements (shop_id, sku_id, location_id, delta_units, reason, business_key, recorded_by,
        occurred_at, recorded_at)
    select %(shop)s, s.ids[1 + (case when n %% 10 = 0 then 0 else n %% %(n)s end)], %(place)s, 1 - 2 * (n %% 2),
        'adjustment', 'big:' || n, 'erp', t.at, t.at
    from generate_series(1, %(m)s) n
    cross join (select array_agg(id order by id) ids from skus where shop_id = %(shop)s) s
    cross join lateral (select now() - (%(m)s - n) * interval '8 seconds' as at) t
    """,
    """
    insert into listings (shop_id, connection_id, channel_ref, title, sku_id, location_id, is_tracked, publishing,
        publishing_reason, desired_units, published_units, published_at)
    select k.shop_id, c.id, 'v' || k.id, k.title, k.id, %(place)s, true, 'on', 'taken over', k.id %% 50,
        case when k.id %% 100 = 0 then 1 else k.id %% 50 end, now()
    from skus k cross join (values (%(a)s), (%(b)s)) c(id) where k.shop_id = %(shop)s
    """,
    """
    insert into listing_writes (shop_id, connection_id, listing_id, from_units, to_units, idempotency_key,
        batch_position, planned_at, deadline_at, sent_at, outcome, outcome_at)
    select l.shop_id, l.connection_id, l.id, 1, 2, 'big-' || l.id || '-' || n, 0, t.at, t.at, t.at, 'confirmed', t.at
    from listings l cross join generate_series(1, 20) n
    cross join lateral (select now() - n * interval '40 minutes' - (l.id %% 2400) * interval '1 second' as at) t
    where l.shop_id = %(shop)s
    """,
    """
    insert into orders (shop_id, connection_id, channel_ref, name, placed_at, channel_created_at, version_at,
        currency, total_minor, recorded_at)
    select %(shop)s, case when n %% 3 = 0 then %(b)s else %(a)s end, 'big-' || n, '#' || n, t.at, t.at, t.at,
        'GBP', 4310, t.at
    from generate_series(1, %(o)s) n
    cross join lateral (select now() - (%(o)s - n) * interval '20 seconds' as at) t
    """,
    """
    insert into order_lines (shop_id, order_id, channel_ref, ordinal, title, units, unit_price, discount_minor,
        total_minor, mapping, sku_id)
    select o.shop_id, o.id, 'l' || o.id, 1, 'Thing', 1, 43.10, 0, 4310, 'stocked', s.ids[1 + (o.id %% %(n)s)]
    from orders o cross join (select array_agg(id order by id) ids from skus where shop_id = %(shop)s) s
    where o.shop_id = %(shop)s
    """,
    """
    insert into inbox_messages (shop_id, connection_id, delivery_id, topic, road, body, received_at, state,
        settled_at)
    select o.shop_id, o.connection_id, 'big-' || o.id, 'orders/create', 'webhook',
        convert_to(repeat('x', 600), 'UTF8'), o.recorded_at, 'handled', o.recorded_at + interval '2 seconds'
    from orders o where o.shop_id = %(shop)s
    """,
)
