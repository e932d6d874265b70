"""Two Shopify shops and an Amazon seller of the sandbox as channels of one shop of ours, and how its pools are shared.

Every channel shows the whole pool when it is connected, as shops do that somebody kept in step by hand. Then a rule for
the whole shop says how pools are shared, and nobody buys before channels could sell no more than there is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.scarce.stream import Stream
from core.audit import Actor
from core.bootstrap import Application
from core.clock import utc_now
from core.connections import operations as connections
from core.connections.queries import ConnectionRow
from core.db import read_only, scalar, unit_of_work
from core.inventory import operations as inventory
from core.inventory.operations import Adjustment
from core.inventory.planner import Mode
from core.messaging.doorbell import Lane
from core.policies import operations as policies
from core.policies.queries import Change
from core.policies.rules import Scope, Terms
from workers.replay import wait_until_in_step
from workers.retail_file import CURRENCY, Article
from workers.world import Control, Progress, amazon_connection, bring_in, shopify_connection

NAMES = ("North", "South")
PRODUCTS_AT_ONCE = 1000
SHARED_SECONDS_MAX = 300
MISLAID = "mislaid"
SPLIT_FROM = 4
"""Of so many units more than one channel has some."""
Describe = Callable[[Article, int], dict[str, object]]

ACTOR = Actor("bench", "a stream of shoppers who want more than there is")


@dataclass(frozen=True, slots=True)
class Outside:
    """What the channels of one shop of ours are called in the sandbox."""

    name: str
    domains: tuple[str, str]
    seller_id: str

    @classmethod
    def of(cls, mode: Mode) -> Outside:
        """One for each mode, so that they can be played side by side."""
        domains = (f"scarce-{mode}-north.myshopify.com", f"scarce-{mode}-south.myshopify.com")
        return cls(f"Scarce Retail, {mode}", domains, f"A1SCARCE{mode.upper()}")


@dataclass(frozen=True, slots=True)
class World:
    """A shop with its channels: two of class A, and Amazon."""

    app: Application
    control: Control
    outside: Outside
    shop_id: int
    shops: tuple[ConnectionRow, ConnectionRow]
    amazon: ConnectionRow

    @property
    def channels(self) -> tuple[ConnectionRow, ...]:
        """In the order of `Basket.place`."""
        return (*self.shops, self.amazon)


def open_world(app: Application, control: Control, stream: Stream, outside: Outside, progress: Progress) -> World:
    """Stock both shops and the seller, each with the whole pool, and connect them, pooled; all in step when it returns.

    Raises SyncFailed, SandboxRefused, ReplayStalled or Retryable.
    """
    for domain in outside.domains:
        # The same name: both warehouses are the same one.
        control.post("/shops", {"domain": domain, "name": outside.name, "currency": CURRENCY, "plan": "plus"})
        _stock(control, f"/shopify/{domain}/products", "products", stream, _product)
    control.post("/sellers", {"seller_id": outside.seller_id, "name": outside.name})
    _stock(control, f"/amazon/{outside.seller_id}/listings", "listings", stream, _listing)
    described = control.get("/world")
    factor = described["clock_factor"]
    shops = {entry["domain"]: entry for entry in described["shops"]}
    seller = next(entry for entry in described["sellers"] if entry["seller_id"] == outside.seller_id)
    new = [
        shopify_connection(control.url, shops[domain], factor, name=name, is_sku_source=domain == outside.domains[0])
        for domain, name in zip(outside.domains, NAMES, strict=True)
    ]
    new.append(amazon_connection(control.url, seller, factor))
    now = utc_now()
    with unit_of_work(app.engine) as conn:
        shop_id = connections.open_shop(conn, outside.name, "Europe/London", CURRENCY, ACTOR, now)
        policies.begin_with(conn, shop_id, "pooled", ACTOR, now)
        ids = [connections.connect(conn, shop_id, each, app.settings.secret_keys, ACTOR, now) for each in new]
    north, south, amazon = (bring_in(app, shop_id, each, ACTOR, progress) for each in ids)
    wait_until_in_step(app, control, shop_id, progress)
    return World(app, control, outside, shop_id, (north, south), amazon)


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


def share_as(worlds: Mapping[Mode, World], stream: Stream, progress: Progress) -> dict[Mode, float]:
    """Have a rule for each whole shop say how its pools are shared, and wait until it is so; returns seconds.

    Until each channel has its part, nobody is in doubt and all show what they should. Nothing was sold yet that a
    measured pace could come from: so the rule says when `adaptive` is to split, at half of the largest stock. Raises
    ReplayStalled, or AssertionError when that is not so after SHARED_SECONDS_MAX.
    """
    began = time.monotonic()
    for mode, world in worlds.items():
        switch = max(stream.opening.values()) // 2 if mode == "adaptive" else None
        with unit_of_work(world.app.engine) as conn:
            terms = Terms(mode=mode, switch_units=switch)
            policies.save(conn, world.shop_id, [Change(Scope(), terms)], ACTOR, utc_now())
        world.app.queue.enqueue("policies.replan", shop_id=world.shop_id)
    for world in worlds.values():
        _touch_deep_pools(world, stream, progress)
    seconds: dict[Mode, float] = {}
    while len(seconds) < len(worlds):
        for mode, world in worlds.items():
            if mode in seconds:
                continue
            if over := _not_yet(world, mode):
                progress(f"going into {mode}", 0, over)
                assert time.monotonic() - began < SHARED_SECONDS_MAX, f"{over} pools are not shared as {mode}"
            else:
                seconds[mode] = time.monotonic() - began
        time.sleep(0.25)
    return seconds


def _touch_deep_pools(world: World, stream: Stream, progress: Progress) -> None:
    """A pool with plenty follows a changed rule with its next booking: a unit of each good is mislaid and found."""
    began = time.monotonic()
    question = "select count(*) from stock_levels where shop_id = %(shop)s and escrow_line_units is null"
    while True:
        with read_only(world.app.engine) as conn:
            waiting = scalar(conn, question, shop=world.shop_id)
        if not waiting:
            break
        progress("following the rule", 0, waiting)
        assert time.monotonic() - began < SHARED_SECONDS_MAX, f"{waiting} pools do not follow the rule"
        time.sleep(0.25)
    location_id = next(iter(world.shops[0].settings["locations"].values()))
    for units in (-1, 1):
        now = utc_now()
        booked = [
            Adjustment(f"{MISLAID}:{units}:{good.code}", good.code, units, "adjustment", now, None)
            for good in stream.goods
        ]
        with unit_of_work(world.app.engine) as conn:
            inventory.adjust(conn, world.shop_id, location_id, booked, ACTOR, now)
    for row in world.channels:
        world.app.doorbell.ring(Lane("stock", row.shop_id, row.id))


def _not_yet(world: World, mode: Mode) -> int:
    """How many pools do not follow the rule yet, have a channel in doubt, or are all on one channel.

    In escrow all that is available has to be exposed, and no more; where there is plenty, channels share it, and only
    Amazon has a part of its own.
    """
    with read_only(world.app.engine) as conn:
        return int(
            scalar(
                conn,
                """
                select count(*) from stock_levels k where k.shop_id = %(shop)s and (k.escrow_line_units is null
                    or (k.is_escrow and pool_exposed_units(k.shop_id, k.sku_id, k.location_id) <> k.available)
                    or (%(escrow)s and not k.is_escrow)
                    or exists (select from listings l join connections c on c.shop_id = l.shop_id
                            and c.id = l.connection_id
                        where l.shop_id = k.shop_id and l.sku_id = k.sku_id and l.location_id = k.location_id
                        and (l.is_in_doubt or l.is_to_push or (l.exposed_units = k.available
                            and k.available >= %(few)s and (k.is_escrow or c.guarantee_class = 'B'))))
                    or exists (select from listing_writes w join listings l on l.shop_id = w.shop_id
                            and l.id = w.listing_id
                        where w.shop_id = k.shop_id and w.outcome is null and l.sku_id = k.sku_id))
                """,
                shop=world.shop_id,
                escrow=mode == "escrow",
                few=SPLIT_FROM,
            )
        )
