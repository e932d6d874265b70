"""What answers concern: the listings that have the identifiers, and the open order lines sold through them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.audit import Actor
from core.connections.queries import connection as connection_row
from core.db import execute, fetch
from core.errors import Anticipated
from core.identity.outcomes import Answer, Outcome
from core.identity.rules import Identifier
from core.inventory.queries import parts_of
from core.orders import intake
from core.orders.operations import Channel

Source = Literal["person", "file"]


class LinesChanged(Anticipated):
    """Something happened to an order, while it was being found out what is concerned."""

    def __init__(self) -> None:
        super().__init__("nothing was mapped: goods of another order of this SKU moved just now. Try again")


@dataclass(slots=True)
class Part:
    """The answers of one connection, and what they concern."""

    channel: Channel
    connection: str
    answers: list[Answer]
    outcome: Outcome
    listings: Sequence[RowMapping] = ()
    new_skus: dict[int, int | None] = field(default_factory=dict)
    """Of each listing that is mapped, remapped or set aside."""
    lines: Sequence[RowMapping] = ()
    old_skus: set[int] = field(default_factory=set)
    """Whose lines are concerned."""
    line_skus: dict[int, int] = field(default_factory=dict)
    parked_orders: list[int] = field(default_factory=list)

    @property
    def shop_id(self) -> int:
        return self.channel.shop_id

    @property
    def changed(self) -> list[RowMapping]:
        return [row for row in self.listings if row["id"] in self.new_skus]

    @property
    def sku_ids(self) -> set[int]:
        """All SKUs concerned, old and new."""
        found = {row["sku_id"] for row in self.changed} | set(self.new_skus.values()) | set(self.line_skus.values())
        found |= {answer.sku_id for answer in self.answers} | {row["sku_id"] for row in self.lines}
        return {sku_id for sku_id in found if sku_id is not None}


def begin(
    conn: Connection,
    shop_id: int,
    connection_id: int,
    answers: Sequence[Answer],
    source: Source,
    actor: Actor,
    now: datetime,
    outcome: Outcome,
) -> Part:
    """Write the answers down, and see which listings they concern."""
    row = connection_row(conn, shop_id, connection_id)
    living = {(r["kind"], r["value"]): r for r in _living(conn, shop_id, [each.identifier for each in answers])}
    new = []
    for answer in answers:
        known = living.get((answer.identifier.kind, answer.identifier.value))
        if known is not None and known["sku_id"] == answer.sku_id and known["source"] != "automatic":
            outcome.unchanged.append(answer)
        else:
            new.append(answer)
    part = Part(intake.channel_of(conn, row, now), row.name, new, outcome)
    outcome.answered += new
    if not new:
        return part
    outcome.connection_ids.add(connection_id)
    _write_down(conn, shop_id, connection_id, new, source, actor, now)
    part.listings = named_listings(conn, shop_id, connection_id, [answer.identifier for answer in new])
    answered = _answered(conn, shop_id, [row["id"] for row in part.listings])
    for listing in part.listings:
        if listing["id"] in answered and answered[listing["id"]]["sku_id"] != listing["sku_id"]:
            part.new_skus[listing["id"]] = answered[listing["id"]]["sku_id"]
    # What was found by itself for listings that somebody has decided about is over.
    decided = {
        row["channel_ref"]
        for row in part.listings
        if row["id"] in answered and answered[row["id"]]["source"] != "automatic"
    }
    _end_automatic(conn, shop_id, connection_id, decided, actor, now)
    old = {known["sku_id"] for known in living.values()} - {None}
    part.old_skus = {row["sku_id"] for row in part.changed if row["sku_id"]} | old
    part.lines = _lines_of(conn, part)
    return part


def _living(conn: Connection, shop_id: int, identifiers: Sequence[Identifier]) -> Sequence[RowMapping]:
    return fetch(
        conn,
        """
        select i.* from unnest(%(connections)b::int8[], %(kinds)b::text[], %(values)b::text[])
            as n (connection_id, kind, value)
        join sku_identifiers i on i.shop_id = %(shop)s and i.connection_id = n.connection_id and i.kind = n.kind
            and i.value = n.value and i.ended_at is null
        """,
        shop=shop_id,
        connections=[one.connection_id for one in identifiers],
        kinds=[one.kind for one in identifiers],
        values=[one.value for one in identifiers],
    )


def _write_down(
    conn: Connection,
    shop_id: int,
    connection_id: int,
    answers: Sequence[Answer],
    source: Source,
    actor: Actor,
    now: datetime,
) -> None:
    """End what was answered for these identifiers, and begin what is answered now."""
    params = {
        "shop": shop_id,
        "connection": connection_id,
        "kinds": [answer.identifier.kind for answer in answers],
        "values": [answer.identifier.value for answer in answers],
        "by": actor.name,
        "now": now,
        "reasons": [answer.reason or actor.reason for answer in answers],
    }
    execute(
        conn,
        """
        update sku_identifiers i set ended_at = %(now)s, ended_by = %(by)s, end_reason = n.reason
        from unnest(%(kinds)b::text[], %(values)b::text[], %(reasons)b::text[]) as n (kind, value, reason)
        where i.shop_id = %(shop)s and i.connection_id = %(connection)s and i.kind = n.kind and i.value = n.value
            and i.ended_at is null
        """,
        **params,
    )
    execute(
        conn,
        """
        insert into sku_identifiers (shop_id, connection_id, kind, value, sku_id, source, mapped_by, reason, mapped_at)
        select %(shop)s, %(connection)s, n.kind, n.value, n.sku, %(source)s, %(by)s, n.reason, %(now)s
        from unnest(%(kinds)b::text[], %(values)b::text[], %(skus)b::int8[], %(reasons)b::text[])
            as n (kind, value, sku, reason)
        """,
        **params,
        source=source,
        skus=[answer.sku_id for answer in answers],
    )


def named_listings(
    conn: Connection, shop_id: int, connection_id: int, identifiers: Sequence[Identifier]
) -> Sequence[RowMapping]:
    """The listings of a connection that have any of some identifiers, by id."""

    def values(kind: str) -> list[str]:
        return sorted({one.value for one in identifiers if one.kind == kind})

    return fetch(
        conn,
        """
        select l.id, l.channel_ref, l.channel_location_ref, l.channel_code, l.inventory_ref, l.sku_id, l.location_id,
            l.published_units, l.exposed_units, l.desired_units, l.publishing, l.baseline_at, l.product_ref,
            l.label_ref, coalesce(l.gtin, btrim(l.barcode, E' \\t\\u00a0')) as barcode, p.name as location
        from listings l left join locations p on p.shop_id = l.shop_id and p.id = l.location_id
        where l.shop_id = %(shop)s and l.id = any(array(
            select id from listings where shop_id = %(shop)s and connection_id = %(connection)s
                and channel_ref = any(%(variants)b::text[])
            union select id from listings where shop_id = %(shop)s and connection_id = %(connection)s
                and channel_code = any(%(codes)b::text[])
            union select id from listings where shop_id = %(shop)s and connection_id = %(connection)s
                and label_ref = any(%(labels)b::text[])
            union select id from listings where shop_id = %(shop)s and connection_id = %(connection)s
                and gtin = any(%(barcodes)b::text[])
            union select id from listings where shop_id = %(shop)s and connection_id = %(connection)s
                and gtin is null and cardinality(%(barcodes)b::text[]) > 0
                and btrim(barcode, E' \\t\\u00a0') = any(%(barcodes)b::text[])
            union select id from listings where shop_id = %(shop)s and product_ref = any(%(products)b::text[])
                and connection_id = %(connection)s))
        order by l.id
        """,
        shop=shop_id,
        connection=connection_id,
        variants=values("variant"),
        codes=values("seller_sku"),
        labels=values("fnsku"),
        barcodes=values("barcode"),
        products=values("asin"),
    )


def _answered(conn: Connection, shop_id: int, listing_ids: Sequence[int]) -> dict[int, RowMapping]:
    rows = fetch(
        conn,
        "select * from listing_answers where shop_id = %(shop)s and listing_id = any(%(ids)b::int8[])",
        shop=shop_id,
        ids=list(listing_ids),
    )
    return {row["listing_id"]: row for row in rows}


def _end_automatic(
    conn: Connection, shop_id: int, connection_id: int, refs: Iterable[str], actor: Actor, now: datetime
) -> None:
    execute(
        conn,
        """
        update sku_identifiers set ended_at = %(now)s, ended_by = %(by)s, end_reason = %(reason)s
        where shop_id = %(shop)s and connection_id = %(connection)s and kind = 'variant'
            and value = any(%(refs)b::text[]) and source = 'automatic' and ended_at is null
        """,
        shop=shop_id,
        connection=connection_id,
        refs=sorted(refs),
        by=actor.name,
        reason=actor.reason,
        now=now,
    )


def _lines_of(conn: Connection, part: Part) -> Sequence[RowMapping]:
    """Lines of the old SKUs that were sold through what is remapped and are not over, with what happened to them."""
    moved = {row["id"] for row in part.changed if row["sku_id"] is not None}
    named = {answer.identifier for answer in part.answers}
    skus = sorted(part.old_skus)
    if not skus:
        return []
    pools = {sku for found in parts_of(conn, part.shop_id, skus).values() for sku, _ in found}
    return fetch(
        conn,
        """
        with line as (
            select distinct r.order_line_id as id from reservations r
            where r.shop_id = %(shop)s and r.sku_id = any(%(pools)b::int8[]) and r.held_units > 0
                and r.order_line_id is not null
            union
            -- Sold as something that has no stock: nothing is held.
            select l.id from order_lines l join skus s on s.shop_id = l.shop_id and s.id = l.sku_id and not s.is_stocked
            where l.shop_id = %(shop)s and l.sku_id = any(%(skus)b::int8[])
        )
        select l.id, l.order_id, l.units, l.sku_id, l.listing_id, l.variant_ref, l.code, l.mapping, o.name,
            o.cancelled_at is not null as is_cancelled,
            coalesce((select sum(f.units) from fulfilment_lines f
                join fulfilments h on h.shop_id = f.shop_id and h.id = f.fulfilment_id and h.is_shipped
                where f.shop_id = l.shop_id and f.order_line_id = l.id), 0)::int8 as shipped_units,
            exists (select from refund_lines f where f.shop_id = l.shop_id and f.order_line_id = l.id) as is_refunded,
            exists (select from line_returns f where f.shop_id = l.shop_id and f.order_line_id = l.id) as came_back,
            coalesce((select max(b.held_units / b.units_each) from reservations b
                where b.shop_id = l.shop_id and b.order_line_id = l.id), 0)::int8 as held_units
        from line join order_lines l on l.shop_id = %(shop)s and l.id = line.id
        join orders o on o.shop_id = l.shop_id and o.id = l.order_id
        where o.connection_id = %(connection)s and l.sku_id = any(%(skus)b::int8[])
            and (l.listing_id = any(%(listings)b::int8[]) or l.listing_id is null
                and (l.variant_ref = any(%(variants)b::text[]) or l.code = any(%(codes)b::text[])))
        order by l.order_id, l.id
        """,
        shop=part.shop_id,
        connection=part.channel.connection_id,
        pools=sorted(pools),
        skus=skus,
        listings=sorted(moved),
        variants=sorted(one.value for one in named if one.kind == "variant"),
        codes=sorted(one.value for one in named if one.kind == "seller_sku"),
    )


def find_lines(conn: Connection, part: Part) -> None:
    """Which lines move to which SKU, which stay and why; and the orders with parked lines."""
    _choose(part)
    part.parked_orders = [
        row["order_id"]
        for row in fetch(
            conn,
            """
            select distinct l.order_id from order_lines l join orders o on o.shop_id = l.shop_id and o.id = l.order_id
            where l.shop_id = %(shop)s and l.mapping = 'unmapped' and o.connection_id = %(connection)s
            """,
            shop=part.shop_id,
            connection=part.channel.connection_id,
        )
    ]


def see_lines_again(conn: Connection, part: Part) -> None:
    """Read the lines anew, for when their orders are locked: goods may have come back over the desk until then.

    Raises LinesChanged where one of an order that is not locked has become one of them.
    """
    seen = {row["order_id"] for row in part.lines}
    part.lines = _lines_of(conn, part)
    if {row["order_id"] for row in part.lines} - seen:
        raise LinesChanged
    part.line_skus.clear()
    _choose(part)


def _choose(part: Part) -> None:
    by_name = {(each.identifier.kind, each.identifier.value): each.sku_id for each in part.answers}
    for row in part.lines:
        new = part.new_skus.get(row["listing_id"]) if row["listing_id"] is not None else (
            by_name.get(("variant", row["variant_ref"])) or by_name.get(("seller_sku", row["code"]))
        )  # fmt: skip
        if new is not None and new != row["sku_id"]:
            part.line_skus[row["id"]] = new


def why_it_stays(row: RowMapping) -> str:
    if row["is_cancelled"]:
        return "its order is cancelled"
    if row["shipped_units"]:
        return f"{row['shipped_units']:,} of {row['units']:,} have been shipped"
    if row["is_refunded"]:
        return "part of it was cancelled or refunded"
    if row["came_back"]:
        return "goods of it came back"
    return "nothing of it is left" if not row["units"] else ""
