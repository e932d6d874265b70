"""Conditions of our own machinery: the audit, schedules, and checks that cannot be made."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy.engine import RowMapping

from core.alerts.rules import Finding, Found, many
from core.alerts.scene import SWEEP, Scene, watched
from core.alerts.terms import AUDIT, KINDS, SCHEDULE, UNMADE
from core.db import fetch, fetch_one
from core.runs.schedules import SCHEDULES, Schedule

AUDIT_NIGHTLY = "audit.nightly"

CHANCE = timedelta(minutes=30)
"""Every schedule rings more often than that, also one that runs by the day."""


def audit(scene: Scene) -> Found:
    """Open from an audit that found something until one that found nothing; one that failed says nothing."""
    row = fetch_one(
        scene.conn,
        """
        select r.outcome, r.started_at, r.period, r.result, done.result as found, done.started_at as found_at
        from (
            select * from schedule_runs where name = %(audit)s and period like '%%:shop:' || %(shop)s
                and outcome in ('finished', 'failed') and started_at <= %(now)s
            order by started_at desc limit 1
        ) r
        left join lateral (
            select d.result, d.started_at from schedule_runs d
            where d.name = %(audit)s and d.period like '%%:shop:' || %(shop)s and d.outcome = 'finished'
                and d.started_at <= r.started_at
            order by d.started_at desc limit 1
        ) done on true
        """,
        audit=AUDIT_NIGHTLY,
        shop=str(scene.shop_id),
        now=scene.now,
    )
    if row is None:
        return Found(rest="no audit has ended yet")
    if row["outcome"] != "finished":
        return Found(rest=f"the audit of {scene.clock(row['started_at'])} failed")
    found = row["found"] or {}
    violations = int(found.get("violations") or 0)
    if violations == 0:
        return Found()
    broken = found.get("broken") or {}
    names = ", ".join(f"{name.replace('_', ' ')} ({count:,})" for name, count in broken.items())
    return Found(
        [
            Finding(
                AUDIT,
                "danger",
                f"The audit found {many(violations, 'row that breaks', 'rows that break')} an invariant",
                f"{names or 'What exactly stands in its result'}. Found at {scene.clock(row['found_at'])}; numbers that"
                " rest on them cannot be trusted.",
                "Run `switchyard audit` to see each row. This closes with the next audit that finds nothing.",
                "schedules",
                violations,
                {"schedule": AUDIT_NIGHTLY},
                worst=[{"code": name, "units": count} for name, count in broken.items()],
            )
        ]
    )


def schedules(scene: Scene) -> Found:
    """Schedules that have not run to their end for too many periods: one alert that names them."""
    since = watched(scene)
    if since is None:
        return Found(rest="the sweep of alerts does not run by the clock itself")
    last = {row["name"]: row["last_at"] for row in _last_runs(scene)}
    changed = {row["name"]: row for row in fetch(scene.conn, "select name, is_paused, changed_at from schedules")}
    late = []
    for schedule in SCHEDULES:
        wish = changed.get(schedule.name)
        if schedule.name == SWEEP or (wish is not None and wish["is_paused"]):
            continue
        allowed = _allowed(scene, schedule)
        ran_at = last.get(schedule.name)
        # After a pause of everything each has its chance first.
        had_a_chance = since.sweeps < scene.now - min(allowed, CHANCE)
        # One that somebody has just resumed could not run before.
        counted_from = max(ran_at or since.first, wish["changed_at"] if wish is not None else since.first)
        if had_a_chance and counted_from < scene.now - allowed:
            late.append((schedule, ran_at))
    return Found([_late(scene, late)] if late else [])


def _late(scene: Scene, late: list[tuple[Schedule, datetime | None]]) -> Finding:
    each = "; ".join(
        f"{schedule.name} ({schedule.description}): {f'last at {scene.clock(at)}' if at else 'never'}"
        for schedule, at in late[:5]
    )
    more = f"; and {len(late) - 5} more" if len(late) > 5 else ""
    return Finding(
        SCHEDULE,
        "danger",
        f"The schedule {late[0][0].name} does not run"
        if len(late) == 1
        else f"{many(len(late), 'schedule does', 'schedules do')} not run",
        f"{each}{more}.",
        "Look whether a worker serves its queue, and at what its last run failed.",
        "schedules",
        len(late),
        {"schedule": late[0][0].name},
        worst=[{"code": schedule.name} for schedule, _ in late],
    )


def _allowed(scene: Scene, schedule: Schedule) -> timedelta:
    if schedule.every_seconds is None:
        return timedelta(hours=scene.policy["daily_hours"])
    return max(
        scene.policy.minutes("least_minutes"), scene.policy["missed"] * timedelta(seconds=schedule.every_seconds)
    )


def _last_runs(scene: Scene) -> Sequence[RowMapping]:
    """When each schedule last ran to its end, or began to and is still at it."""
    return fetch(
        scene.conn,
        """
        select n.name, (
            select r.started_at from schedule_runs r
            where r.name = n.name and r.started_at <= %(now)s
                and (r.outcome = 'finished' or (r.outcome is null and r.started_at > %(running)s))
                and (not n.is_daily or r.period like '%%:shop:' || %(shop)s)
            order by r.started_at desc limit 1) as last_at
        from unnest(%(names)b::text[], %(daily)b::bool[]) as n (name, is_daily)
        """,
        shop=str(scene.shop_id),
        now=scene.now,
        running=scene.now - timedelta(hours=1),
        names=[schedule.name for schedule in SCHEDULES],
        daily=[schedule.every_seconds is None for schedule in SCHEDULES],
    )


def unmade(scene: Scene) -> Found:
    """Conditions that could not be computed for a while: of each it is not known whether all is well."""
    rows = fetch(
        scene.conn,
        "select kind, since, because from unmade_checks where shop_id = %(shop)s and since <= %(before)s order by kind",
        shop=scene.shop_id,
        before=scene.now - scene.policy.minutes("minutes"),
    )
    return Found(
        [
            Finding(
                f"{UNMADE}:{row['kind']}",
                "attention",
                f"Nobody knows whether {KINDS[row['kind']].words if row['kind'] in KINDS else row['kind']}",
                f"It could not be looked for since {scene.clock(row['since'])}: {row['because']}. Alerts of that"
                " kind stay as they are meanwhile.",
                "Look into the workers' log for the error, and whether the database is well.",
                "jobs",
                1,
            )
            for row in rows
        ]
    )
