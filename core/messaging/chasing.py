"""How changes stand: which channels have followed, which refuse, and which hang and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.db import fetch
from core.messaging.changes import close

FINAL = (
    "COMPARE_QUANTITY_REQUIRED",
    "DUPLICATE_PAIR",
    "INVALID",
    "INVALID_INVENTORY_ITEM",
    "INVALID_LOCATION",
    "INVALID_NAME",
    "INVALID_QUANTITY_NEGATIVE",
    "INVALID_QUANTITY_TOO_HIGH",
    "INVALID_QUANTITY_TOO_LOW",
    "INVALID_REASON",
    "INVALID_REFERENCE_DOCUMENT",
    "NON_MUTABLE_INVENTORY_ITEM",
    "NOT_STOCKED_AT_LOCATION",
    "NO_DUPLICATE_INVENTORY_ITEM_ID_GROUP_ID_PAIR",
    "NO_INVENTORY_REF",
    "QUANTITY_OUT_OF_RANGE",
)
"""What is said of a number, its item or its place: sent again as it stands it is refused again.

So are Amazon's complaints about a listing, which are numbers. Everything else passes by itself or by somebody's doing
(a token, a frozen shop, a quota, a neighbour in the same call): such a leg stays open, and says why once it is late.
"""

AT_ONCE = 2000
"""Legs settled in one unit of work."""


@dataclass(frozen=True, slots=True)
class Chased:
    """What one look came to: legs by what became of them, and changes that are done."""

    confirmed: int = 0
    refused: int = 0
    compensated: int = 0
    stuck: int = 0
    done: int = 0

    @property
    def legs(self) -> int:
        """How many had something become of them."""
        return self.confirmed + self.refused + self.compensated + self.stuck


def shops_with_open_legs(conn: Connection) -> list[int]:
    """Shops in which something is to be chased."""
    rows = fetch(
        conn,
        "select s.shop_id from shops s where exists (select from change_legs g where g.shop_id = s.shop_id"
        " and g.state in ('open', 'stuck')) order by 1",
    )
    return [row["shop_id"] for row in rows]


def chase(conn: Connection, shop_id: int, now: datetime) -> Chased:
    """Look where the open legs of a shop stand, and write down what has become of at most AT_ONCE of them.

    What is found is true of one moment, and stays true: a number that was confirmed, or a deadline that has passed. So
    two that chase at once do no harm: a leg ends once, whoever comes first, and changes are locked before their legs.
    """
    found = fetch(conn, _VERDICTS, shop=shop_id, now=now, limit=AT_ONCE, final=list(FINAL))
    if not found:
        return Chased()
    change_ids = {row["change_id"] for row in found}
    fetch(
        conn,
        "select 1 from changes where shop_id = %(shop)s and id = any(%(ids)b::int8[]) order by id for no key update",
        shop=shop_id,
        ids=sorted(change_ids),
    )
    became = _write_down(conn, shop_id, found, now)
    counts = {state: sum(row["state"] == state for row in became) for state in ENDS}
    return Chased(**counts, done=close(conn, shop_id, change_ids, now))


ENDS = ("confirmed", "refused", "compensated", "stuck")


def _write_down(conn: Connection, shop_id: int, found: Sequence[RowMapping], now: datetime) -> Sequence[RowMapping]:
    return fetch(
        conn,
        """
        update change_legs g set state = n.state, reason = n.reason, detail = n.detail,
            stuck_at = coalesce(g.stuck_at, case when n.state = 'stuck' then %(now)s::timestamptz end),
            ended_at = n.ended_at, write_id = n.write_id, seen_at = n.seen_at
        from unnest(%(changes)b::int8[], %(connections)b::int8[], %(skus)b::int8[], %(places)b::int8[],
            %(states)b::text[], %(reasons)b::text[], %(details)b::text[], %(ends)b::timestamptz[], %(writes)b::int8[],
            %(seen)b::timestamptz[])
            as n (change_id, connection_id, sku_id, location_id, state, reason, detail, ended_at, write_id, seen_at)
        where g.shop_id = %(shop)s and g.change_id = n.change_id and g.connection_id = n.connection_id
            and g.sku_id = n.sku_id and g.location_id = n.location_id and g.state in ('open', 'stuck')
        returning g.state
        """,
        shop=shop_id,
        now=now,
        changes=[row["change_id"] for row in found],
        connections=[row["connection_id"] for row in found],
        skus=[row["sku_id"] for row in found],
        places=[row["location_id"] for row in found],
        states=[row["state"] for row in found],
        reasons=[row["reason"] for row in found],
        details=[row["detail"] for row in found],
        ends=[row["ended_at"] for row in found],
        writes=[row["write_id"] for row in found],
        seen=[row["seen_at"] for row in found],
    )


# Every pool of a connection with open legs is looked at once, whatever the number of legs. Of each listing that takes
# from it: whether it is in step, the newest write that was confirmed, and, where it is not, what stands in the way.
# A leg is reached when each of them is in step or has had a number confirmed that was planned after the change.
_VERDICTS = """
    with leg as materialized (
        select g.change_id, g.connection_id, g.sku_id, g.location_id, g.after_write_id, g.deadline_at, g.state,
            g.reason, g.detail, c.recorded_at
        from change_legs g join changes c on c.shop_id = g.shop_id and c.id = g.change_id
        where g.shop_id = %(shop)s and g.state in ('open', 'stuck')
    ), pool as materialized (
        select connection_id, sku_id, location_id, min(after_write_id) as after_id from leg group by 1, 2, 3
    ), taker as materialized (
        select p.*, l.id from pool p
        join listings l on l.shop_id = %(shop)s and l.sku_id = p.sku_id and l.location_id = p.location_id
            and l.connection_id = p.connection_id
        where l.publishing = 'on'
        union all
        select p.*, l.id from pool p
        join bundle_parts b on b.shop_id = %(shop)s and b.part_sku_id = p.sku_id
        join listings l on l.shop_id = %(shop)s and l.sku_id = b.bundle_sku_id and l.location_id = p.location_id
            and l.connection_id = p.connection_id
        where l.publishing = 'on'
    ), listing as materialized (
        select t.connection_id, t.sku_id, t.location_id, l.published_at, l.push_problem, l.unseen_units,
            -- One that the next may overtake stands in nobody's way while there is no next.
            (open.id is null or may_be_overtaken(l.shop_id, open.id)) and l.unseen_units = 0
                and not listing_differs(l.desired_units - l.short_units, l.published_units) as in_step,
            (select max(w.id) from listing_writes w where w.shop_id = l.shop_id and w.listing_id = l.id
                and w.id > t.after_id and w.outcome = 'confirmed') as confirmed_id,
            open.id as open_id, open.doubt, open.sent_at,
            case when last.outcome = 'refused' and l.push_problem is not null and open.id is null
                and (last.outcome_code = any(%(final)b::text[]) or last.outcome_code ~ '^[0-9]{4,}$')
                then last.id end as refused_id
        from taker t
        join listings l on l.shop_id = %(shop)s and l.id = t.id
        left join lateral (
            select w.id, w.doubt, w.sent_at from listing_writes w
            where w.shop_id = l.shop_id and w.listing_id = l.id and w.outcome is null
        ) open on true
        left join lateral (
            select w.id, w.outcome, w.outcome_code from listing_writes w
            where w.shop_id = l.shop_id and w.listing_id = l.id order by w.id desc limit 1
        ) last on true
    ), standing as (
        select i.connection_id, i.sku_id, i.location_id, bool_and(i.in_step) as in_step,
            min(coalesce(i.confirmed_id, 0)) filter (where not i.in_step) as lagging_id,
            max(i.confirmed_id) as confirmed_id, max(i.published_at) as seen_at,
            max(i.refused_id) filter (where not i.in_step) as refused_id,
            max(i.push_problem) filter (where i.refused_id is not null) as refusal,
            bool_or(i.doubt is not null) as has_doubt, max(i.doubt) as doubt,
            bool_or(i.sent_at is not null) as is_sent, bool_or(i.open_id is not null) as has_open,
            max(i.push_problem) filter (where not i.in_step) as problem,
            bool_or(i.unseen_units <> 0) filter (where not i.in_step) as has_unseen
        from listing i group by 1, 2, 3
    ), way as (
        select n.id as connection_id, n.clock_margin, n.state = 'paused' as is_paused,
            n.write_mode = 'shadow' as is_shadow,
            (select s.reason from write_stops s where s.shop_id = n.shop_id and s.ended_at is null
                and coalesce(s.connection_id, n.id) = n.id order by s.id limit 1) as stopped
        from connections n where n.shop_id = %(shop)s
    ), verdict as (
        select g.*, w.id as write_id, w.outcome_at, s.seen_at as last_seen_at,
            s.in_step, s.refusal,
            case
                when s.connection_id is null then 'compensated'
                when coalesce(s.lagging_id, g.after_write_id + 1) > g.after_write_id
                    and (s.confirmed_id > g.after_write_id or s.seen_at > g.recorded_at + way.clock_margin)
                    and (s.in_step or s.confirmed_id > g.after_write_id) then 'confirmed'
                when s.in_step then 'compensated'
                when s.refused_id > g.after_write_id then 'refused'
                when g.deadline_at <= %(now)s then 'stuck'
            end as becomes,
            case
                when s.connection_id is null then 'not_listed'
                when s.in_step then 'not_needed'
                when s.refused_id > g.after_write_id then 'refused'
                when way.stopped is not null then 'stopped'
                when way.is_paused then 'paused'
                when way.is_shadow then 'shadow'
                when s.has_doubt then 'in_doubt'
                when s.is_sent then 'not_answered'
                when s.problem ~* 'throttled|quota' then 'throttled'
                when s.problem is not null then 'not_sent'
                when s.has_unseen then 'unexplained'
                when k.is_escrow then 'escrow'
                when s.has_open then 'not_answered'
                else 'not_planned'
            end as why,
            case
                when s.refused_id > g.after_write_id and not s.in_step then s.refusal
                when way.stopped is not null then way.stopped
                when s.has_doubt then s.doubt
                else s.problem
            end as what
        from leg g
        join way on way.connection_id = g.connection_id
        left join standing s
            on s.connection_id = g.connection_id and s.sku_id = g.sku_id and s.location_id = g.location_id
        left join stock_levels k on k.shop_id = %(shop)s and k.sku_id = g.sku_id and k.location_id = g.location_id
        left join listing_writes w on w.shop_id = %(shop)s and w.id = s.confirmed_id and w.id > g.after_write_id
    )
    select change_id, connection_id, sku_id, location_id, becomes as state,
        case when becomes <> 'confirmed' then why end as reason,
        case when becomes in ('refused', 'stuck') then what end as detail,
        case when becomes = 'confirmed' then coalesce(outcome_at, %(now)s) when becomes <> 'stuck' then %(now)s end
            as ended_at,
        case when becomes = 'confirmed' then write_id end as write_id,
        case when becomes = 'confirmed' and write_id is null then last_seen_at end as seen_at
    from verdict
    where becomes <> 'stuck'
        or becomes = 'stuck' and (state = 'open' or (reason, detail) is distinct from (why, what))
    order by change_id, connection_id, sku_id, location_id
    limit %(limit)s
"""


def list_legs(
    conn: Connection,
    shop_id: int,
    *,
    only_stuck: bool = False,
    order: str | None = None,
    before_id: int | None = None,
    limit: int = 20,
) -> Sequence[RowMapping]:
    """Legs that have not ended, the newest change first; of one `order` (its name, or the channel's number) all."""
    return fetch(
        conn,
        """
        select change_id, kind, order_id, order_name, document_id, document_kind, recorded_at, connection, code,
            location, delta_units, deadline_at, state, reason, detail, stuck_at, ended_at
        from change_leg_list
        where shop_id = %(shop)s and (%(before)s::int8 is null or change_id < %(before)s)
            and case when %(order)s::text is null then state in ('open', 'stuck') else order_id in (
                select o.id from orders o where o.shop_id = %(shop)s
                    and (o.name in (%(order)s, '#' || %(order)s) or o.channel_ref = %(order)s)) end
            and (not %(stuck)s or state = 'stuck')
        order by change_id desc, connection, code limit %(limit)s
        """,
        shop=shop_id,
        before=before_id,
        order=order,
        stuck=only_stuck,
        limit=limit,
    )
