"""The outbox: words that leave once, after the commit that gave rise to them.

What is for a channel of the shop's begins held, until `gathering` has decided whether it goes by itself; what is for
the installation's own address goes as it comes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, Engine
from sqlalchemy.engine import RowMapping

from core.db import execute, fetch_one, unit_of_work
from core.errors import OutOfQuota, Permanent, Retryable
from core.letters import Answer, PartlyTaken
from core.logs import mask

NOTICE, DIGEST, TEST = "notice", "notice_digest", "notice_test"
"""Kinds of messages: one thing, several things in one, and a try of whether a channel works."""
MAX_ATTEMPTS = 12
"""With the pauses below, about two days; then the row is dead and shown."""
CHANNEL_PAUSE_MAX = 900
"""Seconds that a channel which does not answer is left alone at most."""


@dataclass(frozen=True, slots=True)
class Target:
    """The channel that a message is for; `sealed` is None where its address is gone."""

    id: int
    name: str
    medium: str
    sealed: bytes | None


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message as it is handed to the sender; without a target it is for the installation's own address."""

    id: int
    kind: str
    payload: dict[str, Any]
    dedupe_key: str
    shop_id: int
    shop: str
    created_at: datetime
    target: Target | None


Sender = Callable[[Outgoing], Answer]
"""Raises Retryable (PartlyTaken among them) or Permanent."""


def add(conn: Connection, shop_id: int, kind: str, dedupe_key: str, payload: dict[str, Any], now: datetime) -> bool:
    """Queue words for the installation's own address in the caller's unit of work; False when they were before."""
    return bool(
        fetch_one(
            conn,
            """
            insert into outbox_messages (shop_id, kind, dedupe_key, payload, next_attempt_at, created_at)
            values (%(shop)s, %(kind)s, %(key)s, %(payload)s, %(now)s, %(now)s)
            on conflict (shop_id, kind, dedupe_key) do nothing returning id
            """,
            shop=shop_id,
            kind=kind,
            key=dedupe_key,
            payload=Jsonb(payload),
            now=now,
        )
    )


def relay_one(
    engine: Engine, send: Sender, now: datetime, *, has_default: bool = True, only: int | None = None
) -> bool:
    """Send the most overdue message; returns whether there was one.

    The row stays locked while it is sent, so that two relays never say the same thing. A crash between sending and
    committing repeats it: the receiver is given the dedupe key for that. A channel that does not answer is left alone
    for a while, so that it costs no more than one attempt and holds up no other. `has_default`: the installation has an
    address of its own; `only`: this message and no other. Raises what nobody foresaw, once it is noted as a failed
    attempt.
    """
    with unit_of_work(engine) as conn:
        row = fetch_one(
            conn,
            """
            select m.shop_id, m.id, m.kind, m.dedupe_key, m.payload, m.attempts, m.created_at, s.name as shop,
                m.channel_id, c.name as channel, c.medium, c.sealed, c.failures
            from outbox_messages m join shops s on s.shop_id = m.shop_id
            left join notice_channels c on c.shop_id = m.shop_id and c.id = m.channel_id
            where m.state = 'waiting' and m.next_attempt_at <= %(now)s and (%(only)s::int8 is null or m.id = %(only)s)
                and case when m.channel_id is null then %(has_default)s
                    else c.removed_at is null and (m.kind = %(test)s
                        or not c.is_quiet and (c.retry_at is null or c.retry_at <= %(now)s)) end
            order by m.next_attempt_at, m.id limit 1 for update of m skip locked
            """,
            now=now,
            only=only,
            has_default=has_default,
            test=TEST,
        )
        if row is None:
            return False
        unforeseen = _attempt(conn, row, send, now)
    if unforeseen is not None:
        # Loudly, and after it is on record: else the same message would be the first of every relay, and the last.
        raise unforeseen
    return True


def _attempt(conn: Connection, row: RowMapping, send: Sender, now: datetime) -> Exception | None:
    """Send one and note what came of it; returns an error that nobody foresaw, which counts as an attempt too."""
    try:
        answer = send(_outgoing(row))
    except (Retryable, Permanent) as error:
        _note_failure(conn, row, error, now)
    except Exception as error:  # noqa: BLE001 (raised once it is on record)
        # Its words may hold an address or a password.
        _note_failure(conn, row, Retryable(f"it could not be sent ({type(error).__name__})"), now)
        return error
    else:
        _note_success(conn, row, answer, now)
    return None


def _outgoing(row: RowMapping) -> Outgoing:
    target = None
    if row["channel_id"] is not None:
        sealed = None if row["sealed"] is None else bytes(row["sealed"])
        target = Target(row["channel_id"], row["channel"], row["medium"], sealed)
    return Outgoing(
        row["id"],
        row["kind"],
        row["payload"],
        row["dedupe_key"],
        row["shop_id"],
        row["shop"],
        row["created_at"],
        target,
    )


