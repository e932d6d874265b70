"""The orders that a channel shows, put aside in the few figures that are compared, page by page.

A run may be cut off anywhere: a page and the place to go on from are one unit of work.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.db import execute, fetch, fetch_one
from core.messaging.inbox import is_poison
from core.orders.rules import distinct_refunds
from core.ports import ChannelOrder, Facts, Found, OrderPage

Parse = Callable[[str, bytes, datetime | None], Facts | None]

Step = Literal["reading", "comparing", "asking", "judging", "healing", "closing"]

POLLED = "poll/orders"


@dataclass(frozen=True, slots=True)
class Reading:
    """Where a run over a channel's orders is; see `core.reconciliation.orders.models.order_readings`."""

    shop_id: int
    run_id: int
    connection_id: int
    since_at: datetime
    began_at: datetime
    step: Step
    resume: str | None
    read_to: datetime | None
    asked_at: datetime | None
    at_ref: str
    healed_at: datetime | None
    refs: Sequence[str] | None
    """The only orders that it is over; None: those of its window."""


def begin(
    conn: Connection,
    shop_id: int,
    run_id: int,
    connection_id: int,
    since_at: datetime,
    now: datetime,
    refs: Collection[str] | None = None,
) -> Reading:
    """Where the run is: at its beginning, or where whoever worked on it before has left it.

    With `refs` it is over those orders alone, which the channel is asked for one by one.
    """
    execute(
        conn,
        """
        insert into order_readings (shop_id, run_id, connection_id, since_at, began_at, refs, step)
        values (%(shop)s, %(run)s, %(connection)s, %(since)s, %(now)s, %(refs)s::text[],
            case when %(refs)s::text[] is null then 'reading' else 'asking' end)
        on conflict (shop_id, run_id) do nothing
        """,
        shop=shop_id,
        run=run_id,
        connection=connection_id,
        since=since_at,
        now=now,
        refs=None if refs is None else sorted(set(refs)),
    )
    if refs is not None:
        execute(
            conn,
            """
            insert into staged_orders (shop_id, run_id, channel_ref, verdict)
            select %(shop)s, %(run)s, ref, 'differs' from unnest(%(refs)b::text[]) as n (ref)
            on conflict (shop_id, run_id, channel_ref) do nothing
            """,
            shop=shop_id,
            run=run_id,
            refs=sorted(set(refs)),
        )
    found = reading(conn, shop_id, run_id)
    assert found is not None
    return found


def reading(conn: Connection, shop_id: int, run_id: int) -> Reading | None:
    """Where a run is; None before it began and once it has ended."""
    row = fetch_one(
        conn,
        """
        select shop_id, run_id, connection_id, since_at, began_at, step, resume, read_to, asked_at, at_ref, healed_at,
            refs
        from order_readings where shop_id = %(shop)s and run_id = %(run)s
        """,
        shop=shop_id,
        run=run_id,
    )
    return None if row is None else Reading(**row)


def move(conn: Connection, at: Reading, step: Step, at_ref: str = "", healed_at: datetime | None = None) -> None:
    """Remember that the run goes on with a step, behind `at_ref`."""
    execute(
        conn,
        """
        update order_readings set step = %(step)s, at_ref = %(ref)s, healed_at = coalesce(%(healed)s, healed_at)
        where shop_id = %(shop)s and run_id = %(run)s
        """,
        shop=at.shop_id,
        run=at.run_id,
        step=step,
        ref=at_ref,
        healed=healed_at,
    )


def end(conn: Connection, shop_id: int, run_id: int) -> None:
    """Forget what was put aside for a run that is over; its discrepancies stay."""
    for table in ("staged_orders", "order_readings"):
        execute(conn, f"delete from {table} where shop_id = %(s)s and run_id = %(r)s", s=shop_id, r=run_id)


def take_page(conn: Connection, at: Reading, page: OrderPage, parse: Parse, now: datetime) -> int:
    """Put a page aside and remember where the channel goes on; returns how many orders it had."""
    stage(conn, at, page.orders, parse)
    read_to = max((version_at for _, version_at, _ in page.orders), default=None)
    execute(
        conn,
        """
        update order_readings set resume = %(resume)s, read_to = greatest(read_to, %(to)s), asked_at = %(now)s
        where shop_id = %(shop)s and run_id = %(run)s
        """,
        shop=at.shop_id,
        run=at.run_id,
        resume=page.resume,
        to=read_to,
        now=now,
    )
    return len(page.orders)


def read_order(found: Found, parse: Parse) -> ChannelOrder | None:
    """What a channel showed, in our words; None for what is not ours to know, or cannot be read (then it is parked)."""
    try:
        facts = parse(POLLED, found[2], None)
    except Exception as error:
        if not is_poison(error):
            raise
        return None
    if facts is None or facts.unused is not None or not facts.orders:
        return None
    return facts.orders[0]


