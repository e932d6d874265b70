"""How much has failed of each cause: sums of what each statement changed, and what the audit holds them to."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection

from core.db import execute

HOURS_KNOWN = timedelta(hours=25)
"""For so long it is known in which hour how much failed: the day that screens show, and the hour that it begins in."""


def fold(conn: Connection, now: datetime) -> int:
    """Sum up what was added since; returns how many rows that replaced.

    Rows that another fold is at are left to it, so that nothing is counted twice.
    """
    return execute(
        conn,
        """
        with known as (
            select shop_id, id, kind_id, case when hour_at > %(before)s then hour_at end as hour_at,
                hour_at <= %(before)s as is_old
            from failure_tallies
        ), worth_it as (
            select shop_id, kind_id, hour_at from known group by 1, 2, 3 having count(*) > 1 or bool_or(is_old)
        ), taken as (
            select t.shop_id, t.id from failure_tallies t
            join known k on k.shop_id = t.shop_id and k.id = t.id
            join worth_it w on w.shop_id = k.shop_id and w.kind_id = k.kind_id
                and w.hour_at is not distinct from k.hour_at
            order by t.shop_id, t.id for update of t skip locked
        ), gone as (
            delete from failure_tallies t using taken where t.shop_id = taken.shop_id and t.id = taken.id
            returning t.shop_id, t.kind_id, case when t.hour_at > %(before)s then t.hour_at end as hour_at, t.failed,
                t.settled, t.open, t.moot, t.parked
        ), summed as (
            select shop_id, kind_id, hour_at, case when hour_at is not null then sum(failed) else 0 end as failed,
                case when hour_at is not null then sum(settled) else 0 end as settled, sum(open) as open,
                sum(moot) as moot, sum(parked) as parked
            from gone group by 1, 2, 3
        ), folded as (
            insert into failure_tallies (shop_id, kind_id, hour_at, failed, settled, open, moot, parked)
            select * from summed where (failed, settled, open, moot, parked) <> (0, 0, 0, 0, 0)
        )
        select from gone
        """,
        before=now - HOURS_KNOWN,
    )


TALLY_CHECKS: tuple[tuple[str, str, str], ...] = (
    (
        "failures_are_counted",
        "what is said to be open, moot or parked of a cause is what its failures are",
        """
        select coalesce(c.shop_id, t.shop_id) as shop_id, coalesce(c.kind_id, t.kind_id) as kind_id,
            c.open, t.open as counted_open, c.moot, t.moot as counted_moot, c.parked, t.parked as counted_parked
        from (
            select f.shop_id, f.kind_id, sum(n.open) as open, sum(n.moot) as moot, sum(n.parked) as parked
            from failures f cross join lateral failure_counts(f.state, f.at, f.state_at, f.is_moot, f.is_parked) n
            where f.{shop} group by 1, 2
        ) c
        full join (
            select shop_id, kind_id, sum(open) as open, sum(moot) as moot, sum(parked) as parked
            from failure_tallies where {shop} group by 1, 2
        ) t on t.shop_id = c.shop_id and t.kind_id = c.kind_id
        where (coalesce(c.open, 0), coalesce(c.moot, 0), coalesce(c.parked, 0))
            <> (coalesce(t.open, 0), coalesce(t.moot, 0), coalesce(t.parked, 0))
        """,
    ),
    (
        "failures_are_counted_by_the_hour",
        "what is said to have failed or been settled in an hour of the last day is what the failures say",
        """
        select coalesce(c.shop_id, t.shop_id) as shop_id, coalesce(c.kind_id, t.kind_id) as kind_id,
            coalesce(c.hour_at, t.hour_at) as hour_at, c.failed, t.failed as counted_failed, c.settled,
            t.settled as counted_settled
        from (
            select f.shop_id, f.kind_id, n.hour_at, sum(n.failed) as failed, sum(n.settled) as settled
            from failures f cross join lateral failure_counts(f.state, f.at, f.state_at, f.is_moot, f.is_parked) n
            where f.{shop} and n.hour_at > %(now)s - interval '23 hours' group by 1, 2, 3
        ) c
        full join (
            select shop_id, kind_id, hour_at, sum(failed) as failed, sum(settled) as settled
            from failure_tallies where {shop} and hour_at > %(now)s - interval '23 hours' group by 1, 2, 3
        ) t on t.shop_id = c.shop_id and t.kind_id = c.kind_id and t.hour_at = c.hour_at
        where (coalesce(c.failed, 0), coalesce(c.settled, 0)) <> (coalesce(t.failed, 0), coalesce(t.settled, 0))
        """,
    ),
    (
        "parked_message_is_a_failure",
        "a message is parked exactly while a failure on record says so",
        """
        select coalesce(m.shop_id, f.shop_id) as shop_id, coalesce(m.id, f.item_id) as message_id, m.state
        from (select shop_id, id, state from inbox_messages where {shop} and state = 'parked') m
        full join (select shop_id, item_id from failures where {shop} and source = 'message' and is_parked) f
            on f.shop_id = m.shop_id and f.item_id = m.id
        where m.id is null or f.item_id is null
        """,
    ),
    (
        "failed_job_is_moot_when_its_work_was_done",
        "a job's open failure is moot when a later run has done its work",
        """
        select f.shop_id, f.item_id as job_run_id, f.is_moot, done.ended_at
        from failures f
        left join lateral (
            select min(r.ended_at) as ended_at from job_runs r
            where r.subject = f.subject and did_its_work(r.outcome, r.business) and r.started_at > f.at
        ) done on true
        where f.{shop} and f.source = 'job' and f.state = 'open' and not f.is_moot
            and done.ended_at < %(now)s - %(patience)s
        """,
    ),
)
