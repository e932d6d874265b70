"""A replay says what booking would have said: of the rules in force nothing differs, of others what a shop that had
them books."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine

from core.commissions import editing
from core.commissions.drafts import NO_DRAFT, Draft
from core.commissions.replaying import Replayed, replay
from core.commissions.rules import MILLION, SELLER_KINDS, Assignment, Rule
from core.db import fetch
from core.ports import ChannelOrder, ChannelRefund
from tests.factories import (
    ACTOR,
    CURRENCY,
    NOW,
    World,
    apply,
    later,
    make_facts,
    make_line,
    make_order,
    make_refund,
    make_refund_line,
    make_world,
    set_row,
)

CATEGORIES = {"MUG": "Kitchen", "CUP": "Kitchen", "LAMP": "Lamps", "PEN": None}
SINCE, UNTIL = NOW - timedelta(days=60), NOW + timedelta(days=30)
KINDS = {"A": "brand_shop", "B": "social_seller", "C": "creator", "D": "creator", "E": "referrer"}


@dataclass(frozen=True)
class Shop:
    """A world with parties; ids by code."""

    world: World
    parties: dict[str, int]

    @property
    def id(self) -> int:
        return self.world.shop_id


def open_shop(conn: Connection) -> Shop:
    world = make_world(conn, dict.fromkeys(CATEGORIES, 1000))
    for code, category in CATEGORIES.items():
        if category:
            set_row(conn, "skus", world.skus[code], category=category)
    parties = {
        code: editing.add_party(conn, world.shop_id, kind, code, f"Party {code}", ACTOR, NOW)  # type: ignore[arg-type]
        for code, kind in KINDS.items()
    }
    return Shop(world, parties)


Made = Callable[[Shop], Any]
"""A rule or an assignment, for any shop."""


def make_rule(chance: random.Random) -> Callable[[Shop], Rule]:
    kind = chance.choice(["platform_fee", "platform_fee", "creator_commission", "referrer_fee", "channel_fee"])
    base = chance.choice(["item", "item", "shipping"])
    form = chance.choice(["percentage", "percentage", "tiered", "fixed"])
    seller = chance.choice([None, None, "A", "B"])
    payee = {"creator_commission": "C", "referrer_fee": "E"}.get(kind) if chance.random() < 0.4 else None
    goods = chance.choice([None, None, "category", "sku"])
    begins = chance.choice([None, None, NOW - timedelta(days=chance.randrange(50))])
    more: dict[str, Any] = {
        "percentage": {"rate_ppm": chance.randrange(0, MILLION // 3)},
        "fixed": {"fixed_minor": chance.randrange(0, 90), "currency": CURRENCY},
        "tiered": {
            "tiers": ((0, 150_000), (chance.randrange(1, 2000), 90_000), (5000, 30_000)),
            "currency": CURRENCY,
        },
    }[form]
    more |= {
        "borne_by": "seller" if kind == "platform_fee" else chance.choice(["seller", "platform"]),
        "on_refund": chance.choice(["returned", "kept"]),
        "tax_basis": chance.choice(["net", "gross"]),
        "tax_to": chance.choice(["authority", "seller"]) if (kind, base) == ("platform_fee", "item") else None,
        "valid_from": begins,
        "category": chance.choice(["Kitchen", "Lamps"]) if goods == "category" else None,
    }
    code = chance.choice(list(CATEGORIES))

    def of(shop: Shop) -> Rule:
        return Rule(
            0,
            kind,  # type: ignore[arg-type]
            base,  # type: ignore[arg-type]
            form,  # type: ignore[arg-type]
            seller_id=shop.parties.get(seller or ""),
            payee_id=shop.parties.get(payee or ""),
            sku_id=shop.world.skus[code] if goods == "sku" else None,
            **more,
        )

    return of


def make_assignment(chance: random.Random) -> Callable[[Shop], Assignment]:
    party = chance.choice(list(KINDS))
    kind = KINDS[party]
    role = "seller" if kind in SELLER_KINDS else kind
    scope = chance.choice(["category", "sku", "sku", "all", "code"])
    code, category = chance.choice(list(CATEGORIES)), chance.choice(["Kitchen", "Lamps"])

    def of(shop: Shop) -> Assignment:
        return Assignment(
            0,
            role,  # type: ignore[arg-type]
            shop.parties[party],
            category=category if scope == "category" else None,
            sku_id=shop.world.skus[code] if scope == "sku" else None,
            order_code="MAYA10" if scope == "code" else None,
        )

    return of


def make_story(chance: random.Random, number: int) -> tuple[ChannelOrder, ChannelRefund | None]:
    lines = [
        make_line(
            str(at), chance.choice(list(CATEGORIES)), chance.randrange(1, 4), f"{chance.randrange(1, 2000) / 100:.2f}"
        )
        for at in range(1, chance.randrange(2, 4))
    ]
    lines = [replace(line, tax_minor=line.total_minor // chance.choice([5, 6, 7])) for line in lines]
    is_included, carriage = chance.random() < 0.5, chance.choice([0, 395])
    tax = sum(line.tax_minor or 0 for line in lines)
    placed_at = NOW - timedelta(days=chance.randrange(45), minutes=chance.randrange(1000))
    ref = f"{number:04}"
    order = make_order(
        ref,
        lines,
        placed_at=placed_at,
        shipping_minor=carriage,
        tax_minor=tax,
        taxes_included=is_included,
        total_minor=sum(line.total_minor for line in lines) + carriage + (0 if is_included else tax),
        codes=("maya10",) if chance.random() < 0.3 else (),
        cancelled_at=placed_at + timedelta(hours=1) if chance.random() < 0.1 else None,
    )
    if order.cancelled_at is not None or chance.random() < 0.6:
        return order, None
    back = lines[0].total_minor // chance.choice([1, 2, 3])
    refund = make_refund(
        ref,
        [make_refund_line("1", 1, "no_restock", back)],
        f"r{ref}",
        placed_at + timedelta(days=1),
        amount_minor=back + chance.choice([0, 100]),
        shipping_minor=chance.choice([None, carriage]),
    )
    return order, refund


def book(conn: Connection, shop: Shop, stories: Sequence[tuple[ChannelOrder, ChannelRefund | None]]) -> None:
    for order, refund in stories:
        apply(conn, shop.world, make_facts(order), now=later(60))
        if refund is not None:
            apply(conn, shop.world, make_facts(refund), now=later(120))


def booked_by_party(conn: Connection, shop: Shop) -> dict[str, int]:
    """What was booked of lines, by code of the party and by name of what is not one's."""
    rows = fetch(
        conn,
        """
        select p.code, sum(x.minor)::int8 as minor from commission_accruals a
        left join commission_terms t on t.shop_id = a.shop_id and t.id = a.terms_id
        cross join lateral (values (t.seller_id, a.seller_minor), (t.creator_id, a.creator_minor),
            (t.referrer_id, a.referrer_minor), (-1, a.platform_minor), (-2, a.channel_minor),
            (-3, a.authority_minor)) as x (id, minor)
        left join parties q on q.shop_id = a.shop_id and q.id = x.id
        cross join lateral (select case x.id when -1 then 'platform' when -2 then 'channel' when -3 then 'authority'
            else q.code end as code) p
        where a.shop_id = %(shop)s and a.base in ('item', 'shipping') group by 1
        """,
        shop=shop.id,
    )
    return {row["code"]: row["minor"] for row in rows if row["minor"]}


