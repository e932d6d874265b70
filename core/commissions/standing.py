"""Reads: rules and assignments as they stand, or would, with what they are held against when they are checked."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from core.commissions.checking import Standing
from core.commissions.directory import Directory, directory, named_skus
from core.commissions.drafts import NO_DRAFT, Draft
from core.commissions.queries import living_rules
from core.commissions.rules import Assignment
from core.db import fetch, scalar

SOLD_DAYS = 90


def standing(conn: Connection, shop_id: int, now: datetime, draft: Draft = NO_DRAFT) -> Standing:
    """What `core.commissions.checking.check` looks at, with the changes of a draft."""
    rules = draft.of_rules(living_rules(conn, shop_id))
    assignments = draft.of_assignments(_telling(conn, shop_id, named_skus(draft.assignments)))
    names = directory(conn, shop_id, sku_ids=named_skus(rules) | named_skus(assignments))
    since = now - timedelta(days=SOLD_DAYS)
    return Standing(
        rules, _until_ended(assignments, names), names, now, _sold_in(conn, shop_id, since), _own(conn, shop_id, since)
    )


def _until_ended(assignments: Collection[Assignment], names: Directory) -> list[Assignment]:
    """A party that has ended takes part in no order placed since."""
    found = []
    for one in assignments:
        party = names.parties.get(one.party_id)
        ended_at = None if party is None else party.ended_at
        if ended_at is not None and (one.valid_to is None or ended_at < one.valid_to):
            one = replace(one, valid_to=ended_at)
        found.append(one)
    return found


def _telling(conn: Connection, shop_id: int, sku_ids: Collection[int]) -> list[Assignment]:
    """The assignments that tell something. Of those for single SKUs, of which there may be one for each, only those
    that are not alone in their scope, those that a draft is about too, and one for each party and role."""
    rows = fetch(
        conn,
        """
        with of_skus as materialized (
            select id, role, party_id, sku_id,
                count(*) over (partition by role, connection_id, sku_id, customer_ref, order_code) as alike,
                row_number() over (partition by role, party_id order by id) as place
            from party_assignments where shop_id = %(shop)s and ended_id is null and sku_id is not null
        )
        select id, role, party_id, connection_id, category, sku_id, customer_ref, order_code, valid_from, valid_to
        from party_assignments where shop_id = %(shop)s and ended_id is null and (sku_id is null
            or id in (select id from of_skus where alike > 1 or place = 1 or sku_id = any(%(skus)b::int8[])))
        order by id
        """,
        shop=shop_id,
        skus=sorted(sku_ids),
    )
    return [Assignment(**row) for row in rows]


def _sold_in(conn: Connection, shop_id: int, since: datetime) -> frozenset[str] | None:
    rows = fetch(
        conn,
        "select distinct currency from commission_days where shop_id = %(shop)s and day >= %(since)s",
        shop=shop_id,
        since=since.date(),
    )
    # Of a shop that has sold nothing yet nobody knows what it will sell in.
    return frozenset(row["currency"] for row in rows) or None


def _own(conn: Connection, shop_id: int, since: datetime) -> int:
    """How many SKUs were sold lately that no seller is assigned to, buyers and codes aside."""
    found: int = scalar(
        conn,
        """
        select count(*) from skus k
        where k.shop_id = %(shop)s and not exists (
            select from party_assignments a
            where a.shop_id = k.shop_id and a.ended_id is null and a.role = 'seller' and a.sku_id = k.id
        ) and not exists (
            select from party_assignments a
            where a.shop_id = k.shop_id and a.ended_id is null and a.role = 'seller' and a.sku_id is null
                and (a.category is null or a.category = k.category) and a.customer_ref is null and a.order_code is null
        ) and (
            select o.placed_at from order_lines l join orders o on o.shop_id = l.shop_id and o.id = l.order_id
            where l.shop_id = k.shop_id and l.sku_id = k.id order by l.id desc limit 1
        ) >= %(since)s
        """,
        shop=shop_id,
        since=since,
    )
    return found
