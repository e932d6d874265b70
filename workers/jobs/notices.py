"""Jobs: poll.notices, notices.read."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from core import bootstrap
from core.alerts import credentials
from core.alerts.credentials import Ending
from core.alerts.engine import Desk
from core.audit import Actor
from core.bootstrap import Application
from core.clock import utc_now
from core.connections import mailboxes, renewals
from core.connections.mailboxes import Mailroom
from core.connections.queries import ConnectionRow
from core.db import read_only, unit_of_work
from core.errors import Permanent, Retryable
from core.logs import mask
from core.messaging import inbox
from core.messaging.doorbell import Lane, lane_lock
from core.messaging.inbox import Incoming
from core.messaging.notices import Notice as Telling
from core.messaging.notices import say
from core.ports import Mailbox, Notice, Renewal
from workers.registry import job

log = logging.getLogger(__name__)

BATCH = 10
ELSEWHERE = "elsewhere/"
"""What topics begin with of what is told of an account or a marketplace that is not connected here."""
READ_SECONDS = 20.0
"""A reading that takes longer goes on with the next one: the queue keeps what is left."""
WAIT_SECONDS = 2
"""How long one look waits for a first message. Others share the worker, and the next look is seconds away."""


@job("poll.notices", queue="polls", timeout=30)
def poll_notices() -> dict[str, Any]:
    """Have every queue read that a channel puts its notifications into."""
    app = bootstrap.application()
    with read_only(app.engine) as conn:
        rooms = mailboxes.mailrooms(conn)
    for room in rooms:
        app.queue.enqueue("notices.read", shop_id=room.reader.shop_id, connection_id=room.reader.id)
    return {"queues": len(rooms)}


@job("notices.read", queue="polls", timeout=90)
def read_notices(*, shop_id: int, connection_id: int, sync_run_id: int | None = None) -> dict[str, Any]:
    """Record what a connection's queue holds, and take out of it what is recorded; for at most READ_SECONDS.

    A death in between has it recorded again under the same id, that is once, and taken out then.
    """
    app = bootstrap.application()
    with read_only(app.engine) as conn:
        room = mailboxes.mailroom_of(conn, shop_id, connection_id)
    if room is None:
        return {"no_queue": True}
    with lane_lock(app.engine, Lane("notices", shop_id, room.reader.id)) as is_held:
        if not is_held:
            return {"busy": True}
        try:
            with app.mailbox(room.reader) as mailbox:
                return {"no_queue": True} if mailbox is None else read_mailbox(app, room, mailbox)
        except (Retryable, Permanent) as error:
            # Not a failed job each time: it is the connection's problem, and shown there until the queue answers.
            problem = mask(str(error))
            with unit_of_work(app.engine) as conn:
                mailboxes.note_unread(conn, room, problem, utc_now())
            return {"failed": problem}


def read_mailbox(app: Application, room: Mailroom, mailbox: Mailbox) -> dict[str, int]:
    """The reading itself; returns what it counted. Raises what the mailbox raises."""
    counts: Counter[str] = Counter(received=0, recorded=0, left=0)
    ends_at = time.monotonic() + READ_SECONDS
    while time.monotonic() < ends_at:
        notices = mailbox.receive(BATCH, WAIT_SECONDS)
        counts["received"] += len(notices)
        counts["recorded"] += record(app, room, notices)
        if not notices:
            break
        counts["left"] += len(mailbox.acknowledge(notices))
    return dict(counts)


def record(app: Application, room: Mailroom, notices: Sequence[Notice]) -> int:
    """Record messages for whom they are, in one commit; returns how many were new. Whoever gained any is rung for."""
    now = utc_now()
    with unit_of_work(app.engine) as conn:
        gained = {row.id: _record_for(conn, row, told, now) for row, told in _sorted_out(room, notices)}
        for notice in notices:
            if notice.renewal is not None:
                _renew(app, conn, room, notice.renewal, notice.triggered_at, now)
        mailboxes.note_read(conn, room, now, came=bool(notices))
    for row in room.members:
        if gained[row.id]:
            app.doorbell.ring(Lane("events", row.shop_id, row.id))
    return sum(gained.values())


def _sorted_out(room: Mailroom, notices: Sequence[Notice]) -> list[tuple[ConnectionRow, list[Notice]]]:
    """What is whose, in order of connections.

    What is nobody's here is kept by whoever reads, under a topic that nobody uses: an application serves many sellers,
    and another's SKU may be called as one of ours.
    """
    told: dict[int, list[Notice]] = {row.id: [] for row in room.members}
    for notice in notices:
        whose = room.addressees(notice.account_ref, notice.marketplace)
        for row in whose:
            told[row.id].append(notice)
        if not whose:
            told[room.reader.id].append(replace(notice, topic=ELSEWHERE + notice.topic.rpartition("/")[2]))
    return [(row, told[row.id]) for row in room.members]


def _record_for(conn: Connection, row: ConnectionRow, notices: Sequence[Notice], now: datetime) -> int:
    """Record what is one connection's, by topic, so that what came again is not counted again."""
    topics: dict[str, list[Incoming]] = {}
    for notice in notices:
        incoming = Incoming(notice.delivery_id, notice.topic, notice.body, notice.triggered_at)
        topics.setdefault(notice.topic, []).append(incoming)
    new = {
        topic: inbox.record(conn, row.shop_id, row.id, messages, "queue", now)
        for topic, messages in sorted(topics.items())
    }
    mailboxes.note_came(conn, row.shop_id, row.id, new, now)
    return sum(new.values())


def _renew(
    app: Application, conn: Connection, room: Mailroom, renewal: Renewal, told_at: datetime | None, now: datetime
) -> None:
    """Take over a new client secret, or tell somebody that the present one ends."""
    keys = app.settings.secret_keys
    found = renewals.holders(conn, keys, room.reader.vendor, renewal.application)
    if renewal.secret is None:
        for holder in found:
            desk = Desk(conn, holder.shop_id, now, app.settings.dashboard_url)
            credentials.tell_of_ending(desk, holder.connection_id, Ending(holder.name, renewal.ends_at), told_at)
        return
    actor = Actor("notifications", "Amazon told us of the application's new client secret")
    taken = renewals.take_new_secret(conn, keys, found, renewal.secret, told_at, actor, now)
    if not found:
        log.warning("a new client secret came for an application that no connection uses")
    for holder in taken:
        until = "" if renewal.ends_at is None else f" The one before works until {renewal.ends_at:%Y-%m-%d %H:%M} UTC."
        text = f"{holder.name}: the application has a new client secret, and it is in use.{until}"
        key = f"renewed:{holder.connection_id}:{now.isoformat()}"
        subject = f"{holder.name} has a new client secret"
        say(conn, holder.shop_id, Telling(key, "renewed", "info", subject, text), now)
