"""How answers take effect, in sets: mappings, listings, parked lines, promises, exposure; all or nothing.

One way for mapping, remapping, setting aside and files. Everything is read under the identities' own lock, then rows
are locked in the one global order (orders, compositions, levels, listings), then written. A preview is taken back.

A line moves with its listing while nothing of it has been shipped, cancelled, refunded or taken back: its promise is
ended where it was and kept on record, and made anew of the other SKU. What has happened to other lines stays a fact.
A listing moves with all that it exposes: the pool that it joins has to cover it from then on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.audit import Actor
from core.catalog import matching
from core.catalog import operations as catalog
from core.connections.queries import connection as connection_row
from core.db import execute, fetch
from core.errors import Anticipated
from core.identity import promises
from core.identity.outcomes import Answer, LineSeen, ListingSeen, OpenWrite, Outcome, PoolSeen
from core.identity.rules import Identifier
from core.inventory import lines as escrow_lines
from core.inventory import operations as inventory
from core.inventory.operations import hold_compositions
from core.inventory.queries import parts_of
from core.messaging import changes, inbox
from core.messaging.changes import Effects, OrderKind
from core.orders import effects, intake, operations
from core.orders.operations import Channel
from core.policies import operations as policies

Source = Literal["person", "file"]


class AlreadyMapped(Anticipated):
    """What was to be mapped is another SKU's: that is a remapping, which shows its effects first."""

    def __init__(self, listings: Sequence[str]) -> None:
        shown = "; ".join(listings[:3]) + (f" and {len(listings) - 3} more" if len(listings) > 3 else "")
        super().__init__(f"nothing was mapped: {shown}. Remap it instead, which shows its effects first")


class NotToBeSetAside(Anticipated):
    """A listing that sells our stock cannot be said to be not ours."""

    def __init__(self, listings: Sequence[str]) -> None:
        shown = "; ".join(listings[:3]) + (f" and {len(listings) - 3} more" if len(listings) > 3 else "")
        super().__init__(f"nothing was set aside: {shown}. Remap it to the SKU that it really is")


class WriteStillOpen(Anticipated):
    """A number is on its way to a listing that was to be remapped. `writes` says which, and when they will be over."""

    def __init__(self, writes: Sequence[OpenWrite]) -> None:
        self.writes = list(writes)
        first = self.writes[0]
        more = f" (and {len(writes) - 1} more)" if len(writes) > 1 else ""
        super().__init__(
            f"nothing was remapped: write {first.write_id} of {first.to_units:,} is on its way to"
            f" {first.channel_ref}{more}. It is over, or looked at again, at {max(w.over_at for w in writes):%H:%M:%S}"
            " UTC: try again then"
        )


@dataclass(slots=True)
class _Part:
    """The answers of one connection, and what they concern."""

    channel: Channel
    connection: str
    answers: list[Answer]
    outcome: Outcome
    listings: Sequence[RowMapping] = ()
    new_skus: dict[int, int | None] = field(default_factory=dict)
    """Of each listing that is mapped, remapped or set aside."""
    lines: Sequence[RowMapping] = ()
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


def assign(
    conn: Connection,
    shop_id: int,
    answers: Sequence[Answer],
    source: Source,
    actor: Actor,
    now: datetime,
    *,
    may_move: bool,
) -> Outcome:
    """Make answers what identifiers stand for; each identifier at most once in them. Returns what that came to.

    Without `may_move` nothing that has a SKU gets another one. Raises AlreadyMapped, NotToBeSetAside, WriteStillOpen.
    """
    outcome = Outcome()
    by_connection: dict[int, list[Answer]] = {}
    for answer in sorted(answers, key=lambda each: each.identifier):
        by_connection.setdefault(answer.identifier.connection_id, []).append(answer)
    own(conn, shop_id, by_connection)
    parts = [_begin(conn, shop_id, key, some, source, actor, now, outcome) for key, some in by_connection.items()]
    parts = [part for part in parts if part.answers]
    codes = _codes(conn, shop_id, {sku_id for part in parts for sku_id in part.sku_ids})
    for part in parts:
        _refuse(part, codes, may_move)
        _find_lines(conn, part)
    _lock(conn, parts)
    for part in parts:
        _refuse_open_writes(conn, part)
    before = _pools(conn, shop_id, parts)
    for part in parts:
        _take_effect(conn, part, codes, now)
    moved = {sku_id for part in parts for sku_id in part.sku_ids}
    escrow_lines.draw_lines(
        conn, shop_id, {sku for found in parts_of(conn, shop_id, moved).values() for sku, _ in found}
    )
    _tell(conn, shop_id, parts, codes, before)
    return outcome


