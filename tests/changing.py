"""A shop on two channels for tests of changes: what is booked on one has to reach the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from core.db import fetch, fetch_one
from core.inventory import publishing
from core.inventory.publishing import Lane
from core.messaging import chasing
from core.messaging.chasing import Chased
from core.ports import QuantityResult, QuantityWrite, WriteOutcome
from tests.factories import NOW, World, make_world
from tests.stock_desk import second_channel

SOON = timedelta(seconds=10)


@dataclass(frozen=True)
class Pair:
    """The channel that sells, and the one that has to follow."""

    seller: World
    follower: World

    @property
    def shop_id(self) -> int:
        return self.seller.shop_id


def make_pair(conn: Connection, guarantee_class: str = "A", stock: Mapping[str, int] | None = None) -> Pair:
    """Both channels show all there is: ten mugs, unless said otherwise."""
    stock = {"MUG": 10} if stock is None else stock
    seller = make_world(conn, stock)
    follower = second_channel(conn, seller, stock, guarantee_class=guarantee_class, name="Follower")
    pair = Pair(seller, follower)
    answer(conn, pair, "confirmed")
    return pair


def plan(conn: Connection, world: World, now: datetime = NOW) -> list[QuantityWrite]:
    lane = Lane(world.shop_id, world.connection.id, world.connection.guarantee_class, 1)
    return [write for call in publishing.plan(conn, lane, 50, now) for write in call]


def settle(
    conn: Connection, world: World, writes: Sequence[QuantityWrite], outcome: WriteOutcome, now: datetime, **more: Any
) -> list[int]:
    """The channel's answer to writes; returns those it was sent: what may not leave any more gets no answer."""
    ids = [write.write_id for write in writes]
    publishing.mark_sent(conn, world.shop_id, ids, now)
    sent = fetch(conn, "select id from listing_writes where id = any(%(ids)b::int8[]) and sent_at is not null", ids=ids)
    results = [QuantityResult(row["id"], outcome, at=now, **more) for row in sent]
    publishing.settle(conn, world.shop_id, results, SOON, now)
    return [row["id"] for row in sent]


def answer(
    conn: Connection, pair: Pair, outcome: WriteOutcome, now: datetime = NOW, **more: Any
) -> list[QuantityWrite]:
    """Push whatever differs on the channel that follows; all of it is answered so."""
    writes = plan(conn, pair.follower, now)
    settle(conn, pair.follower, writes, outcome, now, **more)
    return writes


def chase(conn: Connection, pair: Pair, now: datetime = NOW) -> Chased:
    return chasing.chase(conn, pair.shop_id, now)


def legs(conn: Connection, pair: Pair) -> list[dict[str, Any]]:
    """All legs, the oldest change first."""
    rows = fetch(
        conn,
        "select * from change_leg_list where shop_id = %(shop)s order by change_id, code, connection",
        shop=pair.shop_id,
    )
    return [dict(row) for row in rows]


def states(conn: Connection, pair: Pair) -> list[tuple[str, str, str | None]]:
    """(kind of the change, state of its leg, reason), the oldest first."""
    return [(row["kind"], row["state"], row["reason"]) for row in legs(conn, pair)]


def change(conn: Connection, pair: Pair, number: int = 1) -> Any:
    """The change of that number, counted from 1."""
    return fetch_one(
        conn,
        "select * from changes where shop_id = %(shop)s order by id offset %(skip)s limit 1",
        shop=pair.shop_id,
        skip=number - 1,
    )