def _note_success(conn: Connection, row: RowMapping, answer: Answer, now: datetime) -> None:
    problem = None if answer.problem is None else mask(answer.problem)
    execute(
        conn,
        """
        update outbox_messages set state = 'sent', settled_at = %(now)s, attempts = attempts + 1,
            last_error = %(problem)s, answer = %(answer)s where shop_id = %(shop)s and id = %(id)s
        """,
        shop=row["shop_id"],
        id=row["id"],
        problem=problem,
        answer=mask(answer.text),
        now=now,
    )
    if row["channel_id"] is not None:
        execute(
            conn,
            """
            update notice_channels set failures = 0, retry_at = null, last_success_at = %(now)s,
                last_error = %(problem)s,
                last_error_at = case when %(problem)s::text is not null then %(now)s::timestamptz end
            where shop_id = %(shop)s and id = %(id)s
            """,
            shop=row["shop_id"],
            id=row["channel_id"],
            problem=problem,
            now=now,
        )


def _note_failure(conn: Connection, row: RowMapping, error: Exception, now: datetime) -> None:
    attempts = row["attempts"] + 1
    # A closed door says nothing of the message: it waits until the door opens, however often that is.
    is_dead = isinstance(error, Permanent) or (attempts >= MAX_ATTEMPTS and not isinstance(error, OutOfQuota))
    pause = min(10 * 3 ** min(attempts, 9), 6 * 3600)
    if isinstance(error, OutOfQuota):
        pause = max(error.wait_seconds, 1)
    over = "dead" if row["kind"] != TEST else "unheard"
    execute(
        conn,
        """
        update outbox_messages set state = %(state)s, attempts = %(attempts)s, last_error = %(error)s,
            payload = payload || %(more)s, next_attempt_at = %(next)s,
            settled_at = case when %(state)s <> 'waiting' then %(now)s::timestamptz end
        where shop_id = %(shop)s and id = %(id)s
        """,
        shop=row["shop_id"],
        id=row["id"],
        # A try is not tried again behind the back of the person who waits for what it says.
        state=over if is_dead or row["kind"] == TEST else "waiting",
        attempts=attempts,
        error=mask(str(error)),
        more=Jsonb({"taken": sorted(error.taken)} if isinstance(error, PartlyTaken) else {}),
        next=now + timedelta(seconds=pause),
        now=now,
    )
    if row["channel_id"] is not None:
        _leave_alone(conn, row, error, now)
    elif isinstance(error, Retryable):
        # Sooner than this one: should it be the message and not the address, the others go then.
        _put_off_default(conn, now + timedelta(seconds=min(pause, CHANNEL_PAUSE_MAX) / 2))


def _put_off_default(conn: Connection, until: datetime) -> None:
    """Leave the installation's own address alone too: else each message of each shop would wait for its timeout."""
    execute(
        conn,
        """
        update outbox_messages m set next_attempt_at = %(until)s
        from (
            select shop_id, id from outbox_messages
            where state = 'waiting' and channel_id is null and next_attempt_at < %(until)s
            order by shop_id, id for update skip locked
        ) others where m.shop_id = others.shop_id and m.id = others.id
        """,
        until=until,
    )


def _leave_alone(conn: Connection, row: RowMapping, error: Exception, now: datetime) -> None:
    """Note what is wrong with a channel; one that could not be asked is asked again after a growing pause."""
    retry_at = None
    if isinstance(error, OutOfQuota):
        retry_at = now + timedelta(seconds=max(error.wait_seconds, 1))
    elif isinstance(error, Retryable) and not isinstance(error, PartlyTaken):
        retry_at = now + timedelta(seconds=min(10 * 3 ** min(row["failures"], 9), CHANNEL_PAUSE_MAX))
    execute(
        conn,
        """
        update notice_channels set failures = failures + 1, retry_at = %(retry)s, last_error = %(error)s,
            last_error_at = %(now)s where shop_id = %(shop)s and id = %(id)s
        """,
        shop=row["shop_id"],
        id=row["channel_id"],
        retry=retry_at,
        error=mask(str(error)),
        now=now,
    )


def settle_unheard(conn: Connection, now: datetime, *, has_default: bool) -> int:
    """End what there is nobody to tell of: its channel was removed, or the installation has no address.

    It stays on record as never heard; said once somebody enters an address, it would be old. Returns how many.
    """
    return execute(
        conn,
        """
        update outbox_messages m set state = 'unheard', settled_at = %(now)s,
            last_error = case when m.channel_id is null then 'nobody is told: no channel is set up'
                else 'its channel was removed' end
        from (
            select o.shop_id, o.id from outbox_messages o
            left join notice_channels c on c.shop_id = o.shop_id and c.id = o.channel_id
            where o.state in ('held', 'waiting') and (c.removed_at is not null
                or (o.channel_id is null and o.kind = %(notice)s and not %(has_default)s))
            order by o.shop_id, o.id for update of o skip locked
        ) gone where m.shop_id = gone.shop_id and m.id = gone.id
        """,
        now=now,
        notice=NOTICE,
        has_default=has_default,
    )
