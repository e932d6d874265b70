"""What was read against what we know, as one set: found, classified, recorded; then believed, page by page.

Recording comes first: what a channel changed by itself must not be taken for an edit, and written over, before it is on
record that it waits. Believing goes the way of every observation (`core.catalog.operations.observe_levels`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from core.catalog import operations as catalog
from core.db import execute, fetch, fetch_one, scalar
from core.ports import LevelObservation
from core.reconciliation.queries import FACTS, cause_of
from core.reconciliation.runs import Reading, check_open

BELIEVED_AT_ONCE = 500
"""Observations believed in one unit of work: what a booking of one of them may have to wait for."""

COMPARE_SECONDS = 900
"""A million listings take seconds; a server that is busy may take its time."""

MEMORY = "64MB"
"""What the server may take for each step before it goes on on disk: the same for any number of listings."""

BY = "comparison"


@dataclass(frozen=True, slots=True)
class Compared:
    """How many listings were compared, how many differ, and how many discrepancies ended because they are gone."""

    compared: int
    found: int
    resolved: int


def compare(conn: Connection, reading: Reading, now: datetime) -> Compared:
    """Hold everything that a run has read against what we know, and record what differs, with its cause.

    What was found before and is gone is resolved: only of listings that this run really read. Safe to repeat. Raises
    Stopped for a run that has ended.
    """
    found = _record(conn, reading, _DIFFERENT, now)
    resolved = _close_gone(conn, reading, now)
    compared = scalar(
        conn,
        """
        update reconciliation_runs set compared = observed, found = %(found)s, resolved = resolved + %(resolved)s
        where shop_id = %(shop)s and id = %(id)s returning compared
        """,
        shop=reading.shop_id,
        id=reading.id,
        found=found,
        resolved=resolved,
    )
    return Compared(compared, found, resolved)


def find_faults(conn: Connection, reading: Reading, now: datetime) -> int:
    """Record listings that stand for other goods than they say, by what we know ourselves; returns how many.

    The channel's code is that of another SKU of ours, or the same SKU is listed twice at one place; unless a person
    said so. Before `compare`, which resolves what is no fault any more. Safe to repeat. Raises Stopped as that does.
    """
    return _record(conn, reading, _AT_FAULT, now)


def _record(conn: Connection, reading: Reading, suspects: str, now: datetime) -> int:
    where = {
        "shop": reading.shop_id,
        "run": reading.id,
        "connection": reading.connection_id,
        "sku": reading.sku_id,
    }
    execute(conn, f"set local statement_timeout = {COMPARE_SECONDS * 1000}")
    execute(conn, f"set local work_mem = '{MEMORY}'")
    # Few rows come of it, which the server cannot know: its workers are to share the join all the same. That is also
    # why it makes a table of its own, instead of being part of the statement that records.
    execute(conn, "set local parallel_tuple_cost = 0")
    execute(conn, "drop table if exists pg_temp.reconciliation_suspects")
    execute(conn, f"create temporary table reconciliation_suspects on commit drop as {suspects}", **where)
    execute(conn, "set local parallel_tuple_cost to default")
    row = fetch_one(conn, f"{_FOUND} {_RECORD}", **where, now=now, by=BY)
    assert row is not None
    # After it: ended meanwhile, what was staged may have gone between two statements.
    check_open(conn, reading)
    return int(row["found"])


# Listings that we write beside what was read of them: the only look at all of them, as plain as it can be.
_OURS = """
    l.shop_id = %(shop)s and l.connection_id = %(connection)s and l.publishing = 'on'
    and (%(sku)s::int8 is null or l.sku_id = %(sku)s)
"""
_DIFFERENT = f"""
    select l.id, false as is_doubled from listings l
    left join reconciliation_observations o on o.shop_id = %(shop)s and o.run_id = %(run)s
        and o.inventory_ref = l.inventory_ref and o.location_ref = l.channel_location_ref
    where {_OURS} and (o.units is distinct from l.published_units or o.code <> l.channel_code)
"""

# What we know ourselves to be doubtful of what listings stand for: the code of another SKU, or the same SKU twice at
# one place.
_AT_FAULT = f"""
    select l.id, false as is_doubled from listings l
    join skus k on k.shop_id = %(shop)s and k.id = l.sku_id
    where {_OURS} and l.channel_code <> k.code
    union all
    select twin.id, true from (
        select l.sku_id, l.channel_location_ref as place from listings l where {_OURS} group by 1, 2
        having count(*) > 1 offset 0
    ) doubled
    cross join lateral (
        select l.id from listings l
        where {_OURS} and l.sku_id = doubled.sku_id and l.channel_location_ref = doubled.place offset 0
    ) twin
