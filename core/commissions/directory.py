"""Who and what ids stand for: parties, channels, categories and SKUs by name, to read what people type and to say it
back to them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection

from core.commissions.rules import SELLER_KINDS, Assignment, Role, Rule
from core.db import fetch, fetch_one

PartyKind = Literal["platform", "brand_shop", "affiliate_retailer", "social_seller", "creator", "referrer"]

KIND_WORDS: Mapping[str, str] = {
    "platform": "platform",
    "brand_shop": "brand shop",
    "affiliate_retailer": "affiliate retailer",
    "social_seller": "social seller",
    "creator": "creator",
    "referrer": "referrer",
}

ROLE_KINDS: Mapping[Role, tuple[str, ...]] = {
    "seller": SELLER_KINDS,
    # A social seller speaks of other people's goods too, and an affiliate sends buyers on.
    "creator": ("creator", "social_seller"),
    "referrer": ("referrer", "affiliate_retailer"),
}
"""Which parties may take part as what."""


@dataclass(frozen=True, slots=True)
class Party:
    """Who takes part. `ended_at` set: in nothing new since."""

    id: int
    kind: PartyKind
    code: str
    name: str
    ended_at: datetime | None = None

    @property
    def words(self) -> str:
        """Brand shop Oak & Ash."""
        return f"{KIND_WORDS[self.kind].capitalize()} {self.name}"


@dataclass(frozen=True, slots=True)
class Directory:
    """A shop's names by id. Of SKUs only those that were asked for, each with its code and category.

    `alike`: of codes that no SKU has, those that differ only by upper and lower case.
    """

    zone: str = "UTC"
    currency: str = "GBP"
    parties: Mapping[int, Party] = field(default_factory=dict)
    connections: Mapping[int, str] = field(default_factory=dict)
    categories: frozenset[str] = frozenset()
    skus: Mapping[int, tuple[str, str | None]] = field(default_factory=dict)
    alike: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def party(self, number: int) -> str:
        """A party as a sentence begins with it."""
        found = self.parties.get(number)
        return f"Party {number}" if found is None else found.words

    def connection(self, number: int) -> str:
        """A channel's name."""
        return self.connections.get(number, f"channel {number}")

    def sku(self, number: int) -> str:
        """A SKU's code."""
        return self.skus[number][0] if number in self.skus else f"number {number}"


def directory(
    conn: Connection, shop_id: int, *, codes: Collection[str] = (), sku_ids: Collection[int] = ()
) -> Directory:
    """The shop's names, with the SKUs of these codes and ids. Categories: of SKUs, and of rules that live."""
    shop = fetch_one(conn, "select time_zone, currency from shops where shop_id = %(shop)s", shop=shop_id)
    parties = fetch(
        conn, "select id, kind, code, name, ended_at from parties where shop_id = %(shop)s order by id", shop=shop_id
    )
    connections = fetch(conn, "select id, name from connections where shop_id = %(shop)s order by id", shop=shop_id)
    categories = fetch(conn, _CATEGORIES, shop=shop_id)
    skus = _skus(conn, shop_id, codes, sku_ids)
    unknown = set(codes) - {code for code, _ in skus.values()}
    return Directory(
        "UTC" if shop is None else shop["time_zone"],
        "GBP" if shop is None else shop["currency"],
        {row["id"]: Party(**row) for row in parties},
        {row["id"]: row["name"] for row in connections},
        frozenset(row["category"] for row in categories),
        skus,
        _alike(conn, shop_id, unknown) if unknown else {},
    )


# The categories of SKUs one after the other by their index: a shop has dozens of them and a hundred thousand SKUs.
_CATEGORIES = """
    with recursive found (category) as (
        select min(category) from skus where shop_id = %(shop)s
        union all
        select (select min(k.category) from skus k where k.shop_id = %(shop)s and k.category > f.category) from found f
        where f.category is not null
    )
    select category from found where category is not null
    union
    select category from commission_rules where shop_id = %(shop)s and ended_id is null and category is not null
    union
    select category from party_assignments where shop_id = %(shop)s and ended_id is null and category is not null
"""


def _skus(
    conn: Connection, shop_id: int, codes: Collection[str], ids: Collection[int]
) -> dict[int, tuple[str, str | None]]:
    if not codes and not ids:
        return {}
    rows = fetch(
        conn,
        """
        select id, code, category from skus where shop_id = %(shop)s and code = any(%(codes)b::text[])
        union
        select id, code, category from skus where shop_id = %(shop)s and id = any(%(ids)b::int8[])
        """,
        shop=shop_id,
        codes=sorted(codes),
        ids=sorted(ids),
    )
    return {row["id"]: (row["code"], row["category"]) for row in rows}


ALIKE_MAX = 50
"""Codes that are unknown and looked for in other spellings: a file of nothing but those is the wrong file."""


def _alike(conn: Connection, shop_id: int, codes: Iterable[str]) -> dict[str, tuple[str, ...]]:
    asked = sorted(codes)[:ALIKE_MAX]
    rows = fetch(
        conn,
        """
        select n.code, array_agg(k.code order by k.code) as found from unnest(%(codes)b::text[]) as n (code)
        join skus k on k.shop_id = %(shop)s and lower(k.code) = lower(n.code) group by 1
        """,
        shop=shop_id,
        codes=asked,
    )
    return {row["code"]: tuple(row["found"][:3]) for row in rows}


def named_skus(things: Iterable[Rule | Assignment]) -> set[int]:
    """The SKUs that rules and assignments name."""
    return {one.sku_id for one in things if one.sku_id is not None}
