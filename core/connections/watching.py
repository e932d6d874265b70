"""Writes: what was noticed of a channel: whether it still calls us, what people did there, what it is writing down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from psycopg.types.json import Jsonb
from sqlalchemy import Connection

from core.db import execute, fetch
from core.ports import ChannelSubscription

EXPORT = "export"
"""The setting of a connection that holds the channel's id of an export under way."""

EXPORT_HOLDS_UNTIL = "export_holds_until"
"""The setting beside it: up to which second everything that happened to orders had happened before it began."""


def note_subscriptions(
    conn: Connection, shop_id: int, connection_id: int, found: Sequence[ChannelSubscription], now: datetime
) -> list[str]:
    """Keep how each topic was found, and was left; returns those that had stood and left a gap.

    A gap is told of when it is found, and once more when it is closed if that is later: it has grown meanwhile. Topics
    that nobody asks for any more are forgotten. The rows of a connection are locked in order of topic.
    """
    before = {
        row["topic"]: row["state"]
        for row in fetch(
            conn,
            """
            select topic, state from channel_subscriptions
            where shop_id = %(shop)s and connection_id = %(id)s and ref is not null order by topic for update
            """,
            shop=shop_id,
            id=connection_id,
        )
    }
    gone = [
        item
        for item in found
        if item.topic in before
        # One that was refused and stands again without being made anew stood, and brought us nothing.
        and (item.was_missing or (before[item.topic], item.state) == ("refused", "standing"))
    ]
    dropped = sorted(item.topic for item in gone)
    execute(
        conn,
        """
        insert into channel_subscriptions as s
            (shop_id, connection_id, topic, state, ref, checked_at, problem, is_advised)
        select %(shop)s, %(id)s, n.topic, n.state, n.ref, %(now)s, n.problem, n.is_advised
        from unnest(%(topics)b::text[], %(states)b::text[], %(refs)b::text[], %(problems)b::text[],
            %(advised)b::boolean[]) as n (topic, state, ref, problem, is_advised)
        on conflict (shop_id, connection_id, topic) do update set state = excluded.state,
            ref = coalesce(excluded.ref, s.ref), checked_at = excluded.checked_at, problem = excluded.problem,
            is_advised = excluded.is_advised,
            missed_at = case when s.topic = any(%(dropped)b::text[]) and s.state = 'standing' then %(now)s
                else s.missed_at end,
            repaired_at = case when s.topic = any(%(dropped)b::text[]) and excluded.state = 'standing' then %(now)s
                else s.repaired_at end,
            repairs = s.repairs
                + (s.topic = any(%(dropped)b::text[]) and excluded.state = 'standing')::integer
        """,
        shop=shop_id,
        id=connection_id,
        now=now,
        dropped=dropped,
        topics=[item.topic for item in _sorted(found)],
        states=[item.state for item in _sorted(found)],
        refs=[item.ref for item in _sorted(found)],
        problems=[item.problem for item in _sorted(found)],
        advised=[item.is_advised for item in _sorted(found)],
    )
    execute(
        conn,
        """
        delete from channel_subscriptions where shop_id = %(shop)s and connection_id = %(id)s
            and topic <> all(%(topics)b::text[])
        """,
        shop=shop_id,
        id=connection_id,
        topics=[item.topic for item in found],
    )
    return sorted(item.topic for item in gone if "standing" in (before[item.topic], item.state))


def subscription_refs(conn: Connection, shop_id: int, connection_id: int) -> set[str]:
    """The channel's ids of the subscriptions that were made for this connection."""
    rows = fetch(
        conn,
        "select ref from channel_subscriptions where shop_id = %(shop)s and connection_id = %(id)s and ref is not null",
        shop=shop_id,
        id=connection_id,
    )
    return {row["ref"] for row in rows}


def _sorted(found: Sequence[ChannelSubscription]) -> list[ChannelSubscription]:
    return sorted(found, key=lambda item: item.topic)


@dataclass(frozen=True, slots=True)
class ChannelAct:
    """Something people did at a channel; `ref` makes it one however often it is seen."""

    kind: Literal["draft_order", "order_edit"]
    ref: str
    acted_at: datetime


def note_acts(conn: Connection, shop_id: int, connection_id: int, acts: Sequence[ChannelAct]) -> int:
    """Count what people did at a channel, each once; returns how many were new. An order edited twice is one."""
    first = {(act.kind, act.ref): act for act in sorted(acts, key=lambda act: act.acted_at, reverse=True)}
    ordered = [first[key] for key in sorted(first)]
    if not ordered:
        return 0
    rows = fetch(
        conn,
        """
        insert into channel_acts (shop_id, connection_id, kind, ref, acted_at)
        select %(shop)s, %(id)s, n.kind, n.ref, n.acted_at
        from unnest(%(kinds)b::text[], %(refs)b::text[], %(ats)b::timestamptz[]) as n (kind, ref, acted_at)
        on conflict do nothing returning ref
        """,
        shop=shop_id,
        id=connection_id,
        kinds=[act.kind for act in ordered],
        refs=[act.ref for act in ordered],
        ats=[act.acted_at for act in ordered],
    )
    return len(rows)


def note_export(
    conn: Connection, shop_id: int, connection_id: int, ref: str | None, holds_until: datetime | None = None
) -> None:
    """Remember which export is under way, for whoever reads the catalogue next; None: there is none any more.

    `holds_until`: the second up to which everything that happened to orders had happened before it began. What is
    remembered of an export stays.
    """
    until = {} if holds_until is None else {EXPORT_HOLDS_UNTIL: holds_until.isoformat()}
    execute(
        conn,
        """
        update connections set settings = settings - %(export)s::text - %(until)s::text || %(now_is)s
        where shop_id = %(shop)s and id = %(id)s and settings ->> %(export)s::text is distinct from %(ref)s
        """,
        shop=shop_id,
        id=connection_id,
        export=EXPORT,
        until=EXPORT_HOLDS_UNTIL,
        ref=ref,
        now_is=Jsonb({} if ref is None else {EXPORT: ref, **until}),
    )


def export_holds_until(settings: Mapping[str, Any]) -> datetime | None:
    """What `note_export` remembered of the export under way."""
    found = settings.get(EXPORT_HOLDS_UNTIL)
    return None if found is None else datetime.fromisoformat(found)
