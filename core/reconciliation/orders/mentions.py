"""Which orders the unhandled messages of an inbox speak of: what differs may be on its way in one of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from core.db import execute, fetch
from core.messaging.inbox import is_poison
from core.ports import Facts

Parse = Callable[[str, bytes, datetime | None], Facts | None]

PAGE = 200
PAGE_BYTES = 8 * 1024 * 1024

# What ids of orders are made of at every channel: digits, letters, dashes.
_TOKEN = re.compile(rb"[0-9A-Za-z][0-9A-Za-z-]{2,39}")

# Each by the index of its state: the rest of the inbox is history.
_UNHANDLED = " union all ".join(
    f"""
    (select id, state, topic, delivery_id, body, triggered_at from inbox_messages
    where shop_id = %(shop)s and connection_id = %(connection)s and state = '{state}' and id > %(after)s
    order by id limit %(limit)s)
    """
    for state in ("received", "waiting", "parked")
)


@dataclass(frozen=True, slots=True)
class Message:
    """One message that is not handled: received, waiting for something, or parked."""

    id: int
    state: str
    topic: str
    delivery_id: str
    body: bytes
    triggered_at: datetime | None


def orders_of(message: Message, parse: Parse) -> set[str]:
    """The orders that a message is about, by the channel's ids; of one that cannot be read every word that may be one.

    Too many words do no harm: only those count that are the id of an order which differs.
    """
    try:
        facts = parse(message.topic, message.body, message.triggered_at)
    except Exception as error:
        if not is_poison(error):
            raise
        words = _TOKEN.findall(message.body) + _TOKEN.findall(message.delivery_id.encode())
        return {word.decode("ascii") for word in words}
    if facts is None or facts.unused is not None:
        return set()
    return (
        {order.ref for order in facts.orders}
        | {fulfilment.order_ref for fulfilment in facts.fulfilments}
        | {refund.order_ref for refund in facts.refunds}
        | {edit.order_ref for edit in facts.edits}
        | {hint.ref for hint in facts.hints if hint.kind == "order"}
    )


def unhandled(conn: Connection, shop_id: int, connection_id: int) -> Iterator[list[Message]]:
    """The messages of a connection that are not handled, oldest first, by pages bounded in number and bytes."""
    after = 0
    while True:
        rows = fetch(
            conn,
            f"""
            select id, state, topic, delivery_id, body, triggered_at from (
                select m.*, sum(octet_length(body)) over (order by id) - octet_length(body) as bytes_before
                from ({_UNHANDLED} order by id limit %(limit)s) m
            ) measured where bytes_before < %(bytes)s order by id
            """,
            shop=shop_id,
            connection=connection_id,
            after=after,
            limit=PAGE,
            bytes=PAGE_BYTES,
        )
        if not rows:
            return
        yield [Message(**{**row, "body": bytes(row["body"])}) for row in rows]
        after = rows[-1]["id"]


def note(conn: Connection, shop_id: int, run_id: int, connection_id: int, parse: Parse) -> int:
    """Put beside every staged order that differs the message which speaks of it; returns how many orders that were.

    One that will be handled by itself counts before one that is parked.
    """
    execute(
        conn,
        """
        update staged_orders set message_id = null, message_state = null
        where shop_id = %(shop)s and run_id = %(run)s and verdict is not null and message_id is not null
        """,
        shop=shop_id,
        run=run_id,
    )
    noted = 0
    for page in unhandled(conn, shop_id, connection_id):
        told = sorted({(ref, message.id, message.state) for message in page for ref in orders_of(message, parse)})
        noted += execute(
            conn,
            """
            update staged_orders s set message_id = m.id, message_state = m.state
            from (select distinct on (ref) ref, id, state
                from unnest(%(refs)b::text[], %(ids)b::int8[], %(states)b::text[]) as n (ref, id, state)
                order by ref, state = 'parked', id) m
            where s.shop_id = %(shop)s and s.run_id = %(run)s and s.channel_ref = m.ref and s.verdict is not null
                and (s.message_id is null or (s.message_state = 'parked' and m.state <> 'parked'))
            """,
            shop=shop_id,
            run=run_id,
            refs=[ref for ref, _, _ in told],
            ids=[message_id for _, message_id, _ in told],
            states=[state for _, _, state in told],
        )
    return noted
