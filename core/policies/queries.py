"""Reads: what the rules come to for listings, what a change would do, and which rules there are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection

from core.db import fetch, fetch_one, scalar
from core.inventory.lines import DOUBT_SECONDS
from core.inventory.planner import BURST, LINE_UNITS_MIN
from core.policies.rules import DEFAULTS, TERMS, Policy, Resolved, Scope, Terms, resolve

LIVING = "(select * from channel_policies where ended_id is null)"
PREVIEW_ROWS = 50

_SQL_DEFAULTS = {
    name: "null::integer" if value is None else f"'{value}'" if isinstance(value, str) else str(value).lower()
    for name, value in DEFAULTS.items()
}
# Most specific first: (of the listing's connection, of its category, of its SKU).
_LADDER = ((1, 0, 1), (0, 0, 1), (1, 1, 0), (0, 1, 0), (1, 0, 0), (0, 0, 0))


def _rung(number: int, policies: str) -> str:
    of_connection, of_category, of_sku = _LADDER[number]
    name = f"r{number}"
    parts = (
        f"{name}.connection_id = l.connection_id" if of_connection else f"{name}.connection_id is null",
        f"{name}.category = s.category" if of_category else f"{name}.category is null",
        f"{name}.sku_id = l.sku_id" if of_sku else f"{name}.sku_id is null",
    )
    return f"left join {policies} {name} on {name}.shop_id = l.shop_id and {' and '.join(parts)}"


def _term(name: str) -> str:
    rungs = ", ".join(f"r{number}.{name}" for number in range(len(_LADDER)))
    column = "asked_floor_units" if name == "floor_units" else name
    return f"coalesce({rungs}, {_SQL_DEFAULTS[name]}) as {column}"


def resolved(policies: str, where: str, more: str = "", joins: str = "") -> str:
    """A SELECT of what rules come to, a row a mapped listing: `rules.resolve` written as a set.

    `policies` is a relation with at most one row a scope; `where` chooses among `listings l` and `skus s`. Columns:
    shop_id, listing_id, the terms (the floor never above the cap), `asked_floor_units` as the rules have it, and `more`
    of l, s and `joins`. Everything about a listing is read in one go over the listings: joined to itself afterwards, a
    hundred thousand rows of unknown number would be planned as if they were a few.
    """
    return f"""
        select found.*, least(asked_floor_units, cap_units) as floor_units
        from (
            select l.shop_id, l.id as listing_id, {", ".join(_term(name) for name in TERMS)}{more}
            from listings l join skus s on s.shop_id = l.shop_id and s.id = l.sku_id
            {" ".join(_rung(number, policies) for number in range(len(_LADDER)))}
            {joins}
            where {where}
        ) as found
    """


_AVAILABLE = ", coalesce(case when s.is_bundle then b.available else k.available end, 0) as available"
_POOLS = """
    left join stock_levels k on k.shop_id = l.shop_id and k.sku_id = l.sku_id and k.location_id = l.location_id
    left join lateral (
        select min(floor(coalesce(v.available, 0)::numeric / p.units))::int8 as available
        from bundle_parts p left join stock_levels v
            on v.shop_id = p.shop_id and v.sku_id = p.part_sku_id and v.location_id = l.location_id
        where p.shop_id = l.shop_id and p.bundle_sku_id = l.sku_id
    ) b on s.is_bundle
"""

OFFER = "offer({0}.available, {0}.safety_stock_units, {0}.share_percent, {0}.buffer_units, {0}.floor_units," \
    " {0}.cap_units, {0}.is_offered)"  # fmt: skip
"""What a row of `offered` should show."""


def offered(policies: str, where: str, more: str = "") -> str:
    """The same with what is `available` to each listing, as `inventory.operations.refresh_desired` sees it."""
    return resolved(policies, where, _AVAILABLE + more, _POOLS)


# --- the rules there are ----------------------------------------------------------------------------------------------


def latest_version(conn: Connection, shop_id: int) -> int:
    """The newest version of the shop's rules; 0 before the first."""
    return scalar(conn, "select coalesce(max(id), 0) from policy_versions where shop_id = %(shop)s", shop=shop_id)