def own(conn: Connection, shop_id: int, connection_ids: Iterable[int]) -> None:
    """Take all advisory locks that come before any row, for whoever changes what identifiers stand for."""
    ordered = sorted(connection_ids)
    for connection_id in ordered:
        matching.own_identities(conn, shop_id, connection_id)
    policies.lock(conn, shop_id)
    for connection_id in ordered:
        catalog.lock_places(conn, shop_id, connection_id)
    escrow_lines.lock(conn, shop_id)


# --- what is concerned -----------------------------------------------------------------------------------------------


def _begin(
    conn: Connection,
    shop_id: int,
    connection_id: int,
    answers: Sequence[Answer],
    source: Source,
    actor: Actor,
    now: datetime,
    outcome: Outcome,
) -> _Part:
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
    part = _Part(intake.channel_of(conn, row, now), row.name, new, outcome)
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
    part.lines = _lines_of(conn, part, {row["sku_id"] for row in part.changed if row["sku_id"]} | old)
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


def _lines_of(conn: Connection, part: _Part, old_skus: Iterable[int]) -> Sequence[RowMapping]:
    """Lines of the old SKUs that were sold through what is remapped and are not over, with what happened to them."""
    moved = {row["id"] for row in part.changed if row["sku_id"] is not None}
    named = {answer.identifier for answer in part.answers}
    skus = sorted(set(old_skus))
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


def _refuse(part: _Part, codes: Mapping[int, str], may_move: bool) -> None:
    away = [row for row in part.changed if row["sku_id"] is not None]
    said = [f"{row['channel_ref']} on {part.connection} is {codes[row['sku_id']]}'s" for row in away]
    if lost := [text for text, row in zip(said, away, strict=True) if part.new_skus[row["id"]] is None]:
        raise NotToBeSetAside(lost)
    if said and not may_move:
        raise AlreadyMapped(said)


def _find_lines(conn: Connection, part: _Part) -> None:
    """Which lines move to which SKU, which stay and why; and the orders with parked lines."""
    by_name = {(each.identifier.kind, each.identifier.value): each.sku_id for each in part.answers}
    for row in part.lines:
        new = part.new_skus.get(row["listing_id"]) if row["listing_id"] is not None else (
            by_name.get(("variant", row["variant_ref"])) or by_name.get(("seller_sku", row["code"]))
        )  # fmt: skip
        if new is not None and new != row["sku_id"]:
            part.line_skus[row["id"]] = new
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


def _why_it_stays(row: RowMapping) -> str:
    if row["is_cancelled"]:
        return "its order is cancelled"
    if row["shipped_units"]:
        return f"{row['shipped_units']:,} of {row['units']:,} have been shipped"
    if row["is_refunded"]:
        return "part of it was cancelled or refunded"
    if row["came_back"]:
        return "goods of it came back"
    return "nothing of it is left" if not row["units"] else ""


# --- locks -----------------------------------------------------------------------------------------------------------


def _lock(conn: Connection, parts: Sequence[_Part]) -> None:
    """All rows that are written, in the one global order, for all connections at once."""
    if not parts:
        return
    shop_id = parts[0].shop_id
    orders = {order_id for part in parts for order_id in part.parked_orders}
    orders |= {row["order_id"] for part in parts for row in part.lines if row["id"] in part.line_skus}
    fetch(
        conn,
        "select 1 from orders where shop_id = %(shop)s and id = any(%(ids)b::int8[]) order by id for update",
        shop=shop_id,
        ids=sorted(orders),
    )
    hold_compositions(conn, shop_id)
    skus = {sku_id for part in parts for sku_id in part.sku_ids}
    codes = _codes(conn, shop_id, skus)
    named = {row["channel_ref"] for part in parts for row in part.listings}
    effects.lock_levels_of(conn, parts[0].channel, orders, named, set(codes.values()) | _parked_codes(conn, parts))
    pools = {sku for found in parts_of(conn, shop_id, skus).values() for sku, _ in found}
    places: set[tuple[int, str, str]] = {
        (part.channel.connection_id, row["inventory_ref"] or row["channel_ref"], row["channel_location_ref"])
        for part in parts
        for row in part.listings
    }
    _lock_listings(conn, shop_id, skus | pools, orders, places)


