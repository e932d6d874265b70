"""What some entries are to show, made of the catalogue and the stock as they are now: whoever plans, sends or compares
makes it here, so that the same thing always comes to the same hash."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from core.catalog.products import queries as products
from core.catalog.products.queries import Stored
from core.catalogue_target import CategoryContent, Content, Kind
from core.db import fetch
from core.targets import rules
from core.targets.answers import Answers, answers
from core.targets.rules import TargetSettings, Wanted


@dataclass(frozen=True, slots=True)
class Target:
    """The connection that is told, with what is needed to make its contents."""

    shop_id: int
    connection_id: int
    settings: TargetSettings
    factor: float = 1.0
    answered: str = ""
    """What stands for what was decided of categories, and for those that the target refuses."""

    @property
    def basis(self) -> str:
        """What stands for all that an item's hash is made of besides its product."""
        return self.settings.basis + self.answered


@dataclass(frozen=True, slots=True)
class Made:
    """What one entry is to show. `version` is the product's, `units` a variant's stock, `text` what else it was made
    of; `linked` what it is told with: an item's categories, a variant's product."""

    kind: Kind
    entity_id: int
    wanted: Wanted
    parent_id: int | None = None
    version: int | None = None
    units: int | None = None
    text: str | None = None
    linked: tuple[int, ...] = ()

    @property
    def content(self) -> Content | None:
        return self.wanted.content

    @property
    def hash(self) -> str | None:
        """None where it cannot be told."""
        return None if self.content is None else rules.hash_of(self.content)


def of_products(conn: Connection, target: Target, product_ids: Iterable[int]) -> list[Made]:
    """Products and all their variants; those that are gone are left out."""
    ids = sorted(set(product_ids))
    found = products.stored(conn, target.shop_id, ids)
    skus = _skus(conn, target.shop_id, ids)
    named = {category for one in found.values() for category in one.document.categories}
    said = answers(conn, target.shop_id, target.connection_id, named) if named else Answers()
    made: list[Made] = []
    for one in found.values():
        made.append(_item(target, one, said))
        made += _variants(target, one, skus)
    return made


def of_entities(conn: Connection, target: Target, kind: Kind, entity_ids: Sequence[int]) -> dict[int, Made]:
    """Some entries of one kind, by entity; what is gone is left out."""
    if kind == "category":
        return {one.entity_id: one for one in of_categories(conn, target, entity_ids)}
    ids: Iterable[int] = entity_ids if kind == "item" else _products_of(conn, target.shop_id, entity_ids)
    wanted = set(entity_ids)
    return {
        one.entity_id: one for one in of_products(conn, target, ids) if one.kind == kind and one.entity_id in wanted
    }


def of_categories(conn: Connection, target: Target, category_ids: Sequence[int] | None = None) -> list[Made]:
    """Categories that products are in (None: all of those); their names are their whole paths, since a target's
    categories are no tree."""
    rows = fetch(
        conn,
        """
        select c.id, c.path from categories c
        where c.shop_id = %(shop)s and (%(ids)b::int8[] is null or c.id = any(%(ids)b::int8[])) and exists (
            select from product_categories p where p.shop_id = c.shop_id and p.category_id = c.id)
        order by c.id
        """,
        shop=target.shop_id,
        ids=None if category_ids is None else sorted(category_ids),
    )
    said = answers(conn, target.shop_id, target.connection_id, [row["id"] for row in rows]) if rows else Answers()
    told = set(said.told([row["id"] for row in rows]))
    return [
        Made("category", row["id"], Wanted(CategoryContent(row["path"])), text=row["path"])
        for row in rows
        if row["id"] in told
    ]


def _item(target: Target, stored: Stored, said: Answers) -> Made:
    categories = sorted(stored.document.categories)
    own = said.linked(categories)
    others = {said.refs[one] for one in categories if one in said.refs}
    # The main category goes first, where Google has it.
    google = next((said.google[one] for one in stored.document.categories if one in said.google), None)
    mark = target.settings.mark
    names = (*(rules.external_id(mark, "category", one) for one in own), *sorted(others))
    wanted = rules.item(stored.document, names, target.settings, google)
    return Made(
        "item",
        stored.product_id,
        wanted,
        version=stored.version,
        text=target.basis,
        linked=own,
    )


def _variants(target: Target, stored: Stored, skus: dict[tuple[int, str], tuple[int, int]]) -> list[Made]:
    """Those that have a row: of a document that was written a moment ago all do."""
    made = []
    for variant in stored.document.variants:
        known = skus.get((stored.product_id, variant.code))
        if known is None:
            continue
        sku_id, units = known
        wanted = rules.variant(stored.document, variant, stored.product_id, units, target.settings)
        made.append(
            Made(
                "variant",
                sku_id,
                wanted,
                parent_id=stored.product_id,
                version=stored.version,
                units=units,
                linked=(stored.product_id,),
            )
        )
    return made


def _skus(conn: Connection, shop_id: int, product_ids: Sequence[int]) -> dict[tuple[int, str], tuple[int, int]]:
    """(SKU, units) of each variant by product and code."""
    rows = fetch(
        conn,
        """
        select v.product_id, v.sku_id, s.code, u.units from variants v
        join skus s on s.shop_id = v.shop_id and s.id = v.sku_id
        join target_units u on u.shop_id = v.shop_id and u.sku_id = v.sku_id
        where v.shop_id = %(shop)s and v.product_id = any(%(ids)b::int8[])
        """,
        shop=shop_id,
        ids=list(product_ids),
    )
    return {(row["product_id"], row["code"]): (row["sku_id"], row["units"]) for row in rows}


def _products_of(conn: Connection, shop_id: int, sku_ids: Sequence[int]) -> list[int]:
    rows: Sequence[Any] = fetch(
        conn,
        """
        select distinct product_id from variants
        where shop_id = %(shop)s and sku_id = any(%(ids)b::int8[]) order by 1
        """,
        shop=shop_id,
        ids=list(sku_ids),
    )
    return [row["product_id"] for row in rows]
