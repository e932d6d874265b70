"""A seeded rule set for measurements: who sells and promotes which codes of a catalogue, and for what."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from core.audit import Actor
from core.commissions import editing
from core.commissions.rules import Assignment, Rule
from core.db import fetch

ACTOR = Actor("bench", "a measurement")
SELLERS, CREATORS, REFERRERS = 50, 20, 5


@dataclass(frozen=True, slots=True)
class RuleSet:
    """The parties' ids, and what was saved."""

    sellers: Sequence[int]
    creators: Sequence[int]
    referrers: Sequence[int]
    version_id: int


def save(conn: Connection, shop_id: int, codes: Iterable[str], now: datetime, seed: int = 7) -> RuleSet:
    """50 sellers share the codes, 20 creators promote a third of them, 5 referrers some sellers' goods."""
    chance = random.Random(seed)
    sellers = [_party(conn, shop_id, "brand_shop", f"S{n:02d}", now) for n in range(SELLERS)]
    creators = [_party(conn, shop_id, "creator", f"C{n:02d}", now) for n in range(CREATORS)]
    referrers = [_party(conn, shop_id, "referrer", f"R{n}", now) for n in range(REFERRERS)]
    ids = {row["code"]: row["id"] for row in fetch(conn, "select code, id from skus where shop_id = %(s)s", s=shop_id)}
    assignments = []
    for code in sorted(set(codes) & ids.keys()):
        assignments.append(Assignment(0, "seller", chance.choice(sellers), sku_id=ids[code]))
        if chance.random() < 1 / 3:
            assignments.append(Assignment(0, "creator", chance.choice(creators), sku_id=ids[code]))
        if chance.random() < 1 / 5:
            assignments.append(Assignment(0, "referrer", chance.choice(referrers), sku_id=ids[code]))
    rules = [
        Rule(0, "platform_fee", "item", "percentage", rate_ppm=120_000),
        Rule(0, "platform_fee", "item", "percentage", seller_id=sellers[0], rate_ppm=85_000),
        Rule(0, "platform_fee", "shipping", "percentage", rate_ppm=50_000),
        Rule(0, "creator_commission", "item", "percentage", rate_ppm=70_000, borne_by="seller"),
        Rule(0, "creator_commission", "item", "percentage", payee_id=creators[0], rate_ppm=90_000),
        Rule(0, "referrer_fee", "item", "percentage", rate_ppm=15_000, borne_by="platform"),
    ]
    saved = editing.save(conn, shop_id, ACTOR, now, rules=rules, assignments=assignments)
    return RuleSet(sellers, creators, referrers, saved.version_id)


def _party(conn: Connection, shop_id: int, kind: editing.PartyKind, code: str, now: datetime) -> int:
    return editing.add_party(conn, shop_id, kind, code, f"{kind.replace('_', ' ').capitalize()} {code}", ACTOR, now)
