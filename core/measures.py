"""What monitoring reads of the state in Postgres: one snapshot, a few statements, each bounded by partial indexes.

Counts of what happened come from `tallies`, which never fall; everything else is how things stand now.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.db import execute, fetch, fetch_one, scalar

STATEMENT_MS = 2000
"""A scrape that would take longer does without: monitoring must not be what slows the shop down."""

Rows = Sequence[RowMapping]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every field is rows of one statement; the columns stand in the statements below."""

    connections: Rows
    parked: Rows
    running: Rows
    schedules: Rows
    outbox: RowMapping
    alerts: Rows
    discrepancies: Rows
    failures: Rows
    recoveries: int
    tallies: Rows


def read(conn: Connection) -> Snapshot:
    """The state now. Run it in a read-only unit of work; raises what the database raises, also when it takes long."""
    execute(conn, f"set local statement_timeout = {STATEMENT_MS}")
    outbox = fetch_one(conn, _OUTBOX)
    assert outbox is not None
    return Snapshot(
        connections=fetch(conn, _CONNECTIONS),
        parked=fetch(conn, _PARKED),
        running=fetch(conn, _RUNNING),
        schedules=fetch(conn, _SCHEDULES),
        outbox=outbox,
        alerts=fetch(conn, _ALERTS),
        discrepancies=fetch(conn, _DISCREPANCIES),
        failures=fetch(conn, _FAILURES),
        recoveries=scalar(conn, "select count(*) from recoveries where ended_at is null"),
        tallies=fetch(conn, _TALLIES),
    )


def fold(conn: Connection) -> int:
    """Sum up the tallies that were added since; returns how many rows that replaced.

    Rows that another fold is at are left to it, so that nothing is counted twice. What lanes have done is kept as it is
    for minutes and by the minute for an hour: the time left goes by it.
    """
    return execute(
        conn,
        """
        with taken as (
            select id from tallies where at is null or at < now() - interval '6 minutes'
            order by id for update skip locked
        ),
        gone as (
            delete from tallies t using taken where t.id = taken.id
            returning t.kind, t.connection_id, t.name, t.outcome, t.events, t.seconds,
                case when t.at > now() - interval '61 minutes' then date_trunc('minute', t.at) end as at
        ), folded as (
            insert into tallies (kind, connection_id, name, outcome, events, seconds, at)
            select kind, connection_id, name, outcome, sum(events), sum(seconds), at from gone group by 1, 2, 3, 4, 7
        )
        select from gone
        """,
    )


_CONNECTIONS = """
    select c.id, c.shop_id, c.name, c.vendor, c.state, c.last_error is not null as has_problem,
        lane.received, inbox.waiting, inbox.parked,
        coalesce(extract(epoch from now() - oldest.received_at), 0)::float8 as oldest_received_seconds,
        extract(epoch from c.orders_polled_at)::float8 as polled_at,
        shown.to_push, shown.refused, legs.open_legs, legs.stuck_legs, writes.open_writes, writes.doubtful_writes,
        coalesce(extract(epoch from now() - writes.oldest_planned_at), 0)::float8 as oldest_write_seconds
    from connections c
    cross join lateral (
        select count(*) as received, min(m.id) as oldest_id from inbox_messages m
        where m.shop_id = c.shop_id and m.connection_id = c.id and m.state = 'received'
    ) lane
    cross join lateral (
        select
            (select count(*) from inbox_messages m
             where m.shop_id = c.shop_id and m.connection_id = c.id and m.state = 'waiting') as waiting,
            (select coalesce(sum(p.messages), 0)::int8 from parked_causes p
             where p.shop_id = c.shop_id and p.connection_id = c.id) as parked
    ) inbox
    left join inbox_messages oldest on oldest.shop_id = c.shop_id and oldest.id = lane.oldest_id
    cross join lateral (
        select
            (select count(*) from listings l where l.shop_id = c.shop_id and l.connection_id = c.id
             and l.is_to_push and listing_differs(l.desired_units - l.short_units, l.published_units)
            ) as to_push,
            (select count(*) from listings l where l.shop_id = c.shop_id and l.connection_id = c.id
             and l.publishing = 'on' and l.push_problem is not null) as refused
    ) shown
    cross join lateral (
        select count(*) as open_legs, count(*) filter (where g.state = 'stuck') as stuck_legs from change_legs g
        where g.shop_id = c.shop_id and g.connection_id = c.id and g.state in ('open', 'stuck')
    ) legs
    cross join lateral (
        select count(*) as open_writes, count(w.doubt) as doubtful_writes, min(w.planned_at) as oldest_planned_at
        from listing_writes w where w.shop_id = c.shop_id and w.connection_id = c.id and w.outcome is null
    ) writes
    order by c.id
"""

_PARKED = """
    select connection_id, cause, messages from parked_causes order by 1, 2
"""

_RUNNING = """
    select function, count(*) as runs, extract(epoch from now() - min(started_at))::float8 as oldest_seconds
    from job_runs where outcome is null group by 1 order by 1
"""

# Names are skipped through by index, since a schedule rings thousands of times a day.
_SCHEDULES = """
    with recursive names as (
        (select name from schedule_runs order by name limit 1)
        union all
        select (select r.name from schedule_runs r where r.name > n.name order by r.name limit 1)
        from names n where n.name is not null
    )
    select n.name, extract(epoch from done.ended_at)::float8 as succeeded_at, coalesce(s.is_paused, false) as is_paused
    from names n
    left join schedules s using (name)
    left join lateral (
        select r.ended_at from schedule_runs r
        where r.name = n.name and r.outcome = 'finished' and r.started_at > now() - interval '8 days'
        order by r.started_at desc limit 1
    ) done on true
    where n.name is not null order by n.name
"""

_OUTBOX = """
    select waiting.messages as waiting, waiting.late_seconds,
        (select count(*) from outbox_messages where state = 'dead') as dead
    from (
        select count(*) as messages,
            greatest(coalesce(extract(epoch from now() - min(next_attempt_at)), 0), 0)::float8 as late_seconds
        from outbox_messages where state = 'waiting'
    ) waiting
"""

_ALERTS = """
    select kind, severity, count(*) as alerts from alerts where closed_at is null group by 1, 2 order by 1, 2
"""

_DISCREPANCIES = """
    select kind, cause, count(*) as discrepancies from discrepancies where state = 'open' group by 1, 2 order by 1, 2
"""

# Each source, also one without any: a series that comes and goes cannot be compared with what it was.
_FAILURES = """
    select s.source, coalesce(sum(n.items), 0)::int8 as failures
    from unnest(array['job', 'message', 'outbox']) as s (source)
    left join (failure_kinds k join failure_standing n on n.shop_id = k.shop_id and n.kind_id = k.id)
        on k.source = s.source
    group by 1 order by 1
"""

_TALLIES = """
    select kind, connection_id, name, outcome, sum(events)::int8 as events, sum(seconds)::float8 as seconds
    from tallies group by 1, 2, 3, 4 order by 1, 2, 3, 4
"""