def _parked_codes(conn: Connection, parts: Sequence[_Part]) -> set[str]:
    """Codes of the SKUs that parked lines may turn out to be."""
    rows = fetch(
        conn,
        """
        select distinct code from order_lines
        where shop_id = %(shop)s and mapping = 'unmapped' and order_id = any(%(ids)b::int8[]) and code is not null
        """,
        shop=parts[0].shop_id,
        ids=sorted(order_id for part in parts for order_id in part.parked_orders),
    )
    return {row["code"] for row in rows}


def _lock_listings(
    conn: Connection, shop_id: int, skus: set[int], orders: set[int], places: set[tuple[int, str, str]]
) -> None:
    """In one statement, by id: connection by connection would be another order."""
    ordered = sorted(places)
    fetch(
        conn,
        """
        select 1 from listings l
        where l.shop_id = %(shop)s and l.id = any(array(
            select id from listings where shop_id = %(shop)s and sku_id = any(%(skus)b::int8[])
            union all
            select n.id from bundle_parts b join listings n on n.shop_id = b.shop_id and n.sku_id = b.bundle_sku_id
            where b.shop_id = %(shop)s and b.part_sku_id = any(%(skus)b::int8[])
            union all
            select listing_id from order_lines where shop_id = %(shop)s and order_id = any(%(orders)b::int8[])
            union all
            select n.id from unnest(%(connections)b::int8[], %(items)b::text[], %(refs)b::text[]) as p (id, item, place)
            join listings n on n.shop_id = %(shop)s and n.connection_id = p.id and n.inventory_ref = p.item
                and n.channel_location_ref = p.place))
        order by l.id for no key update
        """,
        shop=shop_id,
        skus=sorted(skus),
        orders=sorted(orders),
        connections=[connection_id for connection_id, _, _ in ordered],
        items=[item for _, item, _ in ordered],
        refs=[place for _, _, place in ordered],
    )


def _refuse_open_writes(conn: Connection, part: _Part) -> None:
    rows = fetch(
        conn,
        """
        select w.id as write_id, w.listing_id, l.channel_ref, w.to_units,
            greatest(w.deadline_at, w.next_check_at) as over_at
        from listing_writes w join listings l on l.shop_id = w.shop_id and l.id = w.listing_id
        where w.shop_id = %(shop)s and w.listing_id = any(%(ids)b::int8[]) and w.outcome is null order by w.id
        """,
        shop=part.shop_id,
        ids=[row["id"] for row in part.changed if row["sku_id"] is not None],
    )
    if rows:
        raise WriteStillOpen([OpenWrite(**row) for row in rows])


# --- what is written -------------------------------------------------------------------------------------------------


def _take_effect(conn: Connection, part: _Part, codes: Mapping[int, str], now: datetime) -> None:
    lines = {row["id"]: row for row in part.lines if row["id"] in part.line_skus}
    seen = {line_id: _seen(row, codes, part.line_skus[line_id]) for line_id, row in lines.items()}
    moving = {line_id: part.line_skus[line_id] for line_id, line in seen.items() if not line.why}
    part.outcome.moving += [line for line in seen.values() if not line.why]
    part.outcome.staying += [line for line in seen.values() if line.why]
    _map_listings(conn, part)
    released = promises.release(conn, part.shop_id, moving, now)
    late = operations.map_parked_lines(conn, part.channel)
    _count_late(conn, part, late)
    orders = set(late.values()) | {lines[line_id]["order_id"] for line_id in moving}
    settled = effects.settle_effects(conn, part.channel, orders, now)
    followed = effects.exposure_of_lines(conn, part.shop_id, late)
    policies.apply_to_skus(conn, part.shop_id, {sku_id for sku_id in part.new_skus.values() if sku_id is not None})
    part.outcome.publishing_begun += _switch_publishing(conn, part)
    changed = set(settled.sku_ids) | set(released.sku_ids) | part.sku_ids
    inventory.refresh_desired(conn, part.shop_id, changed, followed, now=now, are_locked=True)
    kinds: dict[int, OrderKind] = dict.fromkeys(orders, "order_changed")
    # Only now are they booked, whatever happened to them since.
    kinds.update(dict.fromkeys(late.values(), "order_booked"))
    changes.record_orders(conn, part.shop_id, part.channel.connection_id, kinds, _together(released, settled), now)
    part.outcome.released_messages += inbox.release_waiting(
        conn,
        part.shop_id,
        part.channel.connection_id,
        [f"item:{row['inventory_ref']}" for row in part.changed if row["inventory_ref"]],
    )


