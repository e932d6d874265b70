"""The condition of what fails again and again of one cause: jobs, parked messages, dead notices."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

from core.alerts.rules import Finding, Found, many
from core.alerts.scene import Channel, Concerned, Scene, concerned
from core.alerts.terms import FAILURE
from core.db import fetch, fetch_one
from core.logs import mask
from core.runs import words

GROUPS = 50
"""Causes that are looked at, those with most first; of others nothing is known while there are more."""

PUSHES = ("stock.push", "stock.feed", "stock.check")
"""Jobs behind which whatever a channel does not show yet waits."""

CALLS = ("Unreachable", "OutcomeUnknown", "ServerFault", "Refused", "Unauthorised")
"""Kinds of errors in which a call to a channel ends: where none succeeds, they say no more than that."""


def repeated(scene: Scene) -> Found:
    """Groups of failures that are open and many enough."""
    jobs, messages, dead = _jobs(scene), _messages(scene), _dead(scene)
    is_cut = max(len(jobs), len(messages)) >= GROUPS
    rest = f"there are more than {GROUPS} causes, and only the greatest are looked at" if is_cut else None
    return Found([*jobs, *messages, *dead], rest=rest)


def _jobs(scene: Scene) -> list[Finding]:
    """Open failures of one cause, so many of which lie within one window of its last.

    Stays while nobody has done anything about them and no later run succeeded, however long ago the last was.
    """
    rows = fetch(
        scene.conn,
        """
        with open as (
            select f.cause, f.function, f.started_at, f.connection_id, f.error, f.run_id, w.kind_id,
                substring(k.error_class from '[^.]*$') = any(%(calls)s::text[]) as is_of_a_call,
                max(f.started_at) over (partition by f.cause, f.function) as last_at
            from (select id from job_runs where outcome in ('failed', 'abandoned') and resolution is null) u
            join job_failures f on f.run_id = u.id
            left join failures w on w.shop_id = f.shop_id and w.source = 'job' and w.item_id = f.run_id
            left join failure_kinds k on k.shop_id = w.shop_id and k.id = w.kind_id
            where f.shop_id = %(shop)s and f.state = 'open'
        )
        select cause, function, count(*) as jobs, min(started_at) as since, max(last_at) as last_at,
            count(distinct connection_id) as connections, min(connection_id) as connection_id,
            (array_agg(error order by run_id desc))[1] as error, array_agg(distinct kind_id) as kinds,
            coalesce(bool_and(is_of_a_call), false) as are_of_calls
        from open group by cause, function
        having count(*) filter (where started_at >= last_at - %(window)s) >= %(least)s
        order by 3 desc, cause limit %(limit)s
        """,
        shop=scene.shop_id,
        window=scene.policy.minutes("window_minutes"),
        least=scene.policy["jobs"],
        limit=GROUPS,
        calls=list(CALLS),
    )
    found = []
    for row in rows:
        channel = scene.channels.get(row["connection_id"]) if row["connections"] == 1 else None
        touched, money = _touched(scene, row["function"], channel, row["kinds"])
        waits = _waiting(scene, row["function"], channel, touched)
        said = mask(_last_line(row["error"]))
        found.append(
            Finding(
                f"{FAILURE}:job:{_key(row['function'], row['cause'])}",
                "danger",
                f"{words.function(row['function'])} failed {many(row['jobs'], 'time')}"
                f"{f' for {channel.name}' if channel else ''}",
                f"{f'The last said: {said}. ' if said else ''}First {scene.clock(row['since'])}, last"
                f" {scene.clock(row['last_at'])}; it has not succeeded since.{waits}",
                "Look at the cause; then have them done again in one go, or give them up with a reason.",
                "failures",
                row["jobs"],
                {"cause": row["cause"], "function": row["function"]},
                channel.id if channel else None,
                units=touched.units,
                skus=touched.skus,
                orders=touched.orders,
                follows=channel.id if channel and row["are_of_calls"] else None,
                money=money,
            )
        )
    return found


def _touched(
    scene: Scene, function: str, channel: Channel | None, kinds: list[int]
) -> tuple[Concerned, Mapping[str, int]]:
    """What the failures are about, and its money, as their page says it; behind pushes wait the channel's numbers."""
    if channel is not None and function in PUSHES:
        waiting = concerned(scene.conn, scene.shop_id, channel.id)
        return replace(waiting, orders=0), {}
    row = fetch_one(
        scene.conn,
        """
        with mine as (
            select k.skus, k.orders, k.money from failure_kinds k
            where k.shop_id = %(shop)s and k.id = any(%(kinds)s::int8[])
        )
        select coalesce(sum(skus), 0)::int8 as skus, coalesce(sum(orders), 0)::int8 as orders, (
            select coalesce(jsonb_object_agg(currency, minor), '{}') from (
                select m.key as currency, sum(m.value::int8)::int8 as minor
                from mine cross join jsonb_each_text(mine.money) m group by 1
            ) worth) as money
        from mine
        """,
        shop=scene.shop_id,
        kinds=kinds,
    )
    assert row is not None
    return Concerned(0, row["skus"], 0, row["orders"]), row["money"]


