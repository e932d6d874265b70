"""Orders of Amazon: any number and order of observations books the same, in whatever batches they come."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine

from core.adapters.amazon.parsing import parse
from core.db import fetch_one
from core.ports import Facts
from tests.adapters.canned_amazon_orders import item_body, order_body, stamp
from tests.factories import NOW, World, apply, later, level_of, listing_of, make_world

SKU = "variant:MUG"
STOCK = 10


def _counts(shipped: int, left: int) -> dict[str, int]:
    return {"quantityFulfilled": shipped, "quantityUnfulfilled": left}


def _parcel(number: int, units: int) -> dict[str, Any]:
    items = [{"orderItemId": "1", "quantity": units}]
    return {"packageReferenceId": str(number), "packageStatus": {"status": "SHIPPED"}, "packageItems": items}


@st.composite
def lives(draw: st.DrawFn) -> tuple[list[dict[str, Any]], int]:
    """The versions of an order from its placing to its end, and how many units Amazon shows less in the end."""
    units = draw(st.integers(1, 4))
    falls = draw(st.booleans())
    """Whether cancelled units leave what is told to be ordered: not documented."""
    versions: list[dict[str, Any]] = []
    parcels: list[dict[str, Any]] = []

    def told(status: str, ordered: int, shipped: int, left: int, **more: Any) -> None:
        price = None if status == "PENDING" else "2.50"
        item = item_body("1", SKU, ordered, price, **more) | {"fulfillment": _counts(shipped, left)}
        money = {} if status == "PENDING" else {"proceeds": {"grandTotal": {"amount": "7", "currencyCode": "GBP"}}}
        at = later(1) + timedelta(minutes=len(versions))
        body = order_body("A", item, at=stamp(later(1)), packages=list(parcels), **money)
        body |= {"lastUpdatedTime": stamp(at), "fulfillment": {"fulfillmentStatus": status, "fulfilledBy": "MERCHANT"}}
        versions.append(body)

    told("PENDING", units, 0, units)
    shipped, back, cancelled = 0, 0, 0
    for _ in range(draw(st.integers(0, 3))):
        left = units - cancelled - shipped
        if left and draw(st.booleans()):
            count = draw(st.integers(1, left))
            shipped += count
            if draw(st.booleans()):
                parcels.append(_parcel(len(parcels) + 1, count))
        told("UNSHIPPED" if not shipped else "PARTIALLY_SHIPPED", units, shipped, units - cancelled - shipped)
    left = units - shipped
    if left and draw(st.booleans()):
        by = draw(st.sampled_from(("BUYER", "MERCHANT")))
        execution = {"cancellationExecution": {"cancelledBy": by, "cancelReason": "NO_INVENTORY"}}
        part = draw(st.integers(1, left))
        cancelled, back = part, part if by == "BUYER" else 0
        whole = part == left
        ordered = units - part if falls else units
        told("CANCELLED" if whole else "UNSHIPPED", ordered, shipped, left - part, cancellation=execution)
    return versions, units - back


def _read(body: dict[str, Any]) -> Facts:
    facts = parse("poll/orders", json.dumps(body).encode(), None, "GBP")
    assert facts is not None
    return facts


def _booked(conn: Connection, batches: Sequence[Sequence[dict[str, Any]]]) -> tuple[World, tuple[Any, ...]]:
    """A world in which the batches were booked, and what they came to."""
    world = make_world(conn, {"MUG": STOCK}, guarantee_class="B")
    for batch in batches:
        apply(conn, world, *(_read(body) for body in batch), now=NOW)
    level = level_of(conn, world)
    order = fetch_one(
        conn,
        "select total_minor, currency, channel_status, cancelled_at is not null as is_cancelled, version_at"
        " from orders where shop_id = %(shop)s",
        shop=world.shop_id,
    )
    assert order is not None
    return world, (level.on_hand, level.reserved, *order.values())


@settings(max_examples=25, deadline=None)
@given(life=lives(), data=st.data())
def test_any_number_and_order_of_observations_books_the_same(
    module_engine: Engine, life: tuple[list[dict[str, Any]], int], data: st.DataObject
) -> None:
    versions, less = life
    seen = data.draw(st.permutations([*versions, *data.draw(st.lists(st.sampled_from(versions), max_size=3))]))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(seen)), max_size=3)) | {len(seen)})
    batches = [seen[start:end] for start, end in zip([0, *cuts], cuts, strict=False) if end > start]
    with module_engine.connect() as conn, conn.begin() as transaction:
        world, came_to = _booked(conn, batches)
        _, in_order = _booked(conn, [[version] for version in versions])
        _, newest_alone = _booked(conn, [[versions[-1]]])
        exposed = listing_of(conn, world)["exposed_units"]
        transaction.rollback()
    assert came_to == in_order == newest_alone
    # Whatever came when: never less than Amazon can still sell.
    assert exposed >= STOCK - less
