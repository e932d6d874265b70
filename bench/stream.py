"""What is measured with: the deliveries that a shop sends for real orders, made by the sandbox from the shared file.

Without the shared file the orders are invented, with as many lines each as real ones have; a figure then says so.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from sandbox.clock import Clock
from sandbox.faults import Faults
from sandbox.outbox import Outbox, unpacked
from sandbox.store import Row, Store
from sandbox.vendors.shopify import catalogue, orders, subscriptions
from sandbox.vendors.shopify.orders import WantedLine, WantedOrder
from sandbox.vendors.shopify.shops import open_shop
from workers.retail_file import Invoice, Line, articles, least_opening_stock, read_invoices

REAL = Path("data/orders/online_retail_2010-12-01_2011-07-19.csv.gz")
DOMAIN = "bench.myshopify.com"
ORDERS_ONLY = ("ORDERS_CREATE",)
EVERYTHING = (
    "FULFILLMENTS_CREATE",
    "INVENTORY_LEVELS_UPDATE",
    "ORDERS_CANCELLED",
    "ORDERS_CREATE",
    "ORDERS_UPDATED",
    "PRODUCTS_UPDATE",
    "REFUNDS_CREATE",
)
SEED = 7


@dataclass(frozen=True, slots=True)
class Delivered:
    """One delivery as it stands in the sandbox's outbox."""

    webhook_id: str
    topic: str
    body: bytes
    triggered_at: str


@dataclass(frozen=True, slots=True)
class Item:
    """One product of the shop, as its catalogue has it. Refs are Shopify's numbers as text."""

    sku: str
    title: str
    variant_ref: str
    item_ref: str
    is_stocked: bool
    units: int


@dataclass(frozen=True, slots=True)
class World:
    """A shop's catalogue and the deliveries of its orders, oldest first."""

    origin: str
    location_ref: str
    items: Sequence[Item]
    deliveries: Sequence[Delivered]
    orders: int
    lines: int
    poisons: int = 0


def shared_dir() -> Path:
    """Where the shared data lies, if it is there."""
    return Path(os.environ.get("SHARED_DIR") or Path(__file__).resolve().parents[2] / "shared")


def invoices(count: int) -> tuple[str, list[Invoice]]:
    """(where they are from, the first `count` orders): real ones, or invented ones where the file is not there."""
    path = shared_dir() / REAL
    if path.is_file():
        found = [invoice for invoice in read_invoices(path) if invoice.kind == "order"]
        return "real orders (Online Retail)", found[:count]
    return "invented orders", list(_invented(count))


def make_world(count: int, topics: Sequence[str] = ORDERS_ONLY) -> World:
    """Place and ship `count` orders in a sandbox of their own and take what it would deliver."""
    origin, wanted = invoices(count)
    with tempfile.TemporaryDirectory(prefix="switchyard-bench-") as folder:
        store = Store(Path(folder))
        # Nobody reads this world after a power cut.
        store.db.execute("pragma synchronous=off")
        outbox = Outbox(store, Clock(store, None), Faults(store, SEED))
        shop = open_shop(store, DOMAIN, "Bench", "GBP", "Europe/London", "plus")
        stock = least_opening_stock(wanted)
        shelved = _fill(store, shop, wanted, stock)
        for topic in topics:
            subscriptions.create(store, outbox, shop, topic, {"uri": f"http://127.0.0.1:9/{topic.lower()}"})
        for start in range(0, len(wanted), 50):
            with store.transaction():
                for invoice in wanted[start : start + 50]:
                    orders.place(store, outbox, shop, _order(invoice))
        location = str(store.value("select min(id) from locations where shop_id = ?", (shop["id"],)))
        found = [
            Delivered(row["webhook_id"], row["topic"], unpacked(row["data"]), row["triggered_at"])
            for row in store.all(
                "select d.webhook_id, d.topic, d.triggered_at, b.data from deliveries d"
                " join bodies b on b.id = d.body_id order by d.id"
            )
        ]
        store.close()
    items = [
        Item(entry.sku, entry.sku, str(entry.variant_id), str(entry.item_id), article.is_goods, stock.get(entry.sku, 0))
        for entry, article in zip(shelved, articles(wanted), strict=True)
    ]
    return World(origin, location, items, found, len(wanted), sum(len(invoice.lines) for invoice in wanted))


def _fill(store: Store, shop: Row, wanted: Sequence[Invoice], stock: dict[str, int]) -> list[catalogue.Shelved]:
    samples = [
        catalogue.Sample.read(
            {
                "sku": item.code,
                "title": item.title,
                "price": str(item.unit_price),
                "tracked": item.is_goods,
                "inventory_policy": "CONTINUE",
                "available": stock.get(item.code, 0) if item.is_goods else 0,
            }
        )
        for item in articles(wanted)
    ]
    with store.transaction():
        return catalogue.shelve(store, shop, samples)


def _order(invoice: Invoice) -> WantedOrder:
    first = invoice.lines[0]
    return WantedOrder(
        key=invoice.number,
        name=f"#{invoice.number}",
        processed_at=invoice.at.isoformat(),
        customer_ref=first.customer,
        country=first.country_code or "ZZ",
        currency="GBP",
        ship=True,
        lines=[
            WantedLine(line.code, line.units, str(line.unit_price), line.title or line.code) for line in invoice.lines
        ],
    )


def _invented(count: int) -> Iterator[Invoice]:
    """Orders of a seeded shop: mostly a few dozen lines, some with one, a few with hundreds."""
    chance = random.Random(SEED)
    codes = [f"{number:05d}" for number in range(20_000, 23_500)]
    at = datetime(2010, 12, 1, 8, 0, tzinfo=UTC)
    for number in range(count):
        size = max(1, min(700, round(chance.lognormvariate(2.6, 1.1))))
        at += timedelta(minutes=chance.randint(1, 9))
        lines = tuple(
            Line(
                invoice=f"{600_000 + number}",
                ordinal=ordinal,
                code=code,
                title=f"ARTICLE {code}",
                units=chance.choice((1, 1, 2, 3, 6, 12, 24)),
                at=at,
                unit_price=Decimal(chance.randint(42, 1295)) / 100,
                customer=str(17_000 + chance.randint(0, 900)),
                country_code="GB",
            )
            for ordinal, code in enumerate(chance.choices(codes, k=size), start=1)
        )
        yield Invoice(f"{600_000 + number}", lines)