def _seen(row: RowMapping, codes: Mapping[int, str], new: int) -> LineSeen:
    return LineSeen(
        row["id"],
        row["order_id"],
        row["name"],
        codes[row["sku_id"]],
        codes[new],
        row["units"],
        row["held_units"],
        row["shipped_units"],
        _why_it_stays(row),
    )


def _map_listings(conn: Connection, part: _Part) -> None:
    changed = part.changed
    execute(
        conn,
        """
        update listings l set sku_id = n.sku_id, publishing_reason = case
                when n.sku_id is null then %(not_ours)s
                when not l.is_tracked then %(not_tracked)s
                when l.publishing = 'off' then %(not_taken)s
                else l.publishing_reason end
        from unnest(%(ids)b::int8[], %(skus)b::int8[]) as n (id, sku_id)
        where l.shop_id = %(shop)s and l.id = n.id
        """,
        shop=part.shop_id,
        ids=[row["id"] for row in changed],
        skus=[part.new_skus[row["id"]] for row in changed],
        not_ours=matching.NOT_OURS,
        not_tracked=matching.NOT_TRACKED,
        not_taken=matching.NOT_TAKEN_OVER,
    )


def _switch_publishing(conn: Connection, part: _Part) -> int:
    """What has come to a SKU without a number of ours is written no more; what had none and has one now, is.

    Only listings that were taken over: of others nobody knows what they show.
    """
    ids = [row["id"] for row in part.changed if row["sku_id"] is not None]
    if not ids:
        return 0
    execute(
        conn,
        """
        update listings l set publishing = 'off',
            publishing_reason = case when s.is_stocked then %(not_taken)s else %(no_stock)s end
        from skus s
        where l.shop_id = %(shop)s and l.id = any(%(ids)b::int8[]) and l.publishing = 'on'
            and s.shop_id = l.shop_id and s.id = l.sku_id
            and not (s.is_stocked and (exists (select from stock_levels k where k.shop_id = l.shop_id
                    and k.sku_id = l.sku_id and k.location_id = l.location_id and not k.is_placeholder)
                or exists (select from bundle_parts b join stock_levels k on k.shop_id = b.shop_id
                        and k.sku_id = b.part_sku_id and k.location_id = l.location_id
                    where b.shop_id = l.shop_id and b.bundle_sku_id = l.sku_id and not k.is_placeholder)))
        """,
        shop=part.shop_id,
        ids=ids,
        not_taken=matching.NOT_TAKEN_OVER,
        no_stock="its SKU has no stock by nature",
    )
    known = [row["id"] for row in part.changed if row["sku_id"] is not None and row["baseline_at"] is not None]
    return catalog.begin_publishing(conn, part.shop_id, part.channel.connection_id, known)


def _count_late(conn: Connection, part: _Part, late: Mapping[int, int]) -> None:
    (row,) = fetch(
        conn,
        """
        select count(*) filter (where sku_id is not null) as booked, count(*) filter (where sku_id is null) as aside
        from order_lines where shop_id = %(shop)s and id = any(%(ids)b::int8[])
        """,
        shop=part.shop_id,
        ids=sorted(late),
    )
    part.outcome.lines_booked += row["booked"]
    part.outcome.lines_set_aside += row["aside"]


