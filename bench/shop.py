"""A connected shop for a measurement: its catalogue taken in, its stock taken over, both channels publishing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine

from bench.stream import DOMAIN, Delivered, World
from core.audit import Actor
from core.catalog import operations as catalog
from core.catalog.operations import ListingSource
from core.clock import utc_now
from core.connections import operations as connections
from core.connections import queries
from core.connections.operations import NewConnection
from core.connections.queries import ConnectionRow
from core.db import execute, unit_of_work
from core.inventory import operations as inventory
from core.ports import ChannelListing, LevelObservation

ACTOR = Actor("bench", "a measurement")
CLIENT_SECRET = "the app's secret"


@dataclass(frozen=True, slots=True)
class Shop:
    """The shop's two connections."""

    shop_id: int
    shopify: ConnectionRow
    amazon: ConnectionRow


def connect(engine: Engine, world: World, secret_key: str) -> Shop:
    """Connect Shopify (the source of SKUs) and Amazon, with every item listed on both and its number taken over."""
    now = utc_now()
    with unit_of_work(engine) as conn:
        shop_id = connections.open_shop(conn, "Bench", "Europe/London", "GBP", ACTOR, now)
        place = inventory.open_location(conn, shop_id, "Warehouse", now)
        ids = [
            connections.connect(conn, shop_id, _connection(vendor, settings), [secret_key], ACTOR, now)
            for vendor, settings in (
                ("shopify", {"is_sku_source": True, "locations": {world.location_ref: place}}),
                ("amazon", {"locations": {"": place}}),
            )
        ]
    _list(engine, ListingSource(shop_id, ids[0], True, {world.location_ref: place}), _shopify(world, now))
    _list(engine, ListingSource(shop_id, ids[1], False, {"": place}), _amazon(world, now))
    with unit_of_work(engine) as conn:
        return Shop(shop_id, *(queries.connection(conn, shop_id, connection_id) for connection_id in ids))


def fill_inbox(engine: Engine, row: ConnectionRow, deliveries: Sequence[Delivered], at: datetime | None = None) -> None:
    """Record deliveries as the API does, as received `at` (now); nobody is told."""
    now = at or utc_now()
    for start in range(0, len(deliveries), 1000):
        part = deliveries[start : start + 1000]
        with unit_of_work(engine) as conn:
            execute(
                conn,
                """
                insert into inbox_messages (shop_id, connection_id, delivery_id, topic, road, body, triggered_at,
                    received_at)
                select %(shop)s, %(connection)s, d, t, 'webhook', b, at, %(now)s
                from unnest(%(ids)b::text[], %(topics)b::text[], %(bodies)b::bytea[], %(ats)b::timestamptz[])
                    as m (d, t, b, at)
                """,
                shop=row.shop_id,
                connection=row.id,
                now=now,
                ids=[delivery.webhook_id for delivery in part],
                topics=[delivery.topic for delivery in part],
                bodies=[delivery.body for delivery in part],
                ats=[datetime.fromisoformat(delivery.triggered_at) for delivery in part],
            )


def analyse(owner: Engine) -> None:
    """What autovacuum does within a minute of a catalogue's arrival; a measurement does not wait for it."""
    with owner.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.exec_driver_sql("vacuum (analyze)")


def _connection(vendor: str, settings: Mapping[str, object]) -> NewConnection:
    return NewConnection(
        vendor=vendor,
        name=vendor.capitalize(),
        base_url="http://127.0.0.1:9",
        account_ref=DOMAIN if vendor == "shopify" else "A1BENCH",
        guarantee_class="A" if vendor == "shopify" else "B",
        settings=settings,
        secrets={"client_secret": CLIENT_SECRET},
    )


def _list(engine: Engine, source: ListingSource, listings: Sequence[ChannelListing]) -> None:
    now = utc_now()
    with unit_of_work(engine) as conn:
        catalog.take_in(conn, source, listings, now)
        if source.creates_skus:
            inventory.take_over(conn, source.shop_id, source.connection_id, ACTOR, now)
        # Before any listing, as everywhere; what is told before a first reading waits for it.
        connections.note_catalogue_read(conn, source.shop_id, source.connection_id, utc_now())
        inventory.set_baselines(conn, source.shop_id, source.connection_id)
        catalog.begin_publishing(conn, source.shop_id, source.connection_id)
        inventory.refresh_all_desired(conn, source.shop_id)


def _shopify(world: World, now: datetime) -> list[ChannelListing]:
    # Taken over before the first order was placed.
    first = min((datetime.fromisoformat(delivery.triggered_at) for delivery in world.deliveries), default=now)
    at = first.replace(second=0, microsecond=0)
    return [
        ChannelListing(
            ref=item.variant_ref,
            inventory_ref=item.item_ref,
            product_ref=None,
            code=item.sku,
            barcode=None,
            title=item.title,
            is_tracked=item.is_stocked,
            status="active",
            version_at=at,
            levels=(LevelObservation(item.item_ref, world.location_ref, item.units if item.is_stocked else None, at),),
        )
        for item in world.items
    ]


def _amazon(world: World, now: datetime) -> list[ChannelListing]:
    return [
        ChannelListing(
            ref=item.sku,
            inventory_ref=None,
            product_ref=None,
            code=item.sku,
            barcode=None,
            title=item.title,
            is_tracked=True,
            status="active",
            version_at=now,
            levels=(LevelObservation(item.sku, "", item.units, now),),
        )
        for item in world.items
        if item.is_stocked
    ]