def living(conn: Connection, shop_id: int, scopes: Iterable[Scope] | None = None) -> list[Policy]:
    """The living rules, or those of exactly these scopes; least specific first."""
    chosen, params = "true", {}
    if scopes is not None:
        params = scope_arrays(scopes)
        chosen = f"exists (select from {SCOPES} as c where {_same('c', 'p')})"
    rows = fetch(
        conn,
        f"""
        select p.id, p.connection_id, p.category, p.sku_id, {", ".join(f"p.{name}" for name in TERMS)}
        from channel_policies p where p.shop_id = %(shop)s and p.ended_id is null and {chosen} order by p.id
        """,
        shop=shop_id,
        **params,
    )
    return sorted((policy_of(row) for row in rows), key=lambda item: item.scope.breadth)


def policy_of(row: Any) -> Policy:
    """A row of `channel_policies` as a rule."""
    scope = Scope(row["connection_id"], row["category"], row["sku_id"])
    return Policy(scope, Terms(**{name: row[name] for name in TERMS}), row["id"])


def explain(conn: Connection, shop_id: int, listing_id: int) -> Resolved | None:
    """What the living rules come to for a listing, and which rule each term is from; None while it is not mapped."""
    row = fetch_one(
        conn,
        """
        select l.connection_id, s.category, l.sku_id from listings l
        join skus s on s.shop_id = l.shop_id and s.id = l.sku_id
        where l.shop_id = %(shop)s and l.id = %(listing)s
        """,
        shop=shop_id,
        listing=listing_id,
    )
    if row is None:
        return None
    connection_id, category, sku_id = row["connection_id"], row["category"], row["sku_id"]
    ladder = [
        Scope(connection_id if of_connection else None, category if of_category else None, sku_id if of_sku else None)
        for of_connection, of_category, of_sku in _LADDER
        if category is not None or not of_category
    ]
    return resolve(living(conn, shop_id, ladder), connection_id, category, sku_id)


# --- sets of scopes ---------------------------------------------------------------------------------------------------

KINDS = {"share_percent": "numeric", "is_offered": "bool", "mode": "text"}
"""The types of terms that are not whole numbers, in SQL."""

SCOPES = """(select * from unnest(%(connections)b::int8[], %(categories)b::text[], %(skus)b::int8[])
    as n (connection_id, category, sku_id))"""
"""Some scopes, as a relation; `scope_arrays` are its parameters."""


def scope_arrays(scopes: Iterable[Scope]) -> dict[str, list[Any]]:
    """Scopes as the arrays that `SCOPES` reads."""
    found = list(scopes)
    return {
        "connections": [item.connection_id for item in found],
        "categories": [item.category for item in found],
        "skus": [item.sku_id for item in found],
    }


def _same(one: str, other: str) -> str:
    return " and ".join(
        f"{one}.{name} is not distinct from {other}.{name}" for name in ("connection_id", "category", "sku_id")
    )


def _concerned(scopes: str) -> str:
    """Ids of the shop's mapped listings that some scopes are for; each kind of scope by an index of its own."""
    on = "(c.connection_id is null or c.connection_id = l.connection_id)"
    return f"""
        select l.id from {scopes} c join listings l on l.shop_id = %(shop)s and l.sku_id = c.sku_id
        where {on}
        union
        select l.id from {scopes} c join skus s on s.shop_id = %(shop)s and s.category = c.category
        join listings l on l.shop_id = s.shop_id and l.sku_id = s.id
        where {on}
        union
        select l.id from {scopes} c join listings l on l.shop_id = %(shop)s and l.sku_id is not null
        where c.sku_id is null and c.category is null and {on}
    """


def listings_of_version(conn: Connection, shop_id: int, version_id: int, after_id: int) -> list[int]:
    """Listings beyond `after_id` that the rules which a version began or ended are for, by id."""
    scopes = """(select connection_id, category, sku_id from channel_policies
        where shop_id = %(shop)s and (begun_id = %(version)s or ended_id = %(version)s))"""
    rows = fetch(
        conn,
        f"select id from ({_concerned(scopes)}) as l where id > %(after)s order by id",
        shop=shop_id,
        version=version_id,
        after=after_id,
    )
    return [row["id"] for row in rows]