def stage(conn: Connection, at: Reading, found: Sequence[Found], parse: Parse) -> int:
    """Put orders aside as the channel has them; of one that is there already the newer version counts."""
    newest: dict[str, ChannelOrder] = {}
    for each in found:
        order = read_order(each, parse)
        if order is not None and (order.ref not in newest or newest[order.ref].version_at <= order.version_at):
            newest[order.ref] = order
    orders = [newest[ref] for ref in sorted(newest)]
    refunds = [distinct_refunds(order.refunds) for order in orders]
    return execute(
        conn,
        """
        insert into staged_orders as s (shop_id, run_id, channel_ref, is_there, name, version_at, placed_at,
            is_cancelled, lines, units, total_minor, currency, refunds, refunded_minor)
        select %(shop)s, %(run)s, n.ref, true, n.name, n.version_at, n.placed_at, n.is_cancelled, n.lines, n.units,
            n.total, n.currency, n.refunds, n.refunded
        from unnest(%(refs)b::text[], %(names)b::text[], %(versions)b::timestamptz[], %(placed)b::timestamptz[],
            %(cancelled)b::bool[], %(lines)b::int4[], %(units)b::int8[], %(totals)b::int8[], %(currencies)b::text[],
            %(refunds)b::int4[], %(refunded)b::int8[])
            as n (ref, name, version_at, placed_at, is_cancelled, lines, units, total, currency, refunds, refunded)
        on conflict (shop_id, run_id, channel_ref) do update set is_there = true, name = excluded.name,
            version_at = excluded.version_at, placed_at = excluded.placed_at, is_cancelled = excluded.is_cancelled,
            lines = excluded.lines, units = excluded.units, total_minor = excluded.total_minor,
            currency = excluded.currency, refunds = excluded.refunds, refunded_minor = excluded.refunded_minor
        where s.version_at is null or s.version_at <= excluded.version_at
        """,
        shop=at.shop_id,
        run=at.run_id,
        refs=[order.ref for order in orders],
        names=[order.name for order in orders],
        versions=[order.version_at for order in orders],
        placed=[order.placed_at for order in orders],
        cancelled=[order.cancelled_at is not None for order in orders],
        lines=[sum(line.units > 0 for line in order.lines) for order in orders],
        units=[sum(line.units for line in order.lines) if order.tells_units else None for order in orders],
        totals=[order.total_minor for order in orders],
        currencies=[order.currency for order in orders],
        refunds=[len(each) for each in refunds],
        refunded=[sum(refund.amount_minor for refund in each) for each in refunds],
    )


def ask_for(conn: Connection, at: Reading, horizon: timedelta | None) -> tuple[int, int]:
    """Note which orders are to be asked for one by one: returns (how many, how many more are too old to be shown).

    What we have from the window and the channel did not show, and what differed before and lies outside of it.
    """
    row = fetch_one(
        conn,
        """
        with suspect as (
            select o.channel_ref, o.name, o.placed_at from orders o
            where o.shop_id = %(shop)s and o.connection_id = %(connection)s and o.placed_at >= %(since)s
                -- What we learned of while it was read may have come after its page.
                and o.placed_at < %(began)s and o.recorded_at < %(began)s and o.version_at < %(began)s
            union
            select d.subject ->> 'ref', d.subject ->> 'name', o.placed_at from discrepancies d
            left join orders o on o.shop_id = d.shop_id and o.connection_id = d.connection_id
                and o.channel_ref = d.subject ->> 'ref'
            where d.shop_id = %(shop)s and d.connection_id = %(connection)s and d.kind in ('order', 'refund')
                and d.state = 'open'
        ), unseen as (
            select u.* from suspect u
            where not exists (select from staged_orders s where s.shop_id = %(shop)s and s.run_id = %(run)s
                and s.channel_ref = u.channel_ref)
        ), added as (
            insert into staged_orders (shop_id, run_id, channel_ref, name, placed_at, verdict)
            select distinct on (channel_ref) %(shop)s, %(run)s, channel_ref, name, placed_at, 'differs'
            from unseen where placed_at is null or %(shown)s::timestamptz is null or placed_at >= %(shown)s
            order by channel_ref, placed_at
            returning 1
        )
        select (select count(*) from added) as added,
            (select count(*) from unseen where placed_at < %(shown)s::timestamptz) as hidden
        """,
        shop=at.shop_id,
        run=at.run_id,
        connection=at.connection_id,
        since=at.since_at,
        began=at.began_at,
        shown=None if horizon is None else at.began_at - horizon,
    )
    assert row is not None
    return row["added"], row["hidden"]


def still_to_ask(conn: Connection, at: Reading, limit: int) -> list[str]:
    """The next orders that the channel is to be asked for."""
    rows = fetch(
        conn,
        """
        select channel_ref from staged_orders where shop_id = %(shop)s and run_id = %(run)s and is_there is null
        order by channel_ref limit %(limit)s
        """,
        shop=at.shop_id,
        run=at.run_id,
        limit=limit,
    )
    return [row["channel_ref"] for row in rows]


def note_gone(conn: Connection, at: Reading, refs: Sequence[str]) -> int:
    """Note of those the channel was asked for and did not show that it has none; returns how many."""
    return execute(
        conn,
        """
        update staged_orders set is_there = false
        where shop_id = %(shop)s and run_id = %(run)s and channel_ref = any(%(refs)b::text[]) and is_there is null
        """,
        shop=at.shop_id,
        run=at.run_id,
        refs=sorted(refs),
    )


def leave_out(conn: Connection, at: Reading, refs: Sequence[str]) -> int:
    """Do not compare orders that the channel has and that cannot be read; returns how many."""
    return execute(
        conn,
        """
        delete from staged_orders
        where shop_id = %(shop)s and run_id = %(run)s and channel_ref = any(%(refs)b::text[]) and is_there is null
        """,
        shop=at.shop_id,
        run=at.run_id,
        refs=sorted(refs),
    )


def counts(conn: Connection, shop_id: int, run_id: int) -> RowMapping:
    """How many orders were looked at, are there, differ, are on their way or are real; for progress and the result."""
    row = fetch_one(
        conn,
        """
        select count(*) as orders, count(*) filter (where is_there) as theirs,
            count(*) filter (where verdict = 'real') as real,
            count(*) filter (where verdict = 'in_flight') as in_flight,
            count(*) filter (where is_there is null) as to_ask
        from staged_orders where shop_id = %(shop)s and run_id = %(run)s
        """,
        shop=shop_id,
        run=run_id,
    )
    assert row is not None
    return row
