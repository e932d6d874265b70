"""Who sells, promotes and refers what in the demo shop, and what each gets of it: set up once, then left to people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection

from core.audit import Actor
from core.commissions import editing
from core.commissions.directory import PartyKind
from core.commissions.rules import Assignment, Rule
from core.db import fetch, scalar

PARTIES: Sequence[tuple[PartyKind, str, str, int | None]] = (
    ("platform", "PLATFORM", "Demo Goods", None),
    ("brand_shop", "OAK", "Oak & Ash", None),
    ("brand_shop", "LUMEN", "Lumen Studio", 30),
    ("brand_shop", "HARBOUR", "Harbour Ceramics", None),
    ("brand_shop", "WOOL", "Wool & Wick", None),
    ("affiliate_retailer", "NORTH", "Northline Retail", None),
    ("social_seller", "SUNA", "Suna’s Picks", None),
    ("creator", "MAYA", "Maya Osei", None),
    ("creator", "JONAS", "Jonas Weber", None),
    ("creator", "ELIF", "Elif Demir", None),
    ("referrer", "GIFTS", "The Gift Letter", None),
    ("referrer", "NEST", "Nest & Nook Blog", None),
)
SELLERS = ("OAK", "LUMEN", "HARBOUR", "WOOL", "NORTH")
CODES = {"MAYA10": "MAYA", "JONAS10": "JONAS", "ELIF15": "ELIF"}
"""The codes that the sandbox's shoppers come with, and whose they are."""
SUNAS_SKUS = 12
"""So many SKUs are the social seller's own pick, whoever has their category."""


def set_up(conn: Connection, shop_id: int, currency: str, actor: Actor, now: datetime) -> bool:
    """Parties, assignments and rules of the demo; returns False, and changes nothing, where there are any already."""
    editing.lock(conn, shop_id)
    if scalar(conn, "select exists (select from parties where shop_id = %(shop)s)", shop=shop_id):
        return False
    ids = {
        code: editing.add_party(conn, shop_id, kind, code, name, actor, now, window)
        for kind, code, name, window in PARTIES
    }
    editing.save(conn, shop_id, actor, now, rules=_rules(ids, currency), assignments=_assignments(conn, shop_id, ids))
    return True


def _assignments(conn: Connection, shop_id: int, ids: Mapping[str, int]) -> list[Assignment]:
    """Categories go round among the sellers, so that any catalogue is shared out; the last stays the platform's own."""
    categories = [
        row["category"]
        for row in fetch(
            conn,
            """
            select category, count(*) as skus from skus where shop_id = %(shop)s and category is not null
            group by 1 order by 2 desc, 1
            """,
            shop=shop_id,
        )
    ]
    sold = categories[:-1] if len(categories) > len(SELLERS) else categories
    found = [
        Assignment(0, "seller", ids[SELLERS[at % len(SELLERS)]], category=category) for at, category in enumerate(sold)
    ]
    picks = fetch(
        conn,
        "select id from skus where shop_id = %(shop)s and is_stocked order by md5(code), id limit %(most)s",
        shop=shop_id,
        most=SUNAS_SKUS,
    )
    found += [Assignment(0, "seller", ids["SUNA"], sku_id=row["id"]) for row in picks]
    found += [Assignment(0, "creator", ids[party], order_code=code) for code, party in CODES.items()]
    found += [
        Assignment(0, "referrer", ids[("GIFTS", "NEST")[at % 2]], category=category)
        for at, category in enumerate(categories[:2])
    ]
    return found


def _rules(ids: Mapping[str, int], currency: str) -> list[Rule]:
    tiers = ((0, 120_000), (500_000, 100_000), (2_000_000, 80_000))
    return [
        Rule(0, "platform_fee", "item", "percentage", rate_ppm=150_000),
        Rule(0, "platform_fee", "item", "tiered", seller_id=ids["OAK"], tiers=tiers, currency=currency),
        Rule(0, "platform_fee", "item", "percentage", seller_id=ids["NORTH"], rate_ppm=90_000, tax_to="seller"),
        Rule(0, "platform_fee", "shipping", "percentage", rate_ppm=50_000),
        Rule(0, "creator_commission", "item", "percentage", rate_ppm=80_000),
        Rule(0, "creator_commission", "item", "percentage", payee_id=ids["ELIF"], rate_ppm=100_000, on_refund="kept"),
        Rule(0, "referrer_fee", "item", "percentage", rate_ppm=20_000, borne_by="platform"),
        Rule(
            0, "referrer_fee", "item", "fixed", payee_id=ids["NEST"], fixed_minor=30, currency=currency,
            borne_by="platform",
        ),
    ]  # fmt: skip
