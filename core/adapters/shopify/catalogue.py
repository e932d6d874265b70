"""What a shop sells, where it keeps stock, and what it shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

from core.adapters.http import Refused, Urgency
from core.adapters.shopify import documents, facts, nodes
from core.adapters.shopify.client import GraphQL
from core.adapters.shopify.ids import gid
from core.adapters.shopify.reading import as_model, pages, walk
from core.ports import ChannelListing, ChannelLocation, LevelObservation

_LEVELS_MAX = 50
# Points: a level with its place and quantity; a variant with its product, item and connection; an item with its own.
_LEVEL_COST = 3
_VARIANT_COST = 6
_ITEM_COST = 4


def variants_per_page(levels: int) -> int:
    """How many variants fit into one query when each may show so many levels."""
    return max(1, min(documents.ARRAY_MAX, documents.QUERY_BUDGET // (_VARIANT_COST + _LEVEL_COST * levels)))


def items_per_call(levels: int) -> int:
    """How many inventory items fit into one query when each may show so many levels."""
    return max(1, min(documents.ARRAY_MAX, documents.QUERY_BUDGET // (_ITEM_COST + _LEVEL_COST * levels)))


class Catalogue:
    """Reads variants, levels and locations of one shop."""

    def __init__(self, graphql: GraphQL, now: Callable[[], datetime]) -> None:
        self._graphql = graphql
        self._now = now
        self._places: int | None = None

    def locations(self) -> Sequence[ChannelLocation]:
        """Active locations."""
        found = [
            as_model(nodes.Location, node, "locations")
            for page in pages(self._graphql, "locations", documents.LOCATIONS, ("locations",), {})
            for node in page
        ]
        self._places = len(found)
        return [ChannelLocation(place.legacy_resource_id, place.name or "") for place in found]

    def listings(self) -> Iterator[Sequence[ChannelListing]]:
        """All variants by id, with the levels of their items."""
        levels = self._levels_per_item()
        variables = {"first": variants_per_page(levels), "levels": levels, "query": None}
        seen_at = self._now()
        for page in walk(
            self._graphql,
            "variants",
            documents.VARIANTS,
            ("productVariants",),
            variables,
            lambda node: f"id:>{node['legacyResourceId']}",
        ):
            for node in page:
                self._complete(node["inventoryItem"], node["inventoryItem"]["legacyResourceId"])
            yield [facts.listing_of_node(as_model(nodes.Variant, node, "variants"), seen_at) for node in page]
            seen_at = self._now()

    def listing_count(self) -> int | None:
        """How many variants there are; None where this version of the API does not count them."""
        try:
            counted = self._graphql.run("variant_count", documents.VARIANT_COUNT, {}).get("productVariantsCount")
        except Refused as error:
            if error.code != "undefinedField" and "Cannot query field" not in error.reason:
                raise
            return None
        return int(counted["count"]) if counted else None

    def levels(self, refs: Sequence[str], urgency: Urgency | None = None) -> Sequence[LevelObservation]:
        """Levels of inventory items; items that no longer exist are left out."""
        per_item = self._levels_per_item()
        size = items_per_call(per_item)
        wanted = list(dict.fromkeys(refs))
        found: list[LevelObservation] = []
        for start in range(0, len(wanted), size):
            ids = [gid("InventoryItem", ref) for ref in wanted[start : start + size]]
            seen_at = self._now()
            answer = self._graphql.run("items", documents.ITEMS, {"ids": ids, "levels": per_item}, urgency=urgency)
            for node in answer.get("nodes") or []:
                # A deleted item is null; an id of something else is an empty object.
                if node:
                    self._complete(node, node["legacyResourceId"])
                    found += facts.levels_of_node(as_model(nodes.Item, node, "items"), seen_at)
        return found

    def _complete(self, item: dict[str, Any], ref: str) -> None:
        """Read on where an item has more levels than the page showed (a location was added meanwhile)."""
        levels = item["inventoryLevels"]
        if not levels["pageInfo"]["hasNextPage"]:
            return
        path, variables = ("inventoryItem", "inventoryLevels"), {"id": gid("InventoryItem", ref)}
        after = levels["pageInfo"]["endCursor"]
        for page in pages(self._graphql, "item_levels", documents.ITEM_LEVELS, path, variables, after):
            levels["nodes"] += page

    def _levels_per_item(self) -> int:
        if self._places is None:
            self.locations()
        return max(1, min(_LEVELS_MAX, self._places or 1))
