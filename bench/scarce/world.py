"""Two Shopify shops and one Amazon seller of the sandbox as three channels of one shop of ours, and how it goes into
escrow.

Every channel shows the whole pool when it is connected, as shops do that somebody kept in step by hand. Then a rule for
the whole shop says how pools are shared, and nobody buys before channels could sell no more than there is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.scarce.stream import Stream
from core.audit import Actor
from core.bootstrap import Application
from core.clock import utc_now
from core.connections import operations as connections
from core.connections.queries import ConnectionRow
from core.db import read_only, scalar, unit_of_work
from core.inventory.planner import Mode
from core.policies import operations as policies
from core.policies.queries import Change
from core.policies.rules import Scope, Terms
from workers.replay import wait_until_in_step
from workers.retail_file import CURRENCY, Article
from workers.world import Control, Progress, amazon_connection, bring_in, shopify_connection

SHOP_NAME = "Scarce Retail"
DOMAINS = ("scarce-north.myshopify.com", "scarce-south.myshopify.com")
NAMES = ("North", "South")
SELLER_ID = "A1SCARCERETAIL"
PRODUCTS_AT_ONCE = 1000
ESCROW_SECONDS_MAX = 300
Describe = Callable[[Article, int], dict[str, object]]

ACTOR = Actor("bench", "a stream of shoppers who want more than there is")


@dataclass(frozen=True, slots=True)
class World:
    """A shop with its two channels that have shoppers, and the one whose orders nobody reads."""

    app: Application
    control: Control
    shop_id: int
    shops: tuple[ConnectionRow, ConnectionRow]
    amazon: ConnectionRow


def open_world(app: Application, control: Control, stream: Stream, progress: Progress) -> World:
    """Stock both shops and the seller, each with the whole pool, and connect them, pooled; all in step when it returns.

    Raises SyncFailed, SandboxRefused, ReplayStalled or Retryable.
    """
    for domain in DOMAINS:
        # The same name: both warehouses are the same one.
        control.post("/shops", {"domain": domain, "name": SHOP_NAME, "currency": CURRENCY, "plan": "plus"})
        _stock(control, f"/shopify/{domain}/products", "products", stream, _product)
    control.post("/sellers", {"seller_id": SELLER_ID, "name": SHOP_NAME})
    _stock(control, f"/amazon/{SELLER_ID}/listings", "listings", stream, _listing)
    described = control.get("/world")
    factor = described["clock_factor"]
    shops = {entry["domain"]: entry for entry in described["shops"]}
    seller = next(entry for entry in described["sellers"] if entry["seller_id"] == SELLER_ID)
    new = [
        shopify_connection(control.url, shops[domain], factor, name=name, is_sku_source=domain == DOMAINS[0])
        for domain, name in zip(DOMAINS, NAMES, strict=True)
    ]
    new.append(amazon_connection(control.url, seller, factor))
    now = utc_now()
    with unit_of_work(app.engine) as conn:
        shop_id = connections.open_shop(conn, SHOP_NAME, "Europe/London", CURRENCY, ACTOR, now)
        policies.begin_with(conn, shop_id, "pooled", ACTOR, now)
        ids = [connections.connect(conn, shop_id, each, app.settings.secret_keys, ACTOR, now) for each in new]
    north, south, amazon = (bring_in(app, shop_id, each, ACTOR, progress) for each in ids)
    wait_until_in_step(app, control, shop_id, progress)
    return World(app, control, shop_id, (north, south), amazon)


def _stock(control: Control, path: str, what: str, stream: Stream, entry: Describe) -> None:
    for start in range(0, len(stream.goods), PRODUCTS_AT_ONCE):
        part = stream.goods[start : start + PRODUCTS_AT_ONCE]
        control.post(path, {what: [entry(article, stream.opening[article.code]) for article in part]})


def _product(article: Article, units: int) -> dict[str, object]:
    return {
        "sku": article.code,
        "title": article.title,
        "price": str(article.unit_price),
        "inventory_policy": "DENY",
        "available": units,
    }


def _listing(article: Article, units: int) -> dict[str, object]:
    return {"sku": article.code, "title": article.title, "quantity": units}


def share_as(world: World, mode: Mode, progress: Progress) -> float:
    """Have a rule for the whole shop say how its pools are shared, and wait until it is so; returns seconds.

    In escrow: until every unit is one channel's and no unit is two's, and all show what they should. Raises
    ReplayStalled, or AssertionError when that is not so after ESCROW_SECONDS_MAX.
    """
    began = time.monotonic()
    with unit_of_work(world.app.engine) as conn:
        policies.save(conn, world.shop_id, [Change(Scope(), Terms(mode=mode))], ACTOR, utc_now())
    world.app.queue.enqueue("policies.replan", shop_id=world.shop_id)
    while (over := _not_yet(world)) > 0:
        progress("going into escrow", 0, over)
        assert time.monotonic() - began < ESCROW_SECONDS_MAX, f"{over} pools are not split over channels"
        time.sleep(0.25)
    wait_until_in_step(world.app, world.control, world.shop_id, progress)
    return time.monotonic() - began


def _not_yet(world: World) -> int:
    """How many pools are not in escrow, have more or less exposed than is available, or have a channel in doubt."""
    with read_only(world.app.engine) as conn:
        return int(
            scalar(
                conn,
                """
                select count(*) from stock_levels k where k.shop_id = %(shop)s
                    and (not k.is_escrow or pool_exposed_units(k.shop_id, k.sku_id, k.location_id) <> k.available
                        or exists (select from listings l where l.shop_id = k.shop_id and l.sku_id = k.sku_id
                            and l.location_id = k.location_id and l.is_in_doubt))
                """,
                shop=world.shop_id,
            )
        )
