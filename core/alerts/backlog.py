"""The condition of backlogs: work that comes in faster than it is done, and the minute at which it is dangerous.

Each look leaves a sample of every lane in which something waits. What was done since is counted where it is counted
anyway (tallies of the inbox, planned writes); what arrived is that and what waits more.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection

from core.alerts import rates
from core.alerts.rates import Danger, Rates, Sample
from core.alerts.rules import Finding, Found, Unknown, many
from core.alerts.scene import Channel, Scene, concerned
from core.alerts.terms import BACKLOG
from core.db import execute, fetch

KEPT = timedelta(hours=2)

LANES = {
    "events": ("message", "messages", "to handle", "handled"),
    "stock": ("quantity", "quantities", "to write", "written"),
}
"""What waits in a lane, in words."""


def backlogs(scene: Scene) -> Found:
    """Lanes of active channels that are dangerous, or will be before long."""
    _sample(scene)
    findings, unknown = [], []
    since = scene.now - scene.policy.minutes("window_minutes")
    for (connection_id, lane), group in samples(scene.conn, scene.shop_id, since, scene.now).items():
        channel = scene.channels[connection_id]
        if not channel.is_active:
            continue
        seen = _judge(scene, channel, lane, group)
        if isinstance(seen, Finding):
            findings.append(seen)
        elif seen is not None:
            unknown.append(seen)
    return Found(findings, unknown)


def pace_of(samples: Sequence[Sample], window: timedelta) -> Rates | None:
    """How fast a lane grows or shrinks by its samples (oldest first) of a window; None: too little is known."""
    return rates.rates(rates.steps_of(samples), window / 2)


def _judge(scene: Scene, channel: Channel, lane: str, seen: Sequence[Sample]) -> Finding | Unknown | None:
    policy = scene.policy
    last = seen[-1]
    pace = pace_of(seen, policy.minutes("window_minutes"))
    danger = rates.danger(scene.now, last, pace, policy["dangerous_size"], policy.minutes("dangerous_minutes"))
    fingerprint = f"{BACKLOG}:{channel.id}:{lane}"
    if danger is None or not danger.is_now:
        if pace is None and last.waiting:
            return Unknown(fingerprint, "it has not been watched for long enough to say how fast it grows")
        if danger is None or last.waiting < policy["least_waiting"]:
            return None
        if danger.at - scene.now > policy.minutes("horizon_minutes"):
            return None
    return _words(scene, channel, lane, last, pace, danger)


def _words(scene: Scene, channel: Channel, lane: str, last: Sample, pace: Rates | None, danger: Danger) -> Finding:
    one, several, to_do, done = LANES[lane]
    limit = (
        f"{scene.policy['dangerous_size']:,} wait"
        if danger.by == "size"
        else f"the oldest waits for {scene.policy['dangerous_minutes']} minutes"
    )
    when = f"{limit}: that is dangerous" if danger.is_now else f"at this rate {limit} at {scene.clock(danger.at)}"
    flow = f" {pace.done:,.1f} are {done} a minute, {pace.arrive:,.1f} arrive." if pace else ""
    over = rates.drained_at(scene.now, last.waiting, pace)
    end = f" At this rate it is worked off at {scene.clock(over)}." if over else ""
    touched = concerned(scene.conn, scene.shop_id, channel.id)
    since = f" The oldest has waited since {scene.clock(last.oldest_at)}." if last.oldest_at else ""
    return Finding(
        f"{BACKLOG}:{channel.id}:{lane}",
        "danger" if danger.is_now and not over else "attention",
        f"{many(last.waiting, one, several)} of {channel.name} {'waits' if last.waiting == 1 else 'wait'} {to_do};"
        f" {when}",
        f"{flow}{since}{end}".strip() or f"{many(last.waiting, one, several)} wait.",
        "Look whether the queue's workers run and what they fail at; start more of them where they simply are too few."
        if lane == "events"
        else "Look whether the channel takes our calls, how much of its quota is left, and whether writes are stopped.",
        "jobs",
        last.waiting,
        {"lane": f"{channel.id}:{lane}"},
        channel.id,
        units=touched.units,
        skus=touched.skus,
        orders=touched.orders,
        # What came is handled here, whether or not the channel answers.
        follows=channel.id if lane == "stock" else None,
    )


def _sample(scene: Scene) -> None:
    """Leave a sample of every lane in which something waits, or did at the last look; forget old ones."""
    execute(
        scene.conn,
        """
        with stale as (
            delete from backlog_samples where shop_id = %(shop)s and at < %(before)s
        ), last as (
            select c.id as connection_id, kinds.lane, p.at, p.waiting, p.done
            from connections c
            cross join (values ('events'), ('stock')) kinds(lane)
            left join lateral (
                select s.at, s.waiting, s.done from backlog_samples s
                where s.shop_id = c.shop_id and s.connection_id = c.id and s.lane = kinds.lane
                    and s.at >= %(before)s and s.at < %(now)s
                order by s.at desc limit 1
            ) p on true
            where c.shop_id = %(shop)s
        )
        insert into backlog_samples (shop_id, connection_id, lane, at, waiting, oldest_at, done)
        select %(shop)s, j.connection_id, j.kind, %(now)s, j.waiting, j.oldest_at, case j.kind
            when 'events' then (
                select coalesce(sum(t.events), 0)::int8 from tallies t
                where t.kind = 'inbox' and t.connection_id = j.connection_id)
            else coalesce(l.done, 0) + (
                select count(*) from listing_writes w
                where w.shop_id = %(shop)s and w.connection_id = j.connection_id and w.outcome = 'confirmed'
                    and w.outcome_at > l.at and w.outcome_at <= %(now)s)
            end
        from job_lanes j join last l on l.connection_id = j.connection_id and l.lane = j.kind
        where j.shop_id = %(shop)s and j.kind in ('events', 'stock') and (j.waiting > 0 or l.waiting > 0)
        order by j.connection_id, j.kind
        on conflict do nothing
        """,
        shop=scene.shop_id,
        now=scene.now,
        before=scene.now - KEPT,
    )


def samples(conn: Connection, shop_id: int, since: datetime, now: datetime) -> dict[tuple[int, str], list[Sample]]:
    """By (connection id, lane) what was seen since, oldest first, of lanes that were looked at `now`."""
    rows = fetch(
        conn,
        """
        select s.connection_id, s.lane, s.at, s.waiting, s.oldest_at, s.done from backlog_samples s
        where s.shop_id = %(shop)s and s.at >= %(since)s and s.at <= %(now)s and exists (
            select from backlog_samples n where n.shop_id = s.shop_id and n.connection_id = s.connection_id
                and n.lane = s.lane and n.at = %(now)s)
        order by s.connection_id, s.lane, s.at
        """,
        shop=shop_id,
        now=now,
        since=since,
    )
    found: dict[tuple[int, str], list[Sample]] = {}
    for row in rows:
        sample = Sample(row["at"], row["waiting"], row["done"], row["oldest_at"])
        found.setdefault((row["connection_id"], row["lane"]), []).append(sample)
    return found
