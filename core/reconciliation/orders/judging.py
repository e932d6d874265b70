"""Orders and refunds of a channel held against ours: what differs, why, and what becomes of it. In sets, by pages.

What is on its way is no difference: the channel's version is younger than what polls have read, ours is younger than
the page, or a message of the inbox that will be handled by itself speaks of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection

from core.db import fetch, scalar
from core.reconciliation import deciding
from core.reconciliation.orders.staging import Reading

OrderCause = Literal[
    "missing_here", "missing_there", "cancelled_there", "cancelled_here", "units", "lines", "amount", "parked"
]
RefundCause = Literal["refund_missing_here", "refund_missing_there", "refund_amount", "parked"]

HEALS = ("missing_here", "refund_missing_here")
"""What heals by itself, by reading the order once more: the rest is for a person to decide."""

CORRECTIONS_MAX = 3
"""So often one order is read again by itself; what it does not help then, it never will."""

PAGE = 5_000

_SAME = "(d.cause, d.ours, d.theirs) is not distinct from (excluded.cause, excluded.ours, excluded.theirs)"

# What exactly differs, for whoever reads it without a screen; amounts stand beside it, in the row's own unit.
_DETAIL = """
    case m.cause
        when 'missing_here' then 'the channel has it, we do not, and nothing on its way speaks of it'
        when 'parked' then format('message %%s speaks of it and is parked', m.message_id)
        when 'missing_there' then 'we have it, and the channel says that there is no such order'
        when 'cancelled_there' then 'cancelled at the channel, not here'
        when 'cancelled_here' then 'cancelled here, not at the channel'
        when 'units' then format('%%s units here, %%s at the channel', m.our_units, m.units)
        when 'lines' then format('%%s lines here, %%s at the channel', m.our_lines, m.lines)
        when 'amount' then case when m.currency <> m.our_currency
            then format('in %%s here, in %%s at the channel', m.our_currency, m.currency)
            else 'its total is another one' end
        when 'refund_amount' then 'its refunds come to another sum'
        else format('%%s refunds here, %%s at the channel', m.our_refunds, m.refunds)
    end
"""

# What one order of the channel comes to beside ours. Vendors stamp whole seconds, and a version is moved within its
# second by when it was read: within one second nobody can say which is the younger.
_JUDGED = """
    theirs as materialized (
        select s.shop_id, s.run_id, s.channel_ref, s.is_there, s.name, s.version_at, s.placed_at, s.is_cancelled,
            s.lines, s.units, s.total_minor, s.currency, s.refunds, s.refunded_minor, s.message_id, s.message_state
        from staged_orders s
        where s.shop_id = %(shop)s and s.run_id = %(run)s and s.channel_ref > %(after)s and {which}
        order by s.channel_ref limit %(limit)s
    ), beside as (
        select t.*, o.id as order_id, o.version_at as our_version_at, o.cancelled_at is not null as our_cancelled,
            o.total_minor as our_total_minor, o.currency as our_currency, coalesce(o.name, t.name) as order_name,
            coalesce(l.lines, 0)::int4 as our_lines, coalesce(l.units, 0)::int8 as our_units,
            coalesce(r.refunds, 0)::int4 as our_refunds, coalesce(r.refunded_minor, 0)::int8 as our_refunded_minor,
            c.orders_polled_to as known_until
        from theirs t
        join connections c on c.shop_id = t.shop_id and c.id = %(connection)s
        left join orders o on o.shop_id = t.shop_id and o.connection_id = c.id and o.channel_ref = t.channel_ref
        left join lateral (
            select count(*) filter (where units > 0) as lines, sum(units) as units from order_lines
            where shop_id = o.shop_id and order_id = o.id
        ) l on true
        left join lateral (
            -- One that was made after the channel's version came in while this was read.
            select count(*) as refunds, sum(amount_minor) as refunded_minor from refunds f
            where f.shop_id = o.shop_id and f.order_id = o.id
                and (t.version_at is null
                    or f.channel_created_at < date_trunc('second', t.version_at) + interval '1 second')
        ) r on true
    ), caused as (
        select b.*,
            case when not b.is_there then case when b.order_id is not null then 'missing_there' end
                when b.order_id is null then 'missing_here'
                when b.is_cancelled and not b.our_cancelled then 'cancelled_there'
                when b.our_cancelled and not b.is_cancelled then 'cancelled_here'
                when not b.is_cancelled and b.units <> b.our_units then 'units'
                when not b.is_cancelled and b.units is not null and b.lines <> b.our_lines then 'lines'
                when b.total_minor <> b.our_total_minor
                    or (b.total_minor <> 0 and b.currency <> b.our_currency) then 'amount'
            end as order_cause,
            case when not b.is_there or b.order_id is null then null
                when b.refunds > b.our_refunds then 'refund_missing_here'
                when b.refunds < b.our_refunds then 'refund_missing_there'
                when b.refunded_minor <> b.our_refunded_minor then 'refund_amount'
            end as refund_cause,
            coalesce(b.message_state, '') in ('received', 'waiting') or (b.is_there and (
                b.known_until is null or b.version_at > b.known_until
                or date_trunc('second', b.our_version_at) > date_trunc('second', b.version_at))) as is_on_its_way
        from beside b
    ), judged as (
        select k.*, case when k.is_there is null then 'differs'
                when k.order_cause is null and k.refund_cause is null then 'equal'
                when k.is_on_its_way then 'in_flight' else 'real' end as new_verdict
        from caused k
    )
