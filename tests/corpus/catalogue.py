"""What a shop must sell for the corpus to be handled: everything its bodies name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine

from core.adapters.shopify.parsing import parse
from core.audit import Actor
from core.catalog import operations as catalog
from core.connections import operations as connections
from core.connections.queries import ConnectionRow
from core.db import unit_of_work
from core.errors import BadInput
from core.inventory import operations as inventory
from core.orders import intake
from core.ports import ChannelListing, Facts, LevelObservation
from tests.corpus.deliveries import deliveries

CURRENCY = "USD"


@dataclass(frozen=True, order=True)
class Named:
    """One thing the bodies name, as far as they say; an empty text where they do not."""

    variant_ref: str
    code: str
    inventory_ref: str
    location_ref: str


def named(shared: Path) -> list[Named]:
    """(variant, SKU code, inventory item, location), each once; items joined to their variants where a body does so."""
    said = _facts(shared)
    item_of: dict[str, str] = {}
    sold: set[tuple[str, str]] = set()
    for facts in said:
        for listing in facts.listings:
            sold.add((listing.ref, listing.code or ""))
            if listing.inventory_ref:
                item_of[listing.ref] = listing.inventory_ref
        sold.update((line.variant_ref or "", line.code or "") for order in facts.orders for line in order.lines)
    places: dict[str, set[str]] = {}
    for facts in said:
        for level in facts.levels:
            places.setdefault(level.inventory_ref, set()).add(level.location_ref)
    rows = {
        Named(variant, code, item_of.get(variant, ""), place)
        for variant, code in sold
        for place in places.get(item_of.get(variant, ""), {""})
    }
    unclaimed = places.keys() - set(item_of.values())
    rows |= {Named("", "", item, place) for item in unclaimed for place in places[item]}
    return sorted(row for row in rows if row != Named("", "", "", ""))


def _facts(shared: Path) -> list[Facts]:
    """What the readable bodies say."""
    said = []
    for delivery in deliveries(shared):
        try:
            facts = parse(delivery.topic, delivery.body, None, CURRENCY)
        except BadInput:
            continue
        if facts is not None:
            said.append(facts)
    return said


OPENED_AT = datetime(2000, 1, 1, tzinfo=UTC)
"""Before anything the bodies tell: the catalogue was read then, and every sale comes after its numbers."""

OPENING_UNITS = 100
"""More than any body says is left, so that the channel is only ever seen to have sold, never to have been restocked."""

STOCK_KEEPER = Actor("tests", "to stock the shop of the corpus")


def seed(engine: Engine, row: ConnectionRow, things: Sequence[Named]) -> ConnectionRow:
    """Stock a connected shop with everything named, as its first sync would; returns the connection as it is then."""
    with unit_of_work(engine) as conn:
        places = sorted({thing.location_ref for thing in things if thing.location_ref})
        ours = {place: inventory.open_location(conn, row.shop_id, f"Place {place}", OPENED_AT) for place in places}
        row = connections.set_locations(conn, row, ours, STOCK_KEEPER, OPENED_AT)
    with unit_of_work(engine) as conn:
        catalog.take_in(conn, intake.listing_source(conn, row), _listings(things, places), OPENED_AT)
    with unit_of_work(engine) as conn:
        inventory.take_over(conn, row.shop_id, row.id, STOCK_KEEPER, OPENED_AT)
        catalog.lock_all_listings(conn, row.shop_id)
        inventory.set_baselines(conn, row.shop_id, row.id)
        catalog.begin_publishing(conn, row.shop_id, row.id)
        inventory.refresh_all_desired(conn, row.shop_id)
    return row


def _listings(things: Sequence[Named], places: Sequence[str]) -> list[ChannelListing]:
    """One for each variant, or for a code or an item that the bodies name without one."""
    kept: dict[str, list[Named]] = {}
    for thing in things:
        ref = thing.variant_ref or (f"code:{thing.code}" if thing.code else f"item:{thing.inventory_ref}")
        kept.setdefault(ref, []).append(thing)
    return [_listing(ref, found, places) for ref, found in kept.items()]


def _listing(ref: str, found: Sequence[Named], places: Sequence[str]) -> ChannelListing:
    item = next((thing.inventory_ref for thing in found if thing.inventory_ref), None)
    kept_at = [thing.location_ref for thing in found if thing.location_ref] or list(places[:1])
    return ChannelListing(
        ref=ref,
        inventory_ref=item,
        product_ref=None,
        code=next((thing.code for thing in found if thing.code), None),
        barcode=None,
        title=f"Thing {ref}",
        is_tracked=True,
        status="active",
        version_at=OPENED_AT,
        levels=tuple(LevelObservation(item or ref, place, OPENING_UNITS, OPENED_AT) for place in kept_at),
    )
