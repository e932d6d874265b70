"""How answers take effect, in sets: mappings, listings, parked lines, promises, exposure; all or nothing.

One way for mapping, remapping, setting aside and files. Everything is read under the identities' own lock, then rows
are locked in the one global order (orders, compositions, levels, listings), then written. A preview is taken back.

A line moves with its listing while nothing of it has been shipped, cancelled, refunded or taken back: its promise is
ended where it was and kept on record, and made anew of the other SKU. What has happened to other lines stays a fact.
A listing moves with all that it exposes: the pool that it joins has to cover it from then on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.audit import Actor
from core.catalog import matching
from core.catalog import operations as catalog
from core.db import execute, fetch
from core.errors import Anticipated
from core.identity import promises
from core.identity.concerned import Part, Source, begin, find_lines, see_lines_again, why_it_stays
from core.identity.outcomes import Answer, LineSeen, OpenWrite, Outcome
from core.identity.telling import codes_of, pools_of, tell
from core.inventory import lines as escrow_lines
from core.inventory import operations as inventory
from core.inventory.operations import hold_compositions
from core.inventory.queries import parts_of
from core.messaging import changes, inbox
from core.messaging.changes import Effects, OrderKind
from core.orders import effects, operations
from core.policies import operations as policies


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
            f"nothing was changed: write {first.write_id} of {first.to_units:,} is on its way to"
            f" {first.channel_ref}{more}. It is over, or looked at again, at {max(w.over_at for w in writes):%H:%M:%S}"
            " UTC: try again then"
        )


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

    Without `may_move` nothing that has a SKU gets another one. Raises AlreadyMapped, NotToBeSetAside, LinesChanged,
    WriteStillOpen.
    """
    outcome = Outcome()
    by_connection: dict[int, list[Answer]] = {}
    for answer in sorted(answers, key=lambda each: each.identifier):
        by_connection.setdefault(answer.identifier.connection_id, []).append(answer)
    own(conn, shop_id, by_connection)
    parts = [begin(conn, shop_id, key, some, source, actor, now, outcome) for key, some in by_connection.items()]
    parts = [part for part in parts if part.answers]
    codes = codes_of(conn, shop_id, {sku_id for part in parts for sku_id in part.sku_ids})
    for part in parts:
        _refuse(part, codes, may_move)
        find_lines(conn, part)
    _lock(conn, parts)
    for part in parts:
        see_lines_again(conn, part)
        _refuse_open_writes(conn, part)
    before = pools_of(conn, shop_id, parts)
    for part in parts:
        _take_effect(conn, part, codes, now)
    moved = {sku_id for part in parts for sku_id in part.sku_ids}
    escrow_lines.draw_lines(
        conn, shop_id, {sku for found in parts_of(conn, shop_id, moved).values() for sku, _ in found}
    )
    tell(conn, shop_id, parts, codes, before)
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


def _refuse(part: Part, codes: Mapping[int, str], may_move: bool) -> None:
    away = [row for row in part.changed if row["sku_id"] is not None]
    said = [f"{row['channel_ref']} on {part.connection} is {codes[row['sku_id']]}'s" for row in away]
    if lost := [text for text, row in zip(said, away, strict=True) if part.new_skus[row["id"]] is None]:
        raise NotToBeSetAside(lost)
    if said and not may_move:
        raise AlreadyMapped(said)


# --- locks -----------------------------------------------------------------------------------------------------------


def _lock(conn: Connection, parts: Sequence[Part]) -> None:
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
    codes = codes_of(conn, shop_id, skus)
    named = {row["channel_ref"] for part in parts for row in part.listings}
    effects.lock_levels_of(conn, parts[0].channel, orders, named, set(codes.values()) | _parked_codes(conn, parts))
    pools = {sku for found in parts_of(conn, shop_id, skus).values() for sku, _ in found}
    places: set[tuple[int, str, str]] = {
        (part.channel.connection_id, row["inventory_ref"] or row["channel_ref"], row["channel_location_ref"])
        for part in parts
        for row in part.listings
    }
    _lock_listings(conn, shop_id, skus | pools, orders, places)


def _parked_codes(conn: Connection, parts: Sequence[Part]) -> set[str]:
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


def _refuse_open_writes(conn: Connection, part: Part) -> None:
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


def _take_effect(conn: Connection, part: Part, codes: Mapping[int, str], now: datetime) -> None:
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
        why_it_stays(row),
    )


def _map_listings(conn: Connection, part: Part) -> None:
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


def _switch_publishing(conn: Connection, part: Part) -> int:
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


def _count_late(conn: Connection, part: Part, late: Mapping[int, int]) -> None:
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