def _together(*some: Effects) -> Effects:
    """Effects on the same pools by the same orders, added up: what is given up and taken again at once is none."""
    summed: dict[tuple[int, int, int], int] = {}
    undone: dict[tuple[int, int, int], bool] = {}
    for each in some:
        columns = (each.sources, each.sku_ids, each.location_ids, each.delta_units, each.undone)
        for source, sku_id, location_id, delta, is_undone in zip(*columns, strict=True):
            key = (source, sku_id, location_id)
            summed[key] = summed.get(key, 0) + delta
            undone[key] = is_undone
    kept = [key for key, delta in summed.items() if delta]
    return Effects(
        [source for source, _, _ in kept],
        [sku_id for _, sku_id, _ in kept],
        [location_id for _, _, location_id in kept],
        [summed[key] for key in kept],
        [undone[key] for key in kept],
    )


# --- what it came to -------------------------------------------------------------------------------------------------


def _codes(conn: Connection, shop_id: int, sku_ids: Iterable[int]) -> dict[int, str]:
    rows = fetch(
        conn,
        "select id, code from skus where shop_id = %(shop)s and id = any(%(ids)b::int8[])",
        shop=shop_id,
        ids=sorted(sku_ids),
    )
    return {row["id"]: row["code"] for row in rows}


def _pools(conn: Connection, shop_id: int, parts: Sequence[_Part]) -> dict[tuple[int, int], RowMapping]:
    """What is available and exposed of each pool concerned, by (SKU with stock of its own, location)."""
    skus = {sku_id for part in parts for sku_id in part.sku_ids}
    places = {row["location_id"] for part in parts for row in part.changed if row["location_id"] is not None}
    places |= {part.channel.location_id for part in parts if part.line_skus and part.channel.location_id is not None}
    rows = fetch(
        conn,
        """
        select s.id as sku_id, s.code, p.id as location_id, p.name as location, coalesce(k.available, 0) as available,
            pool_exposed_units(%(shop)s, s.id, p.id) as exposed
        from skus s join locations p on p.shop_id = s.shop_id and p.id = any(%(places)b::int8[])
        left join stock_levels k on k.shop_id = s.shop_id and k.sku_id = s.id and k.location_id = p.id
        where s.shop_id = %(shop)s and s.id = any(%(skus)b::int8[]) and s.is_stocked
        order by s.code, p.name
        """,
        shop=shop_id,
        skus=sorted({sku for found in parts_of(conn, shop_id, skus).values() for sku, _ in found}),
        places=sorted(places),
    )
    return {(row["sku_id"], row["location_id"]): row for row in rows}


def _tell(
    conn: Connection,
    shop_id: int,
    parts: Sequence[_Part],
    codes: Mapping[int, str],
    before: Mapping[tuple[int, int], RowMapping],
) -> None:
    """Fill the outcome in with what listings and pools came to."""
    after = _pools(conn, shop_id, parts)
    for part in parts:
        now = {
            row["id"]: row
            for row in fetch(
                conn,
                """
                select id, desired_units, publishing from listings
                where shop_id = %(shop)s and id = any(%(ids)b::int8[])
                """,
                shop=shop_id,
                ids=[row["id"] for row in part.changed],
            )
        }
        part.outcome.listings += [_listing_seen(part, row, now[row["id"]], codes) for row in part.changed]
    if parts:
        parts[0].outcome.pools += [
            PoolSeen(
                sku_id,
                row["code"],
                place,
                row["location"],
                before[sku_id, place]["available"],
                row["available"],
                before[sku_id, place]["exposed"],
                row["exposed"],
            )
            for (sku_id, place), row in after.items()
        ]


def _listing_seen(part: _Part, row: RowMapping, now: RowMapping, codes: Mapping[int, str]) -> ListingSeen:
    new = part.new_skus[row["id"]]
    seen = ListingSeen(
        listing_id=row["id"],
        connection=part.connection,
        channel_ref=row["channel_ref"],
        location=row["location"],
        from_code=None if row["sku_id"] is None else codes[row["sku_id"]],
        to_code=None if new is None else codes[new],
        published_units=row["published_units"],
        exposed_units=row["exposed_units"],
        desired_before=row["desired_units"],
        desired_after=now["desired_units"],
        publishing_before=row["publishing"] == "on",
        publishing_after=now["publishing"] == "on",
    )
    # What is not written should show nothing that anybody knows of.
    return seen if seen.publishing_after else replace(seen, desired_after=None)
