"""The condition of a channel that is silent against its own rhythm."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from core.alerts.rhythm import WEEKS, usual
from core.alerts.rules import Finding, Found, Unknown, many
from core.alerts.scene import COUNTED_AT_MOST, Channel, Scene, watched
from core.alerts.terms import SILENCE
from core.db import execute, fetch, scalar

KEPT = timedelta(weeks=WEEKS + 1)
SETTLED_AFTER = timedelta(minutes=5)
"""An hour is counted when nothing can come into it any more: recording takes seconds."""

LISTENS = timedelta(minutes=15)
"""A channel whose orders were read to the end that recently is listened to. Of others the silence may be ours."""

AT_ONCE = timedelta(days=7)
"""History that is counted at one look: a shop of before is caught up with in as many as it has weeks."""


def silences(scene: Scene) -> Found:
    """Active channels of which nothing came for longer than, by their own past, can be chance."""
    _count_hours(scene)
    heard, ours = _last_heard(scene), watched(scene)
    findings, unknown = [], []
    for channel in scene.active:
        last = heard.get(channel.id)
        seen = (
            Unknown(f"{SILENCE}:{channel.id}", "nothing has ever come from it")
            if last is None
            else _judge(scene, channel, last, ours.sweeps if ours else last)
        )
        if isinstance(seen, Finding):
            findings.append(seen)
        elif seen is not None:
            unknown.append(seen)
    return Found(findings, unknown)


def _judge(scene: Scene, channel: Channel, last: datetime, listened_from: datetime) -> Finding | Unknown | None:
    """`listened_from`: since when we have been there without a gap. While we were not the silence was ours."""
    fingerprint, counted_from = f"{SILENCE}:{channel.id}", max(last, listened_from)
    well = None if counted_from == last else Unknown(fingerprint, f"we listen only since {scene.clock(counted_from)}")
    silent = scene.now - counted_from
    if silent < scene.policy.minutes("least_minutes"):
        return None if scene.now - last < scene.policy.minutes("least_minutes") else well
    polled_at = channel.orders_polled_at
    if channel.reads_orders and (polled_at is None or polled_at < scene.now - LISTENS):
        return Unknown(fingerprint, "its orders were not read to the end lately, so that the silence may be ours")
    # Of a silence of weeks its beginning tells enough: it is not compared with itself.
    since = max(counted_from, scene.now - timedelta(days=7))
    rows = fetch(
        scene.conn,
        """
        select hour_at, messages from heard_hours
        where shop_id = %(shop)s and connection_id = %(connection)s and hour_at >= %(from)s order by hour_at
        """,
        shop=scene.shop_id,
        connection=channel.id,
        **{"from": scene.now - KEPT - AT_ONCE},
    )
    hours = {row["hour_at"].astimezone(UTC): row["messages"] for row in rows}
    # What came first began a history: the part of a week before it is not known.
    known_from = next((row["hour_at"] for row in rows if row["messages"]), scene.now)
    past = usual(hours, known_from, since, scene.now, scene.zone)
    if past.weeks < scene.policy["least_weeks"]:
        return Unknown(
            fingerprint,
            f"only {many(past.weeks, 'week')} of its history {'is' if past.weeks == 1 else 'are'} on record, and its"
            f" rhythm is known after {scene.policy['least_weeks']}",
        )
    if past.least < scene.policy["least_messages"]:
        return well
    shown = _shown(scene, channel)
    minutes = round(silent.total_seconds() / 60)
    began = since.astimezone(scene.zone)
    ago = f"{many(minutes, 'minute')}" if minutes < 180 else f"{minutes / 60:.0f} hours"
    return Finding(
        fingerprint,
        "danger",
        f"{channel.name} has been silent for {ago}",
        f"Nothing came from it since {scene.clock(last)}. Usual from {began:%H:%M} on a {began:%A} to now are"
        f" {past.least:,} to {past.most:,} messages, by the last {past.weeks} weeks."
        f" {many(shown, 'SKU is', 'SKUs are')} for sale there.",
        "Look whether it answers calls and still calls us (Connections); what it sold meanwhile is found by the next"
        " poll that succeeds.",
        "connections",
        minutes,
        channel.address,
        channel.id,
        skus=shown,
        follows=channel.id,
    )


def _shown(scene: Scene, channel: Channel) -> int:
    return int(
        scalar(
            scene.conn,
            f"""
            select count(distinct sku_id) from (
                select l.sku_id from listings l
                where l.shop_id = %(shop)s and l.connection_id = %(connection)s and l.publishing = 'on'
                limit {COUNTED_AT_MOST}
            ) shown
            """,
            shop=scene.shop_id,
            connection=channel.id,
        )
    )


def _last_heard(scene: Scene) -> dict[int, datetime]:
    rows = fetch(
        scene.conn,
        """
        select c.id, coalesce(newest.received_at, (
            select h.hour_at + interval '1 hour' from heard_hours h
            where h.shop_id = c.shop_id and h.connection_id = c.id and h.messages > 0
            order by h.hour_at desc limit 1)) as last_at
        from connections c
        left join lateral (
            select m.received_at from inbox_messages m
            where m.shop_id = c.shop_id and m.connection_id = c.id and m.received_at <= %(now)s
            order by m.received_at desc limit 1
        ) newest on true
        where c.shop_id = %(shop)s and c.state = 'active'
        """,
        shop=scene.shop_id,
        now=scene.now,
    )
    return {row["id"]: row["last_at"] for row in rows if row["last_at"] is not None}


def _count_hours(scene: Scene) -> None:
    """Count the hours that have ended since the last one on record, a week of them at most; forget old ones.

    Nothing is read but where an hour is due, so that a sweep by the minute does it once an hour.
    """
    ended = (scene.now - SETTLED_AFTER).replace(minute=0, second=0, microsecond=0)
    execute(
        scene.conn,
        """
        with due as (
            select c.id, span.begin_at, least(%(ended)s, span.begin_at + %(at_once)s) as end_at
            from connections c
            cross join lateral (
                select coalesce(
                    (select max(h.hour_at) + interval '1 hour' from heard_hours h
                     where h.shop_id = c.shop_id and h.connection_id = c.id),
                    (select greatest(date_trunc('hour', min(m.received_at), 'UTC'), %(oldest)s) from inbox_messages m
                     where m.shop_id = c.shop_id and m.connection_id = c.id)
                ) as begin_at
            ) span
            where c.shop_id = %(shop)s and span.begin_at < %(ended)s
        ), old as (
            delete from heard_hours h using due d
            where h.shop_id = %(shop)s and h.connection_id = d.id and h.hour_at < %(oldest)s
        )
        insert into heard_hours (shop_id, connection_id, hour_at, messages)
        select %(shop)s, d.id, step.hour_at, (
            select count(*) from inbox_messages m
            where m.shop_id = %(shop)s and m.connection_id = d.id and m.received_at >= step.hour_at
                and m.received_at < step.hour_at + interval '1 hour')
        from due d cross join lateral
            generate_series(d.begin_at, d.end_at - interval '1 hour', interval '1 hour') step(hour_at)
        order by d.id, step.hour_at
        on conflict do nothing
        """,
        shop=scene.shop_id,
        ended=ended,
        at_once=AT_ONCE,
        oldest=ended - KEPT,
    )