def _waiting(scene: Scene, function: str, channel: Channel | None, touched: Concerned) -> str:
    """What waits behind a job that fails, where its failures do not name it; begins with a space."""
    if channel is None:
        return ""
    if function in PUSHES and touched.listings:
        return f" {many(touched.listings, 'number waits', 'numbers wait')} to be written there."
    if function == "connection.poll" and channel.orders_polled_at is not None:
        return f" Its orders are read up to {scene.clock(channel.orders_polled_at)}."
    if function == "inbox.drain":
        row = fetch_one(
            scene.conn,
            """
            select count(*) as messages from inbox_messages
            where shop_id = %(shop)s and connection_id = %(connection)s and state = 'received'
            """,
            shop=scene.shop_id,
            connection=channel.id,
        )
        waiting = row["messages"] if row else 0
        return f" {many(waiting, 'message waits', 'messages wait')} to be handled." if waiting else ""
    return ""


def _messages(scene: Scene) -> list[Finding]:
    rows = fetch(
        scene.conn,
        """
        select p.connection_id, p.connection, p.cause, p.messages, p.since, p.last_at, p.detail,
            (select count(*) from inbox_messages m where m.shop_id = p.shop_id and m.connection_id = p.connection_id
                and m.state = 'parked' and m.cause = p.cause and m.topic like '%%order%%') as orders
        from parked_causes p where p.shop_id = %(shop)s and p.messages >= %(least)s
        order by p.messages desc, p.connection_id, p.cause limit %(limit)s
        """,
        shop=scene.shop_id,
        least=scene.policy["messages"],
        limit=GROUPS,
    )
    found = []
    for row in rows:
        touched = concerned(scene.conn, scene.shop_id, row["connection_id"])
        detail = mask(_last_line(row["detail"]))
        found.append(
            Finding(
                f"{FAILURE}:message:{row['connection_id']}:{_key(row['cause'])}",
                "danger",
                f"{many(row['messages'], 'message')} of {row['connection']}"
                f" {'is' if row['messages'] == 1 else 'are'} parked: {row['cause'].replace('_', ' ')}",
                f"{f'The newest: {detail}. ' if detail else ''}Since {scene.clock(row['since'])}. Nothing is lost,"
                " but what is in them is not booked, and while they wait the channel's watermark stands still.",
                "Repair the cause, then have them handled again; or give them up with a reason.",
                "failures",
                row["messages"],
                {"parked": row["cause"], "connection": str(row["connection_id"])},
                row["connection_id"],
                units=touched.units,
                skus=touched.skus,
                orders=max(row["orders"], touched.orders),
            )
        )
    return found


def _dead(scene: Scene) -> list[Finding]:
    rows = fetch(
        scene.conn,
        """
        select kind, count(*) as messages, min(created_at) as since, max(settled_at) as last_at,
            (array_agg(last_error order by id desc))[1] as error
        from outbox_messages where shop_id = %(shop)s and state = 'dead'
        group by kind having count(*) >= %(least)s order by kind
        """,
        shop=scene.shop_id,
        least=scene.policy["dead"],
    )
    return [
        Finding(
            f"{FAILURE}:outbox:{_key(row['kind'])}",
            "attention",
            f"{many(row['messages'], 'message')} of the kind {row['kind']} could not be delivered",
            f"They were tried for about two days. The last answer: {mask(_last_line(row['error'])) or 'none'}.",
            "Put the address right, then have them sent again, or give them up with a reason.",
            "failures",
            row["messages"],
            {"outbox": row["kind"]},
        )
        for row in rows
    ]


def _key(*parts: str) -> str:
    """A short stable name: foreign words stay out of a fingerprint."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:16]


def _last_line(text: str | None) -> str:
    lines = [line.strip() for line in (text or "").splitlines() if line.strip()]
    return lines[-1][:300].rstrip(".") if lines else ""
