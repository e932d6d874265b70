"""How long what is past is kept, and forgetting it in batches.

Facts of the business (orders, movements, promises, exposure that still counts, the log of acts, reports) are never
forgotten. What is listed here says how something went, or is a copy of what a channel said: bodies hold personal data,
so they go first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from core import audit
from core.audit import Actor
from core.db import execute, fetch, scalar
from core.errors import BadInput

BATCH = 5_000
"""So many rows go in one commit: others wait for none of them longer than that takes."""

KEEP_DAYS_MAX = 3_650


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept for `days`, unless a person says otherwise, and never for less than `days_min`.

    `sql` forgets the oldest `%(at_most)s` rows from before `%(before)s` and returns how many.
    """

    name: str
    what: str
    days: int
    days_min: int
    sql: str


def _oldest(table: str, key: str, column: str, where: str = "true") -> str:
    return f"""
        with gone as (
            delete from {table} where ({key}) in (
                select {key} from {table} where {column} < %(before)s and {where} order by {column} limit %(at_most)s)
            returning 1
        )
        select count(*) from gone
    """


def _of_connections(table: str, column: str) -> str:
    """The same where time is indexed by connection."""
    return f"""
        with gone as (
            delete from {table} t using (
                select o.shop_id, o.id from connections c cross join lateral (
                    select a.shop_id, a.id from {table} a
                    where a.shop_id = c.shop_id and a.connection_id = c.id and a.{column} < %(before)s
                    order by a.{column} limit %(at_most)s) o
                limit %(at_most)s
            ) old where t.shop_id = old.shop_id and t.id = old.id returning 1
        )
        select count(*) from gone
    """


# The newest of each listing says what is exposed.
_EXPOSURE = """
    with gone as (
        delete from exposure_changes where (shop_id, id) in (
            select c.shop_id, c.id from exposure_changes c where c.changed_at < %(before)s and exists (
                select from exposure_changes n
                where n.shop_id = c.shop_id and n.listing_id = c.listing_id and n.id > c.id)
            limit %(at_most)s)
        returning 1
    )
    select count(*) from gone
"""

# The newest of each product says what became of it; what is open is to be settled.
_PUSHES = """
    with gone as (
        delete from product_pushes where (shop_id, id) in (
            select p.shop_id, p.id from product_pushes p where p.outcome_at < %(before)s and exists (
                select from product_pushes n where n.shop_id = p.shop_id and n.link_id = p.link_id and n.id > p.id)
            order by p.outcome_at limit %(at_most)s)
        returning 1
    )
    select count(*) from gone
"""

# With their legs, in one look: one that is done a moment later keeps what belongs to it.
_CHANGES = """
    with gone as (
        delete from changes where (shop_id, id) in (
            select shop_id, id from changes where recorded_at < %(before)s and done_at is not null limit %(at_most)s)
        returning shop_id, id
    ), legs as (
        delete from change_legs g using gone where g.shop_id = gone.shop_id and g.change_id = gone.id returning 1
    )
    select (select count(*) from gone) + 0 * (select count(*) from legs)
"""

# With what was staged for them, should any of it be left.
_RECONCILIATIONS = """
    with gone as (
        delete from reconciliation_runs where (shop_id, id) in (
            select shop_id, id from reconciliation_runs where ended_at < %(before)s
            order by ended_at limit %(at_most)s)
        returning shop_id, id
    ), observed as (
        delete from reconciliation_observations o using gone where o.shop_id = gone.shop_id and o.run_id = gone.id
        returning 1
    ), staged as (
        delete from staged_orders o using gone where o.shop_id = gone.shop_id and o.run_id = gone.id returning 1
    ), readings as (
        delete from order_readings o using gone where o.shop_id = gone.shop_id and o.run_id = gone.id returning 1
    )
    select (select count(*) from gone) + 0 * ((select count(*) from observed) + (select count(*) from staged)
        + (select count(*) from readings))
"""

