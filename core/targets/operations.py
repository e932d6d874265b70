"""Writes: ask for a comparison of everything, and have failed entries tried again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from core import audit
from core.audit import Actor
from core.db import execute
from core.errors import BadInput
from core.messaging.doorbell import Lane
from core.runs import operations as runs
from core.targets import queries

FULL = "sync_target"
"""The kind of sync run that compares everything."""

LANE = "targets"
"""The first seat's lane of each target; it rings for others where there is much to do."""


class NothingToRequeue(BadInput):
    """Nothing of what was named has failed."""

    def __init__(self) -> None:
        super().__init__("nothing of that has failed and waits: it may have gone through meanwhile")


def lanes_to_ring(conn: Connection, shop_id: int) -> list[Lane]:
    """The lanes to be rung, after the commit, by whoever saved or removed products, categories or stock."""
    return [Lane(LANE, shop_id, connection_id) for connection_id in queries.targets_of(conn, shop_id)]


def lane_to_ring(conn: Connection, shop_id: int, connection_id: int) -> Lane | None:
    """The lane of one connection, for whoever lets it be written to again; None where it is no active target."""
    found = [lane for lane in lanes_to_ring(conn, shop_id) if lane.connection_id == connection_id]
    return found[0] if found else None


def request_full(conn: Connection, shop_id: int, connection_id: int, trigger: str, actor: Actor, now: datetime) -> int:
    """Ask for everything that a target holds to be read and compared; returns the sync run, or the one that is open.

    Audited by the run itself. The job `targets.full` is queued by the caller, after the commit.
    """
    return runs.request_sync(conn, shop_id, connection_id, FULL, trigger, actor, now)


def requeue(
    conn: Connection,
    shop_id: int,
    connection_id: int,
    actor: Actor,
    now: datetime,
    *,
    code: str | None = None,
    entry_ids: Sequence[int] | None = None,
) -> int:
    """Have entries that the target refused tried again at once: all of one cause, or some. Returns how many. What is
    tried again and waits for its turn is left as it is.

    Raises NothingToRequeue. The caller rings `lanes_to_ring` after the commit.
    """
    changed = execute(
        conn,
        """
        with failed as materialized (
            select id from target_entries where shop_id = %(shop)s and connection_id = %(connection)s
                and (problem_kind = 'refused' or is_held) and open_job_id is null and failures > 0
                and (%(code)s::text is null or problem_code = %(code)s)
                and (%(ids)b::int8[] is null or id = any(%(ids)b::int8[]))
            order by id for no key update
        )
        update target_entries e set failures = 0, is_held = false, next_at = %(now)s from failed
        where e.shop_id = %(shop)s and e.id = failed.id
        """,
        shop=shop_id,
        connection=connection_id,
        code=code,
        ids=None if entry_ids is None else list(entry_ids),
        now=now,
    )
    if not changed:
        raise NothingToRequeue
    audit.record(
        conn, shop_id, actor, "requeue_target_entries", f"connection:{connection_id}", now, code=code, entries=changed
    )
    return changed