# --- what a change would do -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Change:
    """The rule that a scope shall have; with no terms at all it shall have none."""

    scope: Scope
    terms: Terms


@dataclass(frozen=True, slots=True)
class ChannelPreview:
    """What a change would do on one connection. `listings` are those it is for; the counts are of published ones.

    `desired_units` and `would_units` are sums over those published: what they should show now and then.
    """

    connection_id: int
    connection: str
    listings: int
    published: int
    up: int
    down: int
    to_zero: int
    desired_units: int
    would_units: int

    @property
    def same(self) -> int:
        """Published ones whose number stays."""
        return self.published - self.up - self.down


@dataclass(frozen=True, slots=True)
class Preview:
    """What a change would do, channel by channel. `token` lets it be saved while the rules are still these."""

    token: str
    channels: tuple[ChannelPreview, ...]


@dataclass(frozen=True, slots=True)
class ModePreview:
    """How many pools a change is for, how many of them are split over channels now, and would be.

    `pools` counts SKUs with stock of their own at a location. What adaptive would do is worked out from what is
    available now; with a measured line it is an estimate.
    """

    pools: int
    escrow_now: int
    escrow_then: int

    @property
    def changes(self) -> bool:
        """Whether any pool would be shared in another way."""
        return self.escrow_now != self.escrow_then


@dataclass(frozen=True, slots=True)
class PreviewRow:
    """One published listing: what it shows, should show, and would show."""

    listing_id: int
    connection: str
    code: str
    title: str
    published_units: int | None
    desired_units: int | None
    would_units: int


def token_of(latest: int, changes: Sequence[Change]) -> str:
    """What stands for these changes to the rules as the version `latest` left them."""
    return sha256(repr((latest, tuple(changes))).encode()).hexdigest()[:16]


def preview(conn: Connection, shop_id: int, changes: Sequence[Change]) -> Preview:
    """What each channel would show: one statement, however many listings."""
    rows = fetch(
        conn,
        f"""
        {_AS_IF}
        select n.id as connection_id, n.name as connection, count(*) as listings,
            count(*) filter (where w.is_on) as published,
            count(*) filter (where w.is_on and w.would > w.desired) as up,
            count(*) filter (where w.is_on and w.would < w.desired) as down,
            count(*) filter (where w.is_on and w.would = 0 and w.desired > 0) as to_zero,
            coalesce(sum(w.desired) filter (where w.is_on), 0)::int8 as desired_units,
            coalesce(sum(w.would) filter (where w.is_on), 0)::int8 as would_units
        from would w join connections n on n.shop_id = %(shop)s and n.id = w.connection_id
        group by n.id, n.name order by n.name, n.id
        """,
        shop=shop_id,
        **_change_arrays(changes),
    )
    return Preview(token_of(latest_version(conn, shop_id), changes), tuple(ChannelPreview(**row) for row in rows))


def preview_modes(conn: Connection, shop_id: int, changes: Sequence[Change]) -> ModePreview:
    """How pools would be shared: each goes by the strictest of its listings, those the change is not for included.

    `inventory.lines.line_of` written as a set, for rules that nobody has saved.
    """
    row = fetch_one(
        conn,
        f"""
        {_AS_IF},
        pools as (
            select distinct t.sku_id, t.location_id from pool_takers t join would w on w.listing_id = t.listing_id
            where t.shop_id = %(shop)s
        ),
        judged as (
            select t.sku_id, t.location_id, bool_or(coalesce(w.mode, t.mode) = 'escrow') as is_escrow,
                bool_or(coalesce(w.mode, t.mode) = 'adaptive') as is_adaptive,
                max(case when w.listing_id is null then t.switch_units else w.switch_units end) as policy_units,
                greatest(%(least)s, ceil(%(burst)s * coalesce(sum(coalesce(t.pool_units_per_hour, 0)
                    * coalesce(t.doubt_seconds, %(doubt)s) / 3600) filter (where t.guarantee_class = 'A'), 0)))
                    as measured_units
            from pools p join pool_seats t on t.shop_id = %(shop)s and t.sku_id = p.sku_id
                and t.location_id = p.location_id and t.publishing = 'on'
            left join would w on w.listing_id = t.listing_id
            group by 1, 2
        )
        select count(*) as pools, count(*) filter (where k.is_escrow) as escrow_now,
            count(*) filter (where j.is_escrow or (j.is_adaptive
                and coalesce(k.available, 0) <= coalesce(j.policy_units, j.measured_units))) as escrow_then
        from judged j left join stock_levels k
            on k.shop_id = %(shop)s and k.sku_id = j.sku_id and k.location_id = j.location_id
        """,
        shop=shop_id,
        least=LINE_UNITS_MIN,
        burst=BURST,
        doubt=DOUBT_SECONDS,
        **_change_arrays(changes),
    )
    assert row is not None
    return ModePreview(**row)