KEPT: tuple[Kept, ...] = (
    Kept(
        "messages",
        "what channels delivered, word for word, once it is settled",
        90,
        14,
        "select forget_messages(%(before)s, %(at_most)s)",
    ),
    Kept("api_calls", "calls to channels", 90, 7, _of_connections("api_calls", "called_at")),
    Kept(
        "quota_use",
        "quota by purpose, in pieces of five minutes",
        90,
        7,
        _oldest("quota_tallies", "shop_id, connection_id, bucket_at, purpose", "bucket_at"),
    ),
    Kept(
        "job_runs",
        "runs of jobs, failed ones included",
        90,
        7,
        _oldest("job_runs", "id", "started_at", "outcome is not null"),
    ),
    Kept(
        "job_requeues",
        "work that people had done again",
        90,
        7,
        _oldest("job_requeues", "shop_id, job_ref", "requested_at"),
    ),
    Kept(
        "failures",
        "failures that were dealt with",
        90,
        7,
        _oldest("failures", "shop_id, source, item_id", "state_at", "state <> 'open'"),
    ),
    Kept(
        "recoveries",
        "recoveries that ended, with their work",
        90,
        7,
        _oldest("recoveries", "shop_id, id", "ended_at"),
    ),
    Kept("schedule_runs", "periods of schedules", 90, 7, _oldest("schedule_runs", "name, period", "started_at")),
    Kept(
        "sync_runs",
        "sync runs that ended",
        90,
        7,
        _oldest("sync_runs", "shop_id, id", "requested_at", "state in ('done', 'failed', 'cancelled')"),
    ),
    Kept(
        "reconciliations",
        "comparisons that ended, with what was staged for them",
        90,
        7,
        _RECONCILIATIONS,
    ),
    # Their files are gone sooner: documents have a time of their own.
    Kept(
        "catalogue_exports",
        "exports of the catalogue that ended, without their files",
        90,
        7,
        _oldest("catalogue_exports", "shop_id, id", "ended_at"),
    ),
    # An earlier one that was corrected says whether the next correction goes in a circle.
    Kept(
        "discrepancies",
        "discrepancies that are resolved, with their history",
        365,
        60,
        _oldest("discrepancies", "shop_id, id", "resolved_at", "state = 'resolved'"),
    ),
    Kept(
        "target_jobs",
        "jobs that told targets the catalogue, with what became of their entries",
        30,
        7,
        _of_connections("target_jobs", "ended_at"),
    ),
    Kept(
        "sync_turns",
        "turns of syncs, counted by hour",
        90,
        8,
        _oldest("sync_tallies", "shop_id, connection_id, kind, hour_at, outcome, slot", "hour_at"),
    ),
    Kept(
        "schedule_requests",
        "turns of schedules that people asked for",
        90,
        7,
        _oldest("schedule_requests", "shop_id, id", "begun_at"),
    ),
    Kept(
        "notices",
        "notices that were sent, with what they gathered, those that nobody heard, and those that were given up",
        90,
        7,
        _oldest("outbox_messages", "shop_id, id", "settled_at", "state in ('sent', 'unheard', 'discarded')"),
    ),
    # Longer than one that is over may be the one before another.
    Kept(
        "alerts",
        "alerts that are over, with their history",
        365,
        60,
        _oldest("alerts", "shop_id, id", "closed_at", "closed_at is not null"),
    ),
    Kept("exposure_changes", "how exposure came about, but for the newest of each listing", 90, 30, _EXPOSURE),
    Kept("product_pushes", "writes to products that ended, but for the last of each product", 90, 7, _PUSHES),
    Kept("changes", "changes that every channel has followed", 90, 7, _CHANGES),
)

BY_NAME = {kept.name: kept for kept in KEPT}


@dataclass(frozen=True, slots=True)
class Policy:
    """How long one kind is kept now, and who said so; without a name it is the default."""

    kept: Kept
    days: int
    set_by: str | None = None
    reason: str | None = None
    set_at: datetime | None = None


def policies(conn: Connection) -> Sequence[Policy]:
    """What is kept for how long, in the order in which it is forgotten."""
    rows = {row["name"]: row for row in fetch(conn, "select * from retention_policies")}
    return [
        Policy(kept, row["keep_days"], row["set_by"], row["reason"], row["set_at"])
        if (row := rows.get(kept.name)) is not None
        else Policy(kept, kept.days)
        for kept in KEPT
    ]


def set_policy(conn: Connection, name: str, days: int | None, actor: Actor, now: datetime) -> None:
    """Keep one kind for `days`, or for the default again (None). It concerns every shop, and is on record in each.

    Raises BadInput for a kind that there is not, and for fewer days than it may be.
    """
    kept = BY_NAME.get(name)
    if kept is None:
        raise BadInput(f"nothing is kept under {name!r}: give one of {', '.join(BY_NAME)}")
    if days is None:
        execute(conn, "delete from retention_policies where name = %(name)s", name=name)
    elif not kept.days_min <= days <= KEEP_DAYS_MAX:
        raise BadInput(f"{kept.what}: keep them {kept.days_min} to {KEEP_DAYS_MAX:,} days, not {days:,}")
    else:
        execute(
            conn,
            """
            insert into retention_policies (name, keep_days, set_by, reason, set_at)
            values (%(name)s, %(days)s, %(by)s, %(reason)s, %(now)s)
            on conflict (name) do update set keep_days = excluded.keep_days, set_by = excluded.set_by,
                reason = excluded.reason, set_at = excluded.set_at
            """,
            name=name,
            days=days,
            by=actor.name,
            reason=actor.reason,
            now=now,
        )
    for row in fetch(conn, "select shop_id from shops order by shop_id"):
        audit.record(
            conn, row["shop_id"], actor, "set_retention", f"retention:{name}", now, keep_days=days or kept.days
        )


def forget(conn: Connection, policy: Policy, now: datetime, at_most: int = BATCH) -> int:
    """Forget the oldest that a policy keeps no longer, `at_most` of them; returns how many that were."""
    before = now - timedelta(days=policy.days)
    return int(scalar(conn, policy.kept.sql, before=before, at_most=at_most))


def due(conn: Connection, policy: Policy, now: datetime, at_most: int = BATCH) -> int:
    """How many `forget` would forget now; changes nothing that stays."""
    with conn.begin_nested() as trial:
        count = forget(conn, policy, now, at_most)
        trial.rollback()
    return count