"""


def compare(conn: Connection, at: Reading, after: str, limit: int = PAGE) -> str | None:
    """Hold a page of what the channel showed against ours and mark what differs; returns its last ref, or None."""
    return scalar(
        conn,
        f"""
        with {_JUDGED.format(which="true")}, marked as (
            update staged_orders s set verdict = 'differs' from judged j
            where s.shop_id = j.shop_id and s.run_id = j.run_id and s.channel_ref = j.channel_ref
                and j.new_verdict in ('in_flight', 'real') and s.verdict is null
            returning 1
        )
        select max(channel_ref) from theirs having count(*) > 0 and (select count(*) from marked) >= 0
        """,
        **_where(at, after, limit),
    )


def judge(conn: Connection, at: Reading, after: str, now: datetime, limit: int = PAGE) -> str | None:
    """Look once more at a page of what differs, beside what we know by now, and write down what is real.

    Returns the page's last ref, None at the end. What was accepted stays so while it says the same.
    """
    deciding.lock(conn, at.shop_id, at.connection_id)
    return scalar(
        conn,
        f"""
        with {_JUDGED.format(which="s.verdict is not null")}, said as (
            select 'order' as kind, j.*, case when j.order_cause = 'missing_here' and j.message_state = 'parked'
                    then 'parked' else j.order_cause end as cause,
                case j.order_cause when 'cancelled_there' then j.our_units when 'cancelled_here' then 0
                    when 'units' then j.our_units when 'lines' then j.our_lines
                    when 'missing_here' then null else j.our_total_minor end as said_ours,
                case j.order_cause when 'cancelled_there' then 0 when 'cancelled_here'
                    then coalesce(j.units, j.our_units) when 'units' then j.units when 'lines' then j.lines
                    when 'missing_there' then null else j.total_minor end as said_theirs,
                j.order_cause in ('cancelled_there', 'cancelled_here', 'units', 'lines') as is_units
            from judged j where j.new_verdict = 'real' and j.order_cause is not null
            union all
            select 'refund', j.*, case when j.refund_cause = 'refund_missing_here' and j.message_state = 'parked'
                then 'parked' else j.refund_cause end, j.our_refunded_minor, j.refunded_minor, false
            from judged j where j.new_verdict = 'real' and j.refund_cause is not null
        ), known as (
            select d.id, d.kind, d.subject_key, d.state, d.cause, d.ours, d.theirs, d.corrections, d.run_id
            from discrepancies d join said n on n.kind = d.kind and n.channel_ref = d.subject_key
            where d.shop_id = %(shop)s and d.connection_id = %(connection)s and d.state <> 'resolved'
        ), meant as (
            select n.*, k.id as known_id,
                k.id is not null and (k.cause, k.ours, k.theirs)
                    is not distinct from (n.cause, n.said_ours::int8, n.said_theirs::int8) as is_same,
                case when n.cause in ('missing_here', 'refund_missing_here')
                    and coalesce(k.corrections, 0) < %(corrections_max)s then 'healed' else 'asked' end as new_action,
                case when n.cause not in ('missing_here', 'refund_missing_here') then 'by_hand'
                    when coalesce(k.corrections, 0) >= %(corrections_max)s then 'loop' end as because
            from said n left join known k on k.kind = n.kind and k.subject_key = n.channel_ref
        ), written as (
            insert into discrepancies as d (shop_id, kind, connection_id, subject_key, subject, order_id, ours, theirs,
                unit, currency, cause, detail, action, asked_because, first_seen_at, last_seen_at, run_id)
            select m.shop_id, m.kind, %(connection)s, m.channel_ref, jsonb_strip_nulls(jsonb_build_object(
                    'ref', m.channel_ref, 'name', m.order_name, 'placed_at', m.placed_at,
                    'message_id', m.message_id,
                    'ours', case when m.order_id is not null then jsonb_build_object('lines', m.our_lines,
                        'units', m.our_units, 'total_minor', m.our_total_minor, 'currency', m.our_currency,
                        'refunds', m.our_refunds, 'refunded_minor', m.our_refunded_minor,
                        'is_cancelled', m.our_cancelled) end,
                    'theirs', case when m.is_there then jsonb_build_object('lines', m.lines, 'units', m.units,
                        'total_minor', m.total_minor, 'currency', m.currency, 'refunds', m.refunds,
                        'refunded_minor', m.refunded_minor, 'is_cancelled', m.is_cancelled) end)),
                m.order_id, m.said_ours, m.said_theirs, case when m.is_units then 'units' else 'minor' end,
                case when not m.is_units then coalesce(m.currency, m.our_currency) end, m.cause, {_DETAIL},
                m.new_action, m.because, %(now)s, %(now)s, m.run_id
            from meant m
            order by m.kind, m.channel_ref
            on conflict (shop_id, kind, connection_id, subject_key) where state <> 'resolved' do update set
                subject = excluded.subject, order_id = excluded.order_id, unit = excluded.unit,
                currency = excluded.currency, detail = excluded.detail, cause = excluded.cause, ours = excluded.ours,
                theirs = excluded.theirs, last_seen_at = greatest(d.last_seen_at, excluded.last_seen_at),
                times_seen = d.times_seen + case when d.run_id is distinct from excluded.run_id then 1 else 0 end,
                run_id = excluded.run_id,
                state = case when {_SAME} then d.state else 'open' end,
                action = case when d.state = 'accepted' and {_SAME} then d.action else excluded.action end,
                asked_because = case when d.state = 'accepted' and {_SAME} then null else excluded.asked_because end,
                reason = case when {_SAME} then d.reason end
            returning d.id, d.kind, d.subject_key, d.cause, d.ours, d.theirs, d.detail
        ), told as (
            insert into discrepancy_events (shop_id, discrepancy_id, at, what, cause, ours, theirs, who, words)
            select %(shop)s, w.id, %(now)s, case when m.known_id is null then 'seen' else 'changed' end, w.cause,
                w.ours, w.theirs, 'reconciliation', w.detail
            from written w join meant m on m.kind = w.kind and m.channel_ref = w.subject_key
            where not m.is_same
            order by w.id
            returning 1
        ), marked as (
            update staged_orders s set verdict = j.new_verdict,
                order_cause = case when j.new_verdict <> 'equal' then j.order_cause end,
                refund_cause = case when j.new_verdict <> 'equal' then j.refund_cause end
            from judged j
            where s.shop_id = j.shop_id and s.run_id = j.run_id and s.channel_ref = j.channel_ref
            returning 1
        )
        select max(channel_ref) from theirs
        having count(*) > 0 and (select count(*) from marked) >= 0 and (select count(*) from told) >= 0
        """,
        now=now,
        corrections_max=CORRECTIONS_MAX,
        **_where(at, after, limit),
    )


def close(conn: Connection, at: Reading, now: datetime) -> int:
    """Resolve what this run looked at and found equal; returns how many."""
    deciding.lock(conn, at.shop_id, at.connection_id)
    row = fetch(
        conn,
        """
        with closed as (
            update discrepancies d set state = 'resolved', resolved_at = %(now)s, resolved_by = 'reconciliation',
                resolved_because = case when d.corrections > 0 then 'healed' else 'equal' end
            from staged_orders s
            where s.shop_id = %(shop)s and s.run_id = %(run)s and d.shop_id = s.shop_id
                and d.connection_id = %(connection)s and d.subject_key = s.channel_ref and d.state <> 'resolved'
                and ((d.kind = 'order' and s.order_cause is null) or (d.kind = 'refund' and s.refund_cause is null))
                and coalesce(s.verdict, 'equal') in ('equal', 'real')
            returning d.id, d.cause, d.ours, d.theirs, d.resolved_because
        ), told as (
            insert into discrepancy_events (shop_id, discrepancy_id, at, what, cause, ours, theirs, who, words)
            select %(shop)s, id, %(now)s, 'resolved', cause, ours, theirs, 'reconciliation', resolved_because
            from closed order by id returning 1
        )
        select count(*) as closed from told
        """,
        shop=at.shop_id,
        run=at.run_id,
        connection=at.connection_id,
        now=now,
    )
    return int(row[0]["closed"])


def to_heal(conn: Connection, at: Reading, after: str, limit: int) -> list[str]:
    """The next orders of this run that are to be read once more, by the channel's ids: what heals by itself, or
    whatever differs of those that a person chose."""
    rows = fetch(
        conn,
        """
        select distinct subject_key as ref from discrepancies
        where shop_id = %(shop)s and connection_id = %(connection)s and kind in ('order', 'refund')
            and state = 'open' and (action = 'healed' or %(all)s) and run_id = %(run)s and subject_key > %(after)s
        order by 1 limit %(limit)s
        """,
        all=at.refs is not None,
        **_where(at, after, limit),
    )
    return [row["ref"] for row in rows]


def note_healed(conn: Connection, at: Reading, refs: Sequence[str], who: str, now: datetime) -> int:
    """Count one more reading of these orders; returns how many discrepancies that is about."""
    deciding.lock(conn, at.shop_id, at.connection_id)
    rows = fetch(
        conn,
        """
        with healed as (
            update discrepancies set corrections = corrections + 1
            where shop_id = %(shop)s and connection_id = %(connection)s and kind in ('order', 'refund')
                and state = 'open' and (action = 'healed' or %(all)s) and run_id = %(run)s
                and subject_key = any(%(refs)b::text[])
            returning id, cause, ours, theirs
        ), told as (
            insert into discrepancy_events (shop_id, discrepancy_id, at, what, cause, ours, theirs, who, words)
            select %(shop)s, id, %(now)s, 'corrected', cause, ours, theirs, %(who)s, 'the order was read once more'
            from healed order by id returning 1
        )
        select count(*) as healed from told
        """,
        shop=at.shop_id,
        connection=at.connection_id,
        run=at.run_id,
        refs=sorted(refs),
        who=who,
        all=at.refs is not None,
        now=now,
    )
    return int(rows[0]["healed"])


def is_booked(conn: Connection, at: Reading) -> bool:
    """Whether nothing that was recorded for this run waits for its turn any more."""
    return not scalar(
        conn,
        """
        select exists (select from inbox_messages where shop_id = %(shop)s and connection_id = %(connection)s
            and state = 'received')
        """,
        shop=at.shop_id,
        connection=at.connection_id,
    )


def _where(at: Reading, after: str, limit: int) -> dict[str, object]:
    return {
        "shop": at.shop_id,
        "run": at.run_id,
        "connection": at.connection_id,
        "after": after,
        "limit": limit,
    }