"""

# Only what may be at fault is looked at any closer. A code that another of our SKUs bears points there, unless a person
# said what the listing stands for.
_FOUND = f"""
with c as materialized (
    select id, reads_orders, watermark_at, clock_margin from connections
    where shop_id = %(shop)s and id = %(connection)s
), suspect as materialized (
    select id, bool_or(is_doubled) as is_doubled from (
        select id, is_doubled from reconciliation_suspects
        union all
        select w.listing_id, false from listing_writes w
        join listings l on l.shop_id = w.shop_id and l.id = w.listing_id
        where {_OURS} and w.shop_id = %(shop)s and w.connection_id = %(connection)s and w.outcome is null
            and w.doubt is not null
    ) found group by id
), sight as (
    select l.id, l.shop_id, l.sku_id, l.channel_ref, l.title, l.channel_location_ref,
        o.run_id is not null as is_found, o.units as shown_units,
        l.published_units - l.unseen_units as accounted_units,
        coalesce(o.observed_at < greatest(l.published_at, l.followed_at), false) as is_older,
        (s.is_doubled or other.code is not null) and not exists (
            select from sku_identifiers i where i.shop_id = l.shop_id and i.connection_id = l.connection_id
                and i.kind = 'variant' and i.value = l.channel_ref and i.ended_at is null
                and i.source <> 'automatic') as points_elsewhere,
        other.code as other_code, w.id as write_id, w.id is not null as is_open, w.from_units as open_from,
        w.to_units as open_to, w.doubt is not null as is_doubted, late.units as landing_max,
        last.from_units as last_from, last.to_units as last_to, coalesce(back.units, 0) as restocked_units,
        not c.reads_orders or coalesce(c.watermark_at >= o.observed_at + c.clock_margin, false) as is_passed,
        l.desired_units - l.short_units as wanted
    from suspect s
    cross join c
    join reconciliation_runs r on r.shop_id = %(shop)s and r.id = %(run)s
    -- By its key: however many the server takes them for, they are few.
    join lateral (
        select * from listings l where l.shop_id = %(shop)s and l.id = s.id and l.id <= r.listings_until offset 0
    ) l on true
    left join reconciliation_observations o on o.shop_id = %(shop)s and o.run_id = %(run)s
        and o.inventory_ref = l.inventory_ref and o.location_ref = l.channel_location_ref
    left join lateral (
        select k.code from skus k where k.shop_id = %(shop)s and k.code = coalesce(o.code, l.channel_code)
            and k.id <> l.sku_id offset 0
    ) other on true
    {FACTS}
), found as materialized (
    select * from (select sight.*, {cause_of("sight")} as cause from sight) f where cause is not null
)
"""

_DETAIL = """
    case
        when f.cause = 'mapping' and not f.is_found then 'the channel does not tell of it any more'
        when f.cause = 'mapping' and f.other_code is not null and f.points_elsewhere
            then 'its code there is that of SKU ' || f.other_code
        when f.cause = 'mapping' and f.points_elsewhere then 'another listing shows the same SKU at the same place'
        when f.cause = 'mapping' then 'the channel does not count it any more'
        when f.is_doubted and f.cause = 'lost_write' then 'write ' || f.write_id
            || ' was accepted and does not show: say what the channel shows with `switchyard settle`'
    end
"""
_ASKED = """
    case when f.cause in ('in_flight', 'sale_unseen') then null
        when f.cause = 'mapping' or (f.is_doubted and f.cause = 'lost_write') then 'by_hand' else 'flagged' end
