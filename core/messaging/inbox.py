"""The inbox: record once, claim in batches, settle in the same unit of work as the effect, isolate poison.

States: received, then handled, waiting (something must come first), ignored (a topic we do not use), parked
(a person must look; the cause says why) or discarded (a person gave it up). Nothing leaves the inbox by being lost.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from sqlalchemy import Connection, Engine
from sqlalchemy.engine import RowMapping

from core.db import execute, fetch, is_data_error, scalar, unit_of_work
from core.errors import BadInput, Permanent, Retryable
from core.logs import bound

log = logging.getLogger(__name__)

WAIT_FOR = timedelta(hours=4)
"""How long a message may wait for what must come first: as long as the slowest vendor goes on delivering."""


PARTS = 8
"""Into how many parts a batch is split to find its poison: what fails once more is then an eighth and less of what
failed first, where halves would make it as much again, and there are hardly more turns."""


@dataclass(frozen=True, slots=True)
class Received:
    """One message of the inbox. `prepared` is what its handler made of the body ahead of time, if it did."""

    id: int
    topic: str
    body: bytes
    triggered_at: datetime | None
    received_at: datetime
    attempts: int
    prepared: object = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a message ends its turn. `cause` names the reason of parked and ignored, `waiting_for` the key awaited."""

    state: str
    cause: str | None = None
    detail: str | None = None
    waiting_for: str | None = None


HANDLED = Verdict("handled")

Handler = Callable[[Connection, Sequence[Received], datetime], dict[int, Verdict]]
"""Applies a batch in the caller's unit of work; a verdict for every message id."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The most that is claimed at once. Messages differ a hundredfold in size and in what they cost to book, so both
    their number and the bytes of their bodies are bounded."""

    messages: int
    body_bytes: int = 8 * 1024 * 1024


