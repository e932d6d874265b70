"""Bring what is wanted of a target up to what the catalogue and the stock are: thousands at a time, by what differs.

What a hash was made of stands beside it (the product's version, the units, a category's path, the settings), so that
finding what has to be looked at again is one comparison of sets, and nothing is looked at that is as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection

from core.db import execute, fetch, scalar
from core.targets import contents, rules
from core.targets.answers import answers
from core.targets.contents import Made, Target

PLANNED_AT_ONCE = 1_000
"""Products; so many entries and their variants are written in one commit."""


def plan(conn: Connection, target: Target, now: datetime, limit: int = PLANNED_AT_ONCE) -> int:
    """Plan some of what differs, the categories first; returns how many products, variants and categories were looked
    at: 0 when everything is planned, or somebody else is planning."""
    if not scalar(
        conn,
        "select pg_try_advisory_xact_lock(hashtextextended('plan-target:' || %(shop)s || ':' || %(connection)s, 0))",
        shop=target.shop_id,
        connection=target.connection_id,
    ):
        return 0
    target = replace(target, answered=answers(conn, target.shop_id, target.connection_id).token)
    return (
        _plan_categories(conn, target, now)
        + _plan_removed(conn, target, limit, now)
        + (_plan_products(conn, target, limit, now) or _plan_units(conn, target, limit * 3, now))
    )


def _plan_categories(conn: Connection, target: Target, now: datetime) -> int:
    made = contents.of_categories(conn, target)
    known = {
        row["entity_id"]: row["planned_text"]
        for row in fetch(
            conn,
            """
            select entity_id, planned_text from target_entries
            where shop_id = %(shop)s and connection_id = %(connection)s and kind = 'category'
                and planned_text is not null
            """,
            **_of(target),
        )
    }
    changed = [one for one in made if known.get(one.entity_id) != one.text]
    gone = sorted(known.keys() - {one.entity_id for one in made})
    write(conn, target, changed, now)
    _want_gone(conn, target, "kind = 'category' and entity_id = any(%(ids)b::int8[])", gone, now)
    return len(changed) + len(gone)


def _plan_products(conn: Connection, target: Target, limit: int, now: datetime) -> int:
    """New and changed products, and those that were made of other settings."""
    rows = fetch(
        conn,
        """
        select p.id from products p
        left join target_entries e on e.shop_id = p.shop_id and e.connection_id = %(connection)s and e.kind = 'item'
            and e.entity_id = p.id
        where p.shop_id = %(shop)s
            and (e.planned_version, e.planned_text) is distinct from (p.version, %(basis)s::text)
        order by p.id limit %(limit)s
        """,
        **_of(target),
        basis=target.basis,
        limit=limit,
    )
    ids = [row["id"] for row in rows]
    if not ids:
        return 0
    made = contents.of_products(conn, target, ids)
    write(conn, target, made, now)
    # A variant that left its product: one that another product has now is that one's.
    kept = [one.entity_id for one in made if one.kind == "variant"]
    _want_gone(
        conn,
        target,
        "kind = 'variant' and parent_id = any(%(ids)b::int8[]) and entity_id <> all(%(kept)b::int8[])",
        ids,
        now,
        kept=kept,
    )
    return len(ids)


def _plan_removed(conn: Connection, target: Target, limit: int, now: datetime) -> int:
    rows = fetch(
        conn,
        """
        select e.entity_id from target_entries e
        where e.shop_id = %(shop)s and e.connection_id = %(connection)s and e.kind = 'item'
            and e.planned_version is not null
            and not exists (select from products p where p.shop_id = e.shop_id and p.id = e.entity_id)
        order by 1 limit %(limit)s
        """,
        **_of(target),
        limit=limit,
    )
    ids = [row["entity_id"] for row in rows]
    _want_gone(conn, target, "kind = 'item' and entity_id = any(%(ids)b::int8[])", ids, now)
    _want_gone(conn, target, "kind = 'variant' and parent_id = any(%(ids)b::int8[])", ids, now)
    return len(ids)


def _plan_units(conn: Connection, target: Target, limit: int, now: datetime) -> int:
    """Variants whose stock is another than they are to show: every level of the shop is read, each once."""
    rows = fetch(
        conn,
        """
        with own as materialized (
            select l.sku_id, sum(greatest(l.available, 0))::int8 as units from stock_levels l
            join locations p on p.shop_id = l.shop_id and p.id = l.location_id and p.kind <> 'external'
            where l.shop_id = %(shop)s group by 1
        ), bundled as materialized (
            select u.sku_id, u.units from target_units u
            where u.shop_id = %(shop)s and u.sku_id in (select b.bundle_sku_id from bundle_parts b
                where b.shop_id = %(shop)s)
        )
        select e.entity_id from target_entries e
        join variants v on v.shop_id = e.shop_id and v.sku_id = e.entity_id
        join skus s on s.shop_id = e.shop_id and s.id = e.entity_id
        left join own on own.sku_id = e.entity_id and s.is_stocked and not s.is_bundle
        left join bundled on bundled.sku_id = e.entity_id and s.is_bundle
        where e.shop_id = %(shop)s and e.connection_id = %(connection)s and e.kind = 'variant'
            and e.planned_version is not null
            and e.planned_units is distinct from coalesce(bundled.units, own.units, 0)
        order by 1 limit %(limit)s
        """,
        **_of(target),
        limit=limit,
    )
    made = contents.of_entities(conn, target, "variant", [row["entity_id"] for row in rows])
    write(conn, target, list(made.values()), now)
    return len(made)


def write(conn: Connection, target: Target, made: Sequence[Made], now: datetime) -> None:
    """Note what entries are to show. What cannot be told says why; an item is left at the target as it is there, a
    variant is deleted: its stock would be an old one, and nobody could withdraw it. Where a setting of the connection
    is missing it stays as well: that would empty the target."""
    if not made:
        return
    _lock(conn, target, made)
    execute(
        conn,
        """
        insert into target_entries as e (shop_id, connection_id, kind, entity_id, external_id, parent_id, desired_hash,
            planned_version, planned_units, planned_text, problem_kind, problem_code, problem, stays, waits, next_at,
            changed_at)
        select %(shop)s, %(connection)s, r.kind, r.entity_id, r.external_id, r.parent_id, r.hash, r.version,
            r.units, r.text, r.problem_kind, r.problem_code, r.problem, r.stays,
            r.kind = 'variant' and not exists (
                select from target_entries p
                where p.shop_id = %(shop)s and p.connection_id = %(connection)s and p.kind = 'item'
                    and p.entity_id = r.parent_id and p.is_known),
            %(now)s, %(now)s
        from jsonb_to_recordset(%(rows)s::jsonb) as r (kind text, entity_id int8, external_id text,
            parent_id int8, hash text, version int4, units int8, text text, problem_kind text, problem_code text,
            problem text, stays bool)
        order by r.kind, r.entity_id
        on conflict (shop_id, connection_id, kind, entity_id) do update set
            parent_id = excluded.parent_id, planned_version = excluded.planned_version,
            planned_units = excluded.planned_units, planned_text = excluded.planned_text, waits = excluded.waits,
            desired_hash = coalesce(excluded.desired_hash, e.desired_hash),
            problem_kind = case when excluded.problem is not null then 'content'
                when e.problem_kind = 'refused' and e.desired_hash = excluded.desired_hash then e.problem_kind end,
            problem_code = case when excluded.problem is not null then excluded.problem_code
                when e.problem_kind = 'refused' and e.desired_hash = excluded.desired_hash then e.problem_code end,
            problem = case when excluded.problem is not null then excluded.problem
                when e.problem_kind = 'refused' and e.desired_hash = excluded.desired_hash then e.problem end,
            stays = excluded.stays,
            failures = case when e.desired_hash is not distinct from excluded.desired_hash then e.failures else 0 end,
            is_held = e.is_held and e.desired_hash is not distinct from excluded.desired_hash,
            next_at = case when e.desired_hash = excluded.desired_hash then e.next_at else excluded.next_at end,
            changed_at = case when e.desired_hash = excluded.desired_hash then e.changed_at else excluded.changed_at end
        """,
        **_of(target),
        rows=orjson.dumps([_row(one, target.settings.mark) for one in made]).decode(),
        now=now,
    )


def _row(made: Made, mark: str) -> dict[str, Any]:
    code, words = made.wanted.problem or (None, None)
    return {
        "kind": made.kind,
        "entity_id": made.entity_id,
        "external_id": rules.external_id(mark, made.kind, made.entity_id),
        "parent_id": made.parent_id,
        "hash": made.hash,
        "version": made.version,
        "units": made.units,
        "text": made.text,
        "problem_kind": None if words is None else "content",
        "problem_code": code,
        "problem": words,
        "stays": made.wanted.stays,
    }


def _lock(conn: Connection, target: Target, made: Sequence[Made]) -> None:
    """Those that there are, and the products that new variants hang on: in the order in which everybody locks them."""
    pairs = {(one.kind, one.entity_id) for one in made} | {("item", one.parent_id) for one in made if one.parent_id}
    ordered = sorted(pairs)
    fetch(
        conn,
        """
        select e.id from target_entries e
        join unnest(%(kinds)b::text[], %(ids)b::int8[]) as n (kind, entity_id)
            on n.kind = e.kind and n.entity_id = e.entity_id
        where e.shop_id = %(shop)s and e.connection_id = %(connection)s order by e.id for no key update of e
        """,
        **_of(target),
        kinds=[kind for kind, _ in ordered],
        ids=[entity_id for _, entity_id in ordered],
    )


def _want_gone(conn: Connection, target: Target, which: str, ids: Sequence[int], now: datetime, **more: Any) -> None:
    """Nothing of it is to be there any more: what the target has is deleted, what could not be told is forgotten."""
    if not ids:
        return
    execute(
        conn,
        f"""
        with gone as materialized (
            select id from target_entries where shop_id = %(shop)s and connection_id = %(connection)s and {which}
                and (desired_hash is not null or problem is not null or planned_version is not null
                    or planned_text is not null)
            order by id for no key update
        )
        update target_entries e set desired_hash = null, planned_version = null, planned_units = null,
            planned_text = null, problem_kind = null, problem_code = null, problem = null, stays = false, failures = 0,
            is_held = false, next_at = %(now)s, changed_at = %(now)s
        from gone where e.shop_id = %(shop)s and e.id = gone.id
        """,
        **_of(target),
        ids=list(ids),
        now=now,
        **more,
    )


def _of(target: Target) -> dict[str, int]:
    return {"shop": target.shop_id, "connection": target.connection_id}