"""
# The same difference for the same cause is what it was: accepted, asked for another reason, or being corrected.
_SAME = "(d.cause = excluded.cause and d.theirs - d.ours is not distinct from excluded.theirs - excluded.ours)"

_RECORD = f"""
, before as (
    select d.id, d.cause, d.ours, d.theirs from discrepancies d
    where d.shop_id = %(shop)s and d.connection_id = %(connection)s and d.kind = 'stock' and d.state <> 'resolved'
), recorded as (
    insert into discrepancies as d (shop_id, kind, connection_id, subject_key, subject, listing_id, sku_id, ours,
        theirs, wanted, unit, cause, detail, action, asked_because, first_seen_at, last_seen_at, run_id)
    select f.shop_id, 'stock', %(connection)s, 'listing:' || f.id,
        jsonb_build_object('listing_id', f.id, 'ref', f.channel_ref, 'place', f.channel_location_ref),
        f.id, f.sku_id, f.accounted_units, f.shown_units, f.wanted, 'units', f.cause, {_DETAIL},
        case when {_ASKED} is null then 'waits' else 'asked' end, {_ASKED}, %(now)s, %(now)s, %(run)s
    from found f order by f.id
    on conflict (shop_id, kind, connection_id, subject_key) where state <> 'resolved' do update set
        ours = excluded.ours, theirs = excluded.theirs, cause = excluded.cause, detail = excluded.detail,
        wanted = case when {_SAME} then d.wanted else excluded.wanted end,
        last_seen_at = greatest(d.last_seen_at, excluded.last_seen_at),
        times_seen = d.times_seen + case when d.run_id is distinct from excluded.run_id then 1 else 0 end,
        run_id = excluded.run_id,
        state = case when {_SAME} then d.state else 'open' end,
        action = case when {_SAME} then d.action else excluded.action end,
        asked_because = case when {_SAME} then d.asked_because else excluded.asked_because end,
        reason = case when {_SAME} then d.reason end
        -- What a listing stands for goes before its number.
        where not (d.cause = 'mapping' and d.run_id is not distinct from excluded.run_id
            and excluded.cause <> 'mapping')
    returning d.id, d.cause, d.ours, d.theirs, d.detail
), noted as (
    insert into discrepancy_events (shop_id, discrepancy_id, at, what, cause, ours, theirs, who, words)
    select %(shop)s, n.id, %(now)s, case when b.id is null then 'seen' when b.cause <> n.cause then 'reclassified'
        else 'changed' end, n.cause, n.ours, n.theirs, %(by)s, n.detail
    from recorded n left join before b on b.id = n.id
    where b.id is null or (b.cause, b.ours, b.theirs) is distinct from (n.cause, n.ours, n.theirs)
    order by n.id
)
select count(*) as found from recorded
"""


def _close_gone(conn: Connection, reading: Reading, now: datetime) -> int:
    """Resolve what a run has read again and did not find: nothing of it differs, and nothing is unexplained."""
    return execute(
        conn,
        """
        with gone as (
            select d.id from discrepancies d
            join listings l on l.shop_id = d.shop_id and l.id = d.listing_id
            join reconciliation_observations o on o.shop_id = d.shop_id and o.run_id = %(run)s
                and o.inventory_ref = l.inventory_ref and o.location_ref = l.channel_location_ref
            where d.shop_id = %(shop)s and d.connection_id = %(connection)s and d.kind = 'stock'
                and d.state <> 'resolved' and d.run_id is distinct from %(run)s and d.action <> 'healed'
                and o.units = l.published_units and l.unseen_units = 0
            order by d.id for update of d
        ), closed as (
            update discrepancies d set state = 'resolved', resolved_at = %(now)s, resolved_by = %(by)s,
                resolved_because = 'gone', asked_because = null, action = case d.action when 'asked' then 'waits'
                    else d.action end
            from gone where d.shop_id = %(shop)s and d.id = gone.id
            returning d.id, d.cause, d.ours, d.theirs
        )
        insert into discrepancy_events (shop_id, discrepancy_id, at, what, cause, ours, theirs, who, words)
        select %(shop)s, id, %(now)s, 'resolved', cause, ours, theirs, %(by)s, 'gone' from closed order by id
        """,
        shop=reading.shop_id,
        connection=reading.connection_id,
        run=reading.id,
        now=now,
        by=BY,
    )


def believe(conn: Connection, reading: Reading, after_id: int, now: datetime) -> tuple[int, int] | None:
    """Believe a page of what differs, in the order of listings; returns the last listing and how many, None at the end.

    By the path of every observation, with its exposure. Each page is a unit of work; repeated, it changes nothing.
    Raises Stopped for a run that has ended.
    """
    check_open(conn, reading)
    rows = fetch(
        conn,
        """
        select d.listing_id, o.inventory_ref, o.location_ref, o.units, o.observed_at
        from discrepancies d
        join listings l on l.shop_id = d.shop_id and l.id = d.listing_id
        join reconciliation_observations o on o.shop_id = d.shop_id and o.run_id = %(run)s
            and o.inventory_ref = l.inventory_ref and o.location_ref = l.channel_location_ref
        where d.shop_id = %(shop)s and d.connection_id = %(connection)s and d.kind = 'stock'
            -- Those of before too, that are as we account for them by now.
            and d.state <> 'resolved' and d.listing_id > %(after)s
            and o.units is distinct from l.published_units and o.units is not null
        order by d.listing_id limit %(limit)s
        """,
        shop=reading.shop_id,
        connection=reading.connection_id,
        run=reading.id,
        after=after_id,
        limit=BELIEVED_AT_ONCE,
    )
    if not rows:
        return None
    seen = [
        LevelObservation(row["inventory_ref"], row["location_ref"], row["units"], row["observed_at"]) for row in rows
    ]
    catalog.observe_levels(conn, reading.shop_id, reading.connection_id, seen, now)
    return rows[-1]["listing_id"], len(rows)