def drafted_by_party(found: Replayed, shop: Shop) -> dict[str, int]:
    codes = {number: code for code, number in shop.parties.items()}
    money: dict[str, int] = {}
    for one in found.earnings:
        name = codes[one.who.id] if one.who.role == "party" else one.who.role
        money[name] = money.get(name, 0) + one.draft_minor
    return {name: minor for name, minor in money.items() if minor}


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32))
def test_of_the_rules_in_force_a_replay_finds_no_difference_at_all(module_engine: Engine, seed: int) -> None:
    chance = random.Random(seed)
    with module_engine.connect() as conn:
        shop = open_shop(conn)
        editing.save(
            conn,
            shop.id,
            ACTOR,
            NOW,
            rules=[make_rule(chance)(shop) for _ in range(8)],
            assignments=[make_assignment(chance)(shop) for _ in range(6)],
        )
        # In any order of telling: what counted towards a month's volume first is not what was sold first.
        book(conn, shop, [make_story(chance, number) for number in range(8)])
        found = replay(conn, shop.id, NO_DRAFT, SINCE, UNTIL)
        assert (found.changed_lines, found.changes, found.examples, found.is_cut) == (0, (), (), False)
        assert found.orders == 8
        assert drafted_by_party(found, shop) == booked_by_party(conn, shop)
        conn.rollback()


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32))
def test_a_change_replayed_is_what_a_shop_with_the_changed_rules_books(module_engine: Engine, seed: int) -> None:
    chance = random.Random(seed)
    rules = [make_rule(chance) for _ in range(8)]
    assignments = [make_assignment(chance) for _ in range(6)]
    begun_rules, begun = [make_rule(chance) for _ in range(2)], [make_assignment(chance) for _ in range(2)]
    stories = sorted((make_story(chance, number) for number in range(8)), key=lambda story: story[0].placed_at)
    with module_engine.connect() as conn:
        here, there = open_shop(conn), open_shop(conn)
        drafts = []
        for shop in (here, there):
            saved = editing.save(
                conn,
                shop.id,
                ACTOR,
                NOW,
                rules=[make(shop) for make in rules],
                assignments=[make(shop) for make in assignments],
            )
            drafts.append(
                Draft(
                    tuple(make(shop) for make in begun_rules),
                    tuple(make(shop) for make in begun),
                    frozenset(saved.rule_ids[:2]),
                    frozenset(saved.assignment_ids[:2]),
                )
            )
        editing.save_draft(conn, there.id, drafts[1], ACTOR, NOW, None)
        for shop in (here, there):
            book(conn, shop, stories)
        found = replay(conn, here.id, drafts[0], SINCE, UNTIL)
        assert drafted_by_party(found, here) == booked_by_party(conn, there)
        assert {one.order_name for one in found.examples} <= {order.name for order, _ in stories}
        # Who gains and who loses come to nothing together: money only moves.
        assert sum(one.change_minor for one in found.earnings) == 0
        conn.rollback()
