"""Failures that were given up, open again: who gave them up and why stays on record beside who took that back."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from core import audit
from core.audit import Actor
from core.db import execute
from core.errors import Anticipated, BadInput
from core.recovery.choosing import Chosen, parameters


class NotDiscarded(Anticipated):
    """Nothing of what was chosen is given up."""

    def __init__(self) -> None:
        super().__init__(
            "Nothing was taken back: none of it is discarded, or a mended copy has taken its place. Look again."
        )


_GIVEN_UP = """
    f.shop_id = %(shop)s and f.state = 'discarded' and (%(kind)s::int8 is null or f.kind_id = %(kind)s)
    and (%(source)s::text is null or (f.source = %(source)s and f.item_id = %(item)s))
"""

_SOURCES = (
    ("job", "job_runs", "r.resolution = 'discarded'", "r.resolved_at", "r.resolved_by", "r.resolved_reason",
     "resolution = null, resolved_at = null, resolved_by = null, resolved_reason = null"),
    ("message", "inbox_messages", "r.shop_id = %(shop)s and r.state = 'discarded' and r.replaced_by is null",
     "r.settled_at", "r.discarded_by", "r.discarded_reason",
     "state = 'parked', settled_at = %(now)s, discarded_by = null, discarded_reason = null"),
    ("outbox", "outbox_messages", "r.shop_id = %(shop)s and r.state = 'discarded'", "r.settled_at", "r.discarded_by",
     "r.discarded_reason", "state = 'dead', settled_at = %(now)s, discarded_by = null, discarded_reason = null"),
)  # fmt: skip


def take_back(conn: Connection, shop_id: int, chosen: Chosen, actor: Actor, now: datetime) -> int:
    """Open what was given up again, one failure or all of a cause, so that it can be requeued; returns how many.

    Raises NotDiscarded, BadInput for a choice of everything.
    """
    if chosen.group_key is None and chosen.source is None:
        raise BadInput("what was discarded is taken back one by one, or by cause: say which")
    meant = parameters(conn, shop_id, chosen)
    items = 0
    for source, table, given_up, at, by, reason, opened in _SOURCES:
        # Runs, messages and notices are locked before their failures, as by whoever settles one.
        items += execute(
            conn,
            f"""
            with mine as materialized (
                select r.id, {at} as at, {by} as by, {reason} as reason from {table} r
                where {given_up} and r.id in (select f.item_id from failures f where {_GIVEN_UP}
                    and f.source = '{source}')
                order by r.id for update
            ), opened as (
                update {table} r set {opened} from mine where r.id = mine.id returning r.id
            )
            insert into failure_discards (shop_id, source, item_id, discarded_at, discarded_by, discarded_reason,
                taken_back_at, taken_back_by, taken_back_reason)
            select %(shop)s, '{source}', mine.id, mine.at, mine.by, mine.reason, %(now)s, %(actor)s, %(why)s
            from mine join opened using (id)
            """,
            **meant,
            now=now,
            actor=actor.name,
            why=actor.reason,
        )
    if not items:
        raise NotDiscarded
    # A run says by itself that nobody has dealt with it; of messages and notices the failure follows.
    execute(
        conn,
        f"""
        update failures f set state = 'open', state_at = %(now)s
        from job_runs r where {_GIVEN_UP} and f.source = 'job' and r.id = f.item_id and r.resolution is null
        """,
        **meant,
        now=now,
    )
    audit.record(conn, shop_id, actor, "take_back_failures", chosen.subject, now, items=items)
    return items