def preview_rows(
    conn: Connection,
    shop_id: int,
    changes: Sequence[Change],
    *,
    only_changed: bool = True,
    after_id: int = 0,
    limit: int = PREVIEW_ROWS,
) -> list[PreviewRow]:
    """Published listings that the change is for, by id, beginning after `after_id`."""
    rows = fetch(
        conn,
        f"""
        {_AS_IF}
        select w.listing_id, n.name as connection, w.code, w.title, w.published_units, w.desired as desired_units,
            w.would as would_units
        from would w join connections n on n.shop_id = %(shop)s and n.id = w.connection_id
        where w.is_on and w.listing_id > %(after)s and (not %(changed)s or w.would is distinct from w.desired)
        order by w.listing_id limit %(limit)s
        """,
        shop=shop_id,
        after=after_id,
        changed=only_changed,
        limit=limit,
        **_change_arrays(changes),
    )
    return [PreviewRow(**row) for row in rows]


def crossings(conn: Connection, shop_id: int, changes: Sequence[Change], limit: int = 3) -> list[dict[str, Any]]:
    """Listings that the changes are for where the floor would stand above the cap: the first ones, and how many."""
    rows = fetch(
        conn,
        f"""
        {_AS_IF}
        select n.name as connection, w.code, w.asked_floor_units, w.cap_units, count(*) over () as listings
        from would w join connections n on n.shop_id = %(shop)s and n.id = w.connection_id
        where w.asked_floor_units > w.cap_units
        order by w.listing_id limit %(limit)s
        """,
        shop=shop_id,
        limit=limit,
        **_change_arrays(changes),
    )
    return [dict(row) for row in rows]


def _change_arrays(changes: Sequence[Change]) -> dict[str, list[Any]]:
    terms = {name: [getattr(change.terms, name) for change in changes] for name in TERMS}
    return {**scope_arrays(change.scope for change in changes), **terms}


_TYPED = ", ".join(f"%({name})b::{KINDS.get(name, 'int4')}[]" for name in TERMS)
_CHANGED = f"""
    select %(shop)s::int8 as shop_id, c.* from unnest(%(connections)b::int8[], %(categories)b::text[], %(skus)b::int8[],
        {_TYPED}) as c (connection_id, category, sku_id, {", ".join(TERMS)})
"""
_COLUMNS = f"shop_id, connection_id, category, sku_id, {', '.join(TERMS)}"
_OFFERED = offered(
    "policies",
    "l.shop_id = %(shop)s and l.id in (select id from concerned)",
    ", l.connection_id, l.sku_id, s.code, s.title, l.published_units, l.publishing = 'on' as is_on,"
    " coalesce(l.desired_units, 0)::int8 as desired",
)
# The rules as they would be; the listings that the change is for; what each would show.
_AS_IF = f"""
    with changed as materialized ({_CHANGED}),
    policies as materialized (
        select {_COLUMNS} from channel_policies p
        where p.shop_id = %(shop)s and p.ended_id is null and not exists (select from changed c where {_same("c", "p")})
        union all
        select {_COLUMNS} from changed
    ),
    concerned as materialized ({_concerned("changed")}),
    would as (select w.*, {OFFER.format("w")} as would from ({_OFFERED}) w)
"""
