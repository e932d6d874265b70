"""What a shop must sell for the corpus to be handled: everything its bodies name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from core.adapters.shopify.parsing import parse
from core.errors import BadInput
from core.ports import Facts
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
