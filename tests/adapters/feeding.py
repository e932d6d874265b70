"""A seller on Amazon with some listings, on real Postgres: what the jobs of feeds see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import pytest
from sqlalchemy import Engine

from core.clock import utc_now
from core.connections.queries import ConnectionRow
from core.db import execute, unit_of_work
from core.inventory import operations as inventory
from core.inventory import roads
from core.inventory.operations import Adjustment
from core.ports import LevelObservation, SalesChannel
from tests.adapters.accounts import Account, amazon_account
from tests.adapters.canned_feeds import CannedFeeds
from tests.adapters.floor import Floor
from tests.factories import (
    ACTOR,
    BASELINE,
    World,
    make_channel_listing,
    make_connection,
    make_shop,
    take_in,
    unique,
    world_of,
)
from tests.factories import first_sync as take_over
from workers import feeds as feeding
from workers.jobs.stock import check_lane, push_lane

FACTOR = 100_000
SKUS = [f"SKU-{n}" for n in range(12)]


@dataclass
class Seller:
    """A connection whose listings show ten each, and the canned Amazon behind it."""

    floor: Floor
    row: ConnectionRow
    canned: CannedFeeds
    account: Account
    location_id: int
    channel: SalesChannel

    @property
    def shop_id(self) -> int:
        return self.row.shop_id

    def world(self) -> World:
        """As other processes find it."""
        with unit_of_work(self.floor.engine) as conn:
            return world_of(conn, self.row)

    def count(self, units: dict[str, int]) -> None:
        """Somebody finds so many more (or fewer) of some SKUs."""
        with unit_of_work(self.floor.engine) as conn:
            items = [Adjustment(unique("count"), code, delta, "adjustment", utc_now()) for code, delta in units.items()]
            inventory.adjust(conn, self.shop_id, self.location_id, items, ACTOR, utc_now())

    def push(self) -> dict[str, int]:
        return push_lane(self.floor.app, self.row, self.channel, 20)

    def send(self) -> dict[str, Any]:
        return feeding.send_feed(self.floor.app, self.row, self.channel)

    def check(self) -> dict[str, int]:
        return check_lane(self.floor.app, self.row, self.channel, 2)

    def look(self) -> int:
        return feeding.look_at_feeds(self.floor.app, self.row, self.channel)

    def feed(self) -> dict[str, Any]:
        """The newest feed."""
        return self.floor.one(
            "select * from feed_states where shop_id = %(s)s order by id desc limit 1", s=self.shop_id
        )

    def writes(self) -> list[dict[str, Any]]:
        return self.floor.rows(
            """
            select w.*, l.channel_ref as sku, l.exposed_units from listing_writes w
            join listings l on l.shop_id = w.shop_id and l.id = w.listing_id
            where w.shop_id = %(s)s order by w.id
            """,
            s=self.shop_id,
        )

    def outcomes(self) -> dict[str, str | None]:
        """What became of the newest write of each SKU."""
        return {write["sku"]: write["outcome"] for write in self.writes()}

    def exposed(self) -> dict[str, int]:
        rows = self.floor.rows("select channel_ref, exposed_units from listings where shop_id = %(s)s", s=self.shop_id)
        return {row["channel_ref"]: row["exposed_units"] for row in rows}

    def later(self, patch: pytest.MonkeyPatch, by: timedelta) -> None:
        """From now on whoever looks at feeds looks so much later."""
        patch.setattr(feeding, "utc_now", lambda: utc_now() + by)


def open_seller(
    engine: Engine, skus: Sequence[str] = SKUS, factor: float = FACTOR, *, reads_orders: bool = False
) -> Seller:
    """A seller with ten of each SKU, taken over and live."""
    canned = CannedFeeds(units=dict.fromkeys(skus, 10))
    settings = {**amazon_account(canned).config.settings, "clock_factor": factor}
    with unit_of_work(engine) as conn:
        shop_id = make_shop(conn)
        location_id = inventory.open_location(conn, shop_id, "Main", BASELINE)
        row = make_connection(
            conn,
            shop_id,
            vendor="amazon",
            account_ref=unique("ATEST"),
            guarantee_class="B",
            locations={"": location_id},
            settings=settings,
        )
        found = [
            make_channel_listing(
                sku, ref=sku, inventory_ref=None, code=sku, levels=(LevelObservation(sku, "", 10, BASELINE),)
            )
            for sku in skus
        ]
        take_in(conn, row, found)
        take_over(conn, row)
        execute(
            conn,
            "update connections set reads_orders = %(reads)s where shop_id = %(s)s",
            s=shop_id,
            reads=reads_orders,
        )
    return attach(engine, row, canned)


def attach(engine: Engine, row: ConnectionRow, canned: CannedFeeds) -> Seller:
    """A connection that there is, with an Amazon of this process behind it."""
    account = amazon_account(canned)
    cast(dict[str, Any], account.config.settings)["clock_factor"] = row.settings["clock_factor"]
    floor = Floor(engine)
    floor.accounts[row.id] = account
    return Seller(floor, row, canned, account, next(iter(row.settings["locations"].values())), account.channel())


def prefer_feeds(patch: pytest.MonkeyPatch) -> None:
    """Feeds are thought to take no time, and two raises are not few."""
    patch.setattr(roads, "FEW", 2)
    patch.setattr(roads, "GUESS_SECONDS", 0.0)
    patch.setattr(roads, "GUESS_SECONDS_EACH", 0.0)
    patch.setattr(roads, "RESTS_AFTER_FAILURE", timedelta(days=1) * FACTOR)
