"""Reads: runs, discrepancies, policies; and why two numbers differ, as SQL over sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.db import fetch, fetch_one
from core.errors import BadInput
from core.reconciliation.rules import Policy

# rules.classify, over a relation with the columns of rules.Sight.
CAUSE = """
    case
        when not {s}.is_found or {s}.points_elsewhere or {s}.shown_units is null then 'mapping'
        when {s}.accounted_units is null or {s}.is_older then null
        when {s}.is_doubted and {s}.shown_units is distinct from {s}.open_to then 'lost_write'
        when {s}.shown_units = {s}.accounted_units then null
        when ({s}.is_open or {s}.landing_max is not null) and {s}.shown_units <= greatest({s}.accounted_units,
            {s}.landing_max, case when {s}.is_open then case when {s}.open_from is null then {s}.open_to
                else {s}.accounted_units + {s}.open_to - {s}.open_from end end) then 'in_flight'
        when not {s}.is_passed then 'sale_unseen'
        when {s}.shown_units - {s}.accounted_units = {s}.last_from - {s}.last_to then 'lost_write'
        when {s}.accounted_units - {s}.shown_units between 1 and {s}.restocked_units then 'real_loss'
        else 'channel_edit'
    end
"""


def cause_of(relation: str) -> str:
    """SQL for the cause of each row of a relation that has the columns of `rules.Sight`."""
    return CAUSE.format(s=relation)


# What decides on the cause of a listing `l` of a connection `c`, besides what was read: columns of rules.Sight.
FACTS = """
    left join listing_writes w on w.shop_id = l.shop_id and w.listing_id = l.id and w.outcome is null
        and w.sent_at is not null
    left join lateral (
        select max(o.to_units) as units from overtaken_writes(l.shop_id, l.id) o
    ) late on true
    left join lateral (
        select v.to_units, v.outcome_at, coalesce(v.from_units, (
            select b.to_units from listing_writes b
            where b.shop_id = v.shop_id and b.listing_id = v.listing_id and b.id < v.id and b.outcome = 'confirmed'
            order by b.id desc limit 1)) as from_units
        from listing_writes v
        where v.shop_id = l.shop_id and v.listing_id = l.id and v.outcome = 'confirmed' order by v.id desc limit 1
    ) last on true
    left join lateral (
        select sum(x.asked_units) as units from exposure_changes x
        where x.shop_id = l.shop_id and x.listing_id = l.id and x.cause = 'restock'
            and x.changed_at > coalesce(last.outcome_at, '-infinity')
    ) back on true
"""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page of discrepancies ends: the last one's."""

    last_seen_at: datetime
    discrepancy_id: int


State = Literal["open", "accepted", "resolved", "living"]


def policy(conn: Connection, shop_id: int, connection_id: int) -> Policy:
    """What is corrected by itself at a connection; the default where nobody has said."""
    row = fetch_one(
        conn,
        """
        select corrects, corrections_max, zeroed_max, zeroed_percent, every_hours from reconciliation_policies
        where shop_id = %(shop)s and connection_id = %(id)s
        """,
        shop=shop_id,
        id=connection_id,
    )
    if row is None:
        return Policy()
    return Policy(
        frozenset(row["corrects"]),
        row["corrections_max"],
        row["zeroed_max"],
        row["zeroed_percent"],
        row["every_hours"],
    )


def discrepancies(
    conn: Connection,
    shop_id: int,
    *,
    connection_id: int | None = None,
    kind: str | None = None,
    cause: str | None = None,
    action: str | None = None,
    code: str | None = None,
    state: State = "living",
    limit: int = 50,
    after: Position | None = None,
) -> Sequence[RowMapping]:
    """Rows of `discrepancy_list`, those seen last first, by page; `after` is the position of the last one shown."""
    return fetch(
        conn,
        """
        select * from discrepancy_list
        where shop_id = %(shop)s
            and (%(connection)s::int8 is null or connection_id = %(connection)s)
            and (%(kind)s::text is null or kind = %(kind)s)
            and (%(cause)s::text is null or cause = %(cause)s)
            and (%(action)s::text is null or action = %(action)s)
            and (%(code)s::text is null or code = %(code)s)
            and case %(state)s when 'living' then state <> 'resolved' else state = %(state)s end
            and (%(at)s::timestamptz is null or (last_seen_at, discrepancy_id) < (%(at)s, %(id)s))
        order by last_seen_at desc, discrepancy_id desc limit %(limit)s
        """,
        shop=shop_id,
        connection=connection_id,
        kind=kind,
        cause=cause,
        action=action,
        code=code,
        state=state,
        at=None if after is None else after.last_seen_at,
        id=None if after is None else after.discrepancy_id,
        limit=limit,
    )


def history(conn: Connection, shop_id: int, discrepancy_id: int, limit: int = 200) -> Sequence[RowMapping]:
    """What became of one discrepancy, oldest first."""
    return fetch(
        conn,
        """
        select id, at, what, cause, ours, theirs, who, words from discrepancy_events
        where shop_id = %(shop)s and discrepancy_id = %(id)s order by id limit %(limit)s
        """,
        shop=shop_id,
        id=discrepancy_id,
        limit=limit,
    )


def run(conn: Connection, shop_id: int, sync_run_id: int) -> RowMapping | None:
    """The comparing run that belongs to a sync run."""
    return fetch_one(
        conn,
        "select * from reconciliation_runs where shop_id = %(shop)s and sync_run_id = %(run)s",
        shop=shop_id,
        run=sync_run_id,
    )


def due(conn: Connection, now: datetime) -> Sequence[tuple[int, int]]:
    """(shop_id, connection_id) of every active connection whose stock is to be compared by now, by its policy.

    Not before its catalogue was read and taken over; a run that failed is tried again after a quarter of its time.
    """
    rows = fetch(
        conn,
        """
        select c.shop_id, c.id from connections c
        left join reconciliation_policies q on q.shop_id = c.shop_id and q.connection_id = c.id
        cross join lateral (
            select make_interval(hours => case when q.shop_id is null then 24 else q.every_hours end) as every
        ) p
        where c.state = 'active' and c.catalogue_read_at < %(now)s - p.every and not exists (
            select from reconciliation_runs r where r.shop_id = c.shop_id and r.connection_id = c.id
                and r.kind = 'stock' and (r.ended_at is null or (r.sku_id is null
                    and r.requested_at > %(now)s - p.every / case when r.state = 'failed' then 4 else 1 end)))
        order by 1, 2
        """,
        now=now,
    )
    return [(row["shop_id"], row["id"]) for row in rows]


def living_connections(conn: Connection) -> Sequence[tuple[int, int]]:
    """(shop_id, connection_id) of every connection with a living discrepancy of stock that may have changed."""
    rows = fetch(
        conn,
        """
        select distinct shop_id, connection_id from discrepancies
        where state <> 'resolved' and kind = 'stock' and listing_id is not null order by 1, 2
        """,
    )
    return [(row["shop_id"], row["connection_id"]) for row in rows]


class UnknownSku(BadInput):
    """No SKU of that code is listed at the connection."""

    def __init__(self, code: str, connection: str) -> None:
        super().__init__(f"{code!r} is not listed at {connection}: give the code of a SKU that is")
