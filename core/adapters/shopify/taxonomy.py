"""Shopify's own categories, which a product's `category` names: the whole tree, a page at a time.

Asked without arguments it tells its top only, so each of those is asked for all that is below it.
Source: shopify.dev/docs/api/admin-graphql, `Taxonomy.categories`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from core.adapters.base import ConnectionConfig, Deps
from core.adapters.shopify import documents
from core.adapters.shopify.client import GraphQL
from core.adapters.shopify.reading import as_model, pages

_PATH = ("taxonomy", "categories")


class _Category(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)

    id: str
    full_name: str
    is_archived: bool
    is_leaf: bool


class ShopifyTaxonomy:
    """The taxonomy as one shop's API tells it; it is the same for every shop."""

    def __init__(self, config: ConnectionConfig, deps: Deps) -> None:
        self._graphql = GraphQL(config, deps)

    def categories(self) -> Iterator[Sequence[tuple[str, str]]]:
        """All categories that are in use, by page: the id, as products name it, and the names from the top with >."""
        tops: list[_Category] = []
        for page in pages(self._graphql, "taxonomy", documents.TAXONOMY_TOP, _PATH, {}):
            found = _read(page)
            tops += [each for each in found if not each.is_leaf]
            yield _told(found)
        for top in tops:
            for page in pages(self._graphql, "taxonomy", documents.TAXONOMY_BELOW, _PATH, {"id": top.id}):
                yield _told(_read(page))


def _read(page: Sequence[Any]) -> list[_Category]:
    return [as_model(_Category, node, "taxonomy") for node in page]


def _told(found: Sequence[_Category]) -> list[tuple[str, str]]:
    return [(each.id, each.full_name) for each in found if not each.is_archived]
