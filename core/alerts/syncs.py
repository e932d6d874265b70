"""The condition of syncs that stand still, and of channels whose orders are not read to the end."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median

from core.alerts.rules import Finding, Found, Unknown, many
from core.alerts.scene import Channel, Scene, concerned, watched
from core.alerts.terms import STUCK_SYNC
from core.db import fetch

READINGS = 120
"""Runs of a poll from which its rhythm is taken."""


def stuck_syncs(scene: Scene) -> Found:
    """Sync runs that have gone quiet, and active channels whose orders were last read to the end too long ago."""
    ours = watched(scene)
    there_from = ours.sweeps if ours else None
    runs, unknown = _quiet_runs(scene, there_from)
    behind = []
    for channel in scene.active:
        if not channel.reads_orders:
            continue
        if channel.orders_polled_at is None:
            # Its first sync is not done, and that has a run of its own.
            unknown.append(Unknown(_of_orders(channel), "its orders have never been read to the end"))
        elif (allowed := _allowed(scene, channel)) is None:
            continue
        elif there_from is not None and scene.now - there_from <= allowed:
            unknown.append(Unknown(_of_orders(channel), _back_since(scene, there_from)))
        else:
            behind.append(_behind(scene, channel, channel.orders_polled_at, allowed))
    return Found([*runs, *behind], unknown)


def _back_since(scene: Scene, there_from: datetime) -> str:
    return f"we were away until {scene.clock(there_from)}, and it has its chance first"


def _quiet_runs(scene: Scene, there_from: datetime | None) -> tuple[list[Finding], list[Unknown]]:
    """Runs that say nothing. While we were away none could: nothing is known of it until it had its time again."""
    before = scene.now - scene.policy.minutes("quiet_minutes")
    rows = fetch(
        scene.conn,
        """
        select r.id, r.connection_id, r.kind, r.state, r.step, r.done, r.total,
            coalesce(r.heartbeat_at, r.started_at, r.requested_at) as heard_at
        from sync_runs r
        where r.shop_id = %(shop)s and r.state in ('queued', 'running')
            and coalesce(r.heartbeat_at, r.started_at, r.requested_at) < %(before)s
        order by r.id
        """,
        shop=scene.shop_id,
        before=before,
    )
    if there_from is not None and there_from > before:
        why = _back_since(scene, there_from)
        return [], [Unknown(f"{STUCK_SYNC}:{row['connection_id']}:{row['kind']}", why) for row in rows]
    found = []
    for row in rows:
        channel = scene.channels[row["connection_id"]]
        touched = concerned(scene.conn, scene.shop_id, channel.id)
        quiet = _minutes(scene.now - row["heard_at"])
        far = f", with {row['done']:,} of {row['total']:,} done" if row["total"] else ""
        doing = f" at the step “{row['step']}”" if row["step"] else ""
        waits = "was asked for and nobody has taken it" if row["state"] == "queued" else f"has said nothing{doing}{far}"
        found.append(
            Finding(
                f"{STUCK_SYNC}:{channel.id}:{row['kind']}",
                "attention",
                f"A sync of {channel.name} stands still",
                f"Run {row['id']} {waits} since {scene.clock(row['heard_at'])}, {many(quiet, 'minute')} ago.",
                "Look whether its worker lives (Jobs); a run whose worker is gone is taken up again by itself within"
                " minutes, so one that is still here needs somebody.",
                "runs",
                quiet,
                {"run": str(row["id"])},
                channel.id,
                units=touched.units,
                skus=touched.skus,
                orders=touched.orders,
                follows=channel.id,
            )
        )
    return found, []


def _of_orders(channel: Channel) -> str:
    return f"{STUCK_SYNC}:{channel.id}:orders"


def _allowed(scene: Scene, channel: Channel) -> timedelta | None:
    """How long may lie between two readings of a channel that is beyond that; None: it is not."""
    assert channel.orders_polled_at is not None
    least = scene.policy.minutes("orders_minutes")
    since = scene.now - channel.orders_polled_at
    if since <= least:
        return None
    allowed = max(least, scene.policy["rhythm_times"] * _rhythm(scene, channel))
    return allowed if since > allowed else None


def _rhythm(scene: Scene, channel: Channel) -> timedelta:
    """What usually lies between two readings; nothing where it has hardly been read."""
    rows = fetch(
        scene.conn,
        """
        select r.started_at, r.result ? 'recorded' as is_reading from job_runs r
        where r.subject = 'connection.poll:'
                || jsonb_build_object('shop_id', %(shop)s::int8, 'connection_id', %(connection)s::int8)::text
            and r.outcome = 'finished'
        order by r.started_at desc limit %(limit)s
        """,
        shop=scene.shop_id,
        connection=channel.id,
        limit=READINGS,
    )
    times: list[datetime] = [row["started_at"] for row in rows if row["is_reading"]]
    gaps = [(later - earlier).total_seconds() for later, earlier in pairwise(times)]
    return timedelta(seconds=median(gaps)) if len(gaps) >= 3 else timedelta()


def _behind(scene: Scene, channel: Channel, polled_at: datetime, allowed: timedelta) -> Finding:
    touched = concerned(scene.conn, scene.shop_id, channel.id)
    late = _minutes(scene.now - polled_at)
    why = f" It answers: {channel.last_error}" if channel.last_error else ""
    return Finding(
        _of_orders(channel),
        "danger",
        f"Orders of {channel.name} have not been read to the end for {many(late, 'minute')}",
        f"The last complete reading was at {scene.clock(polled_at)}; more than {many(_minutes(allowed), 'minute')} is"
        f" much longer than its own rhythm. What it sells meanwhile is not known, unless it tells by itself.{why}",
        "Look at the calls to it; when it answers again, the next poll reads everything since.",
        "connections",
        late,
        channel.address,
        channel.id,
        units=touched.units,
        skus=touched.skus,
        orders=touched.orders,
        follows=channel.id,
    )


def _minutes(span: timedelta) -> int:
    return round(span.total_seconds() / 60)