class Reader(Protocol):
    """Reads messages before their turn; see `core.messaging.ahead`."""

    def begin(self, after_id: int) -> None:
        """Start to read what follows `after_id`."""

    def take(self) -> Mapping[int, Received]:
        """What was read since, by id."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """One message to be recorded by a poll."""

    delivery_id: str
    topic: str
    body: bytes
    triggered_at: datetime | None


def record(
    conn: Connection, shop_id: int, connection_id: int, messages: Sequence[Incoming], road: str, now: datetime
) -> int:
    """Insert what is not there yet, by delivery id; returns how many were new."""
    ordered = sorted({message.delivery_id: message for message in messages}.values(), key=lambda m: m.delivery_id)
    return len(
        fetch(
            conn,
            """
            insert into inbox_messages (shop_id, connection_id, delivery_id, topic, road, body, triggered_at,
                received_at)
            select %(shop)s, %(connection)s, d, t, %(road)s, b, at, %(now)s
            from unnest(%(deliveries)b::text[], %(topics)b::text[], %(bodies)b::bytea[], %(ats)b::timestamptz[])
                as m (d, t, b, at)
            on conflict (shop_id, connection_id, delivery_id) do nothing returning id
            """,
            shop=shop_id,
            connection=connection_id,
            road=road,
            now=now,
            deliveries=[message.delivery_id for message in ordered],
            topics=[message.topic for message in ordered],
            bodies=[message.body for message in ordered],
            ats=[message.triggered_at for message in ordered],
        )
    )


def drain_batch(
    engine: Engine,
    shop_id: int,
    connection_id: int,
    after_id: int,
    size: Batch,
    handler: Handler,
    now: datetime,
    reader: Reader | None = None,
) -> tuple[int, int]:
    """Claim and handle one batch of a lane; returns (how many were claimed, highest id claimed).

    `after_id` skips the dead index entries of what this drain has already settled. Errors of the machinery (a
    deadlock, a lost connection) propagate and nothing is settled; errors of the data are narrowed down to the one
    message that carries them, which is parked while the others go through. With a `reader`, bodies that it has read
    are not read again, and it goes on with the next ones while this batch is handled.
    """
    known = reader.take() if reader is not None else {}
    batch: list[Received] = []
    parked: dict[int, Verdict] = {}
    try:
        with unit_of_work(engine) as conn:
            batch = _claim(conn, shop_id, connection_id, after_id, size, known)
            if not batch:
                return 0, after_id
            if reader is not None:
                reader.begin(batch[-1].id)
            _settle(conn, shop_id, handler(conn, batch, now), now, parked)
    except Exception as error:
        if not batch or not is_poison(error):
            raise
        parked = _isolate(engine, shop_id, batch, handler, now, error)
    # Now that it is true.
    for message_id, verdict in parked.items():
        with bound(shop=shop_id, connection=connection_id, message=message_id, cause=verdict.cause):
            log.warning("a message was parked: %s", verdict.detail)
    return len(batch), batch[-1].id


def is_poison(error: Exception) -> bool:
    """Whether the message itself is at fault, so that no repetition helps.

    A fault in our own code shows as KeyError, TypeError and the like: it must not stop the lane either, so it parks
    its message with the name of the error. What says "not now" (Retryable, a lost connection, a deadlock, memory,
    a job's time running out) is never poison.
    """
    if isinstance(error, (BadInput, Permanent)) or is_data_error(error):
        return True
    return isinstance(error, (ValueError, ArithmeticError, LookupError, TypeError, AttributeError)) and not isinstance(
        error, Retryable
    )


# Turns, not messages: one that waits, is released and handled counts as waiting and as handled.
_TALLIED = """
    tallied as (
        insert into tallies (kind, connection_id, name, outcome, events, at)
        select 'inbox', connection_id, '', state, count(*), clock_timestamp() from settled
        group by connection_id, state
    )
"""


def expire_waiting(conn: Connection, now: datetime) -> int:
    """Park what waited longer than it may; returns how many."""
    return len(
        fetch(
            conn,
            f"""
            with settled as (
                update inbox_messages set state = 'parked', settled_at = %(now)s,
                    cause = 'unknown_' || split_part(waiting_for, ':', 1),
                    detail = 'waited until its deadline for ' || waiting_for
                where state = 'waiting' and waits_until <= %(now)s returning connection_id, state
            ), {_TALLIED} select from settled
            """,
            now=now,
        )
    )


def release_waiting(conn: Connection, shop_id: int, connection_id: int, keys: Sequence[str]) -> int:
    """Give messages that wait for one of `keys` another turn; returns how many."""
    if not keys:
        return 0
    return execute(
        conn,
        """
        update inbox_messages set state = 'received', waiting_for = null, waits_until = null
        where shop_id = %(shop)s and connection_id = %(connection)s and state = 'waiting'
            and waiting_for = any(%(keys)b::text[])
        """,
        shop=shop_id,
        connection=connection_id,
        keys=sorted(set(keys)),
    )


ANOTHER_TURN = """
    state = 'received', cause = null, detail = null, settled_at = null, waiting_for = null, waits_until = null,
    discarded_by = null, discarded_reason = null
"""
"""What an update sets so that a message is claimed again."""

_PARKED = """
    state = 'parked' and (%(connection)s::int8 is null or connection_id = %(connection)s)
    and (%(cause)s::text is null or cause = %(cause)s)
"""


def parked_causes(conn: Connection, connection_id: int | None, cause: str | None) -> Sequence[RowMapping]:
    """What is parked, by connection, cause and topic, with the newest as an example."""
    return fetch(
        conn,
        f"""
        select connection_id, cause, topic, count(*) as messages, min(received_at) as since, max(id) as example,
            (array_agg(detail order by id desc))[1] as detail
        from inbox_messages where {_PARKED} group by 1, 2, 3 order by 4 desc, 1, 2, 3
        """,
        connection=connection_id,
        cause=cause,
    )


def has_received(conn: Connection, shop_id: int, connection_id: int) -> bool:
    """Whether the lane has anything left to claim."""
    return bool(
        scalar(
            conn,
            """
            select exists (select from inbox_messages where shop_id = %(shop)s and connection_id = %(connection)s
                and state = 'received')
            """,
            shop=shop_id,
            connection=connection_id,
        )
    )


def lanes_with_received(conn: Connection) -> list[tuple[int, int]]:
    """(shop_id, connection_id) of every lane that has something to claim."""
    rows = fetch(
        conn,
        """
        select c.shop_id, c.id from connections c where exists (select from inbox_messages m
            where m.shop_id = c.shop_id and m.connection_id = c.id and m.state = 'received') order by 1, 2
        """,
    )
    return [(row["shop_id"], row["id"]) for row in rows]


_MESSAGE_COLUMNS = "id, topic, body, triggered_at, received_at, attempts"

# The head of a lane: so many messages, or fewer if their bodies together are so large; one at least.
_HEAD = """
    select id from (
        select id, sum(bytes) over (order by id) - bytes as bytes_before from (
            select id, octet_length(body) as bytes from inbox_messages
            where shop_id = %(shop)s and connection_id = %(connection)s and state = 'received' and id > %(after)s
            order by id limit %(limit)s
        ) waiting
    ) measured where bytes_before < %(bytes)s
"""


def received_after(conn: Connection, shop_id: int, connection_id: int, after_id: int, size: Batch) -> list[Received]:
    """The lane's next messages, oldest first, without claiming them."""
    rows = fetch(
        conn,
        f"""
        select {_MESSAGE_COLUMNS} from inbox_messages
        where shop_id = %(shop)s and id in ({_HEAD}) order by id
        """,
        shop=shop_id,
        connection=connection_id,
        after=after_id,
        limit=size.messages,
        bytes=size.body_bytes,
    )
    return [_received(row) for row in rows]


def _claim(
    conn: Connection, shop_id: int, connection_id: int, after_id: int, size: Batch, known: Mapping[int, Received]
) -> list[Received]:
    """Lock the lane's next messages; the bodies of those that are `known` stay where they are."""
    ids = scalar(
        conn,
        f"""
        select array_agg(id order by id) from (
            select id from inbox_messages
            where shop_id = %(shop)s and id in ({_HEAD}) and state = 'received' order by id for update skip locked
        ) claimed
        """,
        shop=shop_id,
        connection=connection_id,
        after=after_id,
        limit=size.messages,
        bytes=size.body_bytes,
    )
    unread = [id_ for id_ in ids or () if id_ not in known]
    read = {}
    if unread:
        sql = f"select {_MESSAGE_COLUMNS} from inbox_messages where shop_id = %(shop)s and id = any(%(ids)b::int8[])"
        read = {row["id"]: _received(row) for row in fetch(conn, sql, shop=shop_id, ids=unread)}
    return [known.get(id_) or read[id_] for id_ in ids or ()]


def _received(row: RowMapping) -> Received:
    return Received(**{**row, "body": bytes(row["body"])})


def _isolate(
    engine: Engine, shop_id: int, batch: Sequence[Received], handler: Handler, now: datetime, error: Exception
) -> dict[int, Verdict]:
    """Split what was rolled back until the message at fault stands alone; returns the verdicts on what is parked.

    Each part is a unit of work of its own: parts handled one after the other in one would lock levels and listings out
    of their order, and deadlock with another lane.
    """
    parked: dict[int, Verdict] = {}
    if len(batch) == 1:
        with unit_of_work(engine) as conn:
            if _lock_again(conn, shop_id, batch):
                _settle(conn, shop_id, {batch[0].id: parked_for(error)}, now, parked)
        return parked
    size = math.ceil(len(batch) / PARTS)
    for start in range(0, len(batch), size):
        part = batch[start : start + size]
        of_part: dict[int, Verdict] = {}
        try:
            with unit_of_work(engine) as conn:
                mine = _lock_again(conn, shop_id, part)
                if mine:
                    _settle(conn, shop_id, handler(conn, mine, now), now, of_part)
        except Exception as inner:
            if not is_poison(inner):
                raise
            of_part = _isolate(engine, shop_id, part, handler, now, inner)
        parked |= of_part
    return parked


def _lock_again(conn: Connection, shop_id: int, batch: Sequence[Received]) -> list[Received]:
    """Those of a batch that still wait for their turn and are nobody else's."""
    rows = fetch(
        conn,
        """
        select id from inbox_messages where shop_id = %(shop)s and id = any(%(ids)b::int8[]) and state = 'received'
        order by id for update skip locked
        """,
        shop=shop_id,
        ids=[message.id for message in batch],
    )
    ids = {row["id"] for row in rows}
    return [message for message in batch if message.id in ids]


def parked_for(error: Exception) -> Verdict:
    """The verdict on a message whose handling raised poison (see is_poison)."""
    if isinstance(error, BadInput):
        return Verdict("parked", cause="unreadable", detail=str(error))
    # Only the kind of the error: its text may carry the customer's data.
    return Verdict("parked", cause="unexpected", detail=f"handling it raised {type(error).__name__}")


def _settle(
    conn: Connection, shop_id: int, verdicts: dict[int, Verdict], now: datetime, parked: dict[int, Verdict]
) -> None:
    """Record how messages end their turn; `parked` takes note of those that a person must look at."""
    parked.update((message_id, verdict) for message_id, verdict in verdicts.items() if verdict.state == "parked")
    execute(
        conn,
        f"""
        with settled as (
            update inbox_messages m set state = v.state, cause = v.cause, detail = v.detail,
                waiting_for = v.waiting_for, waits_until = case when v.state = 'waiting' then %(until)s end,
                attempts = m.attempts + 1,
                settled_at = case when v.state in ('handled', 'ignored', 'parked') then %(now)s end
            from unnest(%(ids)b::int8[], %(states)b::text[], %(causes)b::text[], %(details)b::text[],
                %(waits)b::text[]) as v (id, state, cause, detail, waiting_for)
            where m.shop_id = %(shop)s and m.id = v.id returning m.connection_id, m.state
        ), {_TALLIED} select 1
        """,
        shop=shop_id,
        now=now,
        until=now + WAIT_FOR,
        ids=list(verdicts),
        states=[verdict.state for verdict in verdicts.values()],
        causes=[verdict.cause for verdict in verdicts.values()],
        details=[verdict.detail for verdict in verdicts.values()],
        waits=[verdict.waiting_for for verdict in verdicts.values()],
    )
