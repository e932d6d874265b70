"""A comparing run's life: asked for, begun, what it reads staged page by page with the place it goes on from, ended.

At most one of a kind is open at a connection. A run that is killed is given out again with its sync run, and reads on
behind the page that was staged last: page and cursor are one unit of work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from core.db import execute, fetch, fetch_one
from core.ports import ChannelListing, LevelObservation

READ_AT_ONCE = 500
"""Listings that are asked for together: a page of the road by levels, whatever calls the channel makes of it."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A run that is reading. `cursor`: where it goes on, in the words of its road; None: from the beginning."""

    shop_id: int
    id: int
    connection_id: int
    sync_run_id: int
    sku_id: int | None
    state: str
    road: str | None
    cursor: str | None
    observed: int


@dataclass(frozen=True, slots=True)
class Observed:
    """What was read of one place; `channel_ref` and `code` where the road tells them."""

    level: LevelObservation
    channel_ref: str | None = None
    code: str | None = None


def begin(conn: Connection, shop_id: int, sync_run_id: int, now: datetime) -> Reading | None:
    """Begin a run that was asked for, or go on with it; None for one that has ended."""
    row = fetch_one(
        conn,
        """
        update reconciliation_runs set state = case state when 'queued' then 'reading' else state end,
            started_at = coalesce(started_at, %(now)s), error = null
        where shop_id = %(shop)s and sync_run_id = %(run)s and ended_at is null
        returning shop_id, id, connection_id, sync_run_id, sku_id, state, road, cursor, observed
        """,
        shop=shop_id,
        run=sync_run_id,
        now=now,
    )
    return None if row is None else Reading(**row)


def take_road(conn: Connection, reading: Reading, road: str) -> None:
    """Choose how it is read, and begin anew: what was read by another road is forgotten."""
    _forget(conn, reading)
    execute(
        conn,
        """
        update reconciliation_runs set road = %(road)s, cursor = null, pages = 0, observed = 0, listings_until = (
            select max(l.id) from listings l where l.shop_id = %(shop)s and l.connection_id = %(connection)s)
        where shop_id = %(shop)s and id = %(id)s
        """,
        shop=reading.shop_id,
        id=reading.id,
        connection=reading.connection_id,
        road=road,
    )


def stage(conn: Connection, reading: Reading, page: Sequence[Observed], cursor: str) -> int:
    """Keep a page of what was read, and where reading goes on; returns how much is read by now."""
    newest: dict[tuple[str, str], Observed] = {}
    for item in page:
        key = (item.level.inventory_ref, item.level.location_ref)
        if key not in newest or newest[key].level.observed_at <= item.level.observed_at:
            newest[key] = item
    ordered = [newest[key] for key in sorted(newest)]
    execute(
        conn,
        """
        insert into reconciliation_observations as o
            (shop_id, run_id, inventory_ref, location_ref, channel_ref, code, units, observed_at)
        select %(shop)s, %(run)s, item, place, ref, code, units, at
        from unnest(%(items)b::text[], %(places)b::text[], %(refs)b::text[], %(codes)b::text[], %(units)b::int4[],
            %(ats)b::timestamptz[]) as n (item, place, ref, code, units, at)
        on conflict (shop_id, run_id, inventory_ref, location_ref) do update set units = excluded.units,
            observed_at = excluded.observed_at, channel_ref = excluded.channel_ref, code = excluded.code
            where o.observed_at <= excluded.observed_at
        """,
        shop=reading.shop_id,
        run=reading.id,
        items=[item.level.inventory_ref for item in ordered],
        places=[item.level.location_ref for item in ordered],
        refs=[item.channel_ref for item in ordered],
        codes=[item.code for item in ordered],
        units=[item.level.units for item in ordered],
        ats=[item.level.observed_at for item in ordered],
    )
    row = fetch_one(
        conn,
        """
        update reconciliation_runs set cursor = %(cursor)s, pages = pages + 1, observed = observed + %(count)s
        where shop_id = %(shop)s and id = %(id)s returning observed
        """,
        shop=reading.shop_id,
        id=reading.id,
        cursor=cursor,
        count=len(ordered),
    )
    assert row is not None
    return int(row["observed"])


def of_listings(page: Sequence[ChannelListing]) -> list[Observed]:
    """What a page of a catalogue tells of each place, with the listing's own names."""
    return [Observed(level, item.ref, item.code) for item in page for level in item.levels]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Listings to be asked for: their refs in the channel's words, and the last one's id."""

    refs: Sequence[str]
    last_id: int


def to_read(conn: Connection, reading: Reading, after_id: int) -> Wanted | None:
    """The next listings that we write, by id; None when there are no more."""
    rows = fetch(
        conn,
        """
        select l.id, coalesce(l.inventory_ref, l.channel_ref) as ref from listings l
        where l.shop_id = %(shop)s and l.connection_id = %(connection)s and l.publishing = 'on' and l.id > %(after)s
            and (%(sku)s::int8 is null or l.sku_id = %(sku)s)
        order by l.id limit %(limit)s
        """,
        shop=reading.shop_id,
        connection=reading.connection_id,
        sku=reading.sku_id,
        after=after_id,
        limit=READ_AT_ONCE,
    )
    return Wanted([row["ref"] for row in rows], rows[-1]["id"]) if rows else None


def have_read(conn: Connection, reading: Reading, now: datetime) -> bool:
    """Everything is read: it is compared now, and not read again should that be interrupted.

    False, and nothing is concluded, where a channel told of none at all of the listings that we write there.
    """
    return (
        execute(
            conn,
            """
            update reconciliation_runs r set state = 'comparing', read_at = %(now)s, cursor = null
            where r.shop_id = %(shop)s and r.id = %(id)s and (r.observed > 0 or r.sku_id is not null or not exists (
                select from listings l where l.shop_id = r.shop_id and l.connection_id = r.connection_id
                    and l.publishing = 'on'))
            """,
            shop=reading.shop_id,
            id=reading.id,
            now=now,
        )
        == 1
    )


def finish(conn: Connection, reading: Reading, now: datetime) -> None:
    """End a run that has compared all it read, and forget what was staged."""
    _forget(conn, reading)
    execute(
        conn,
        """
        update reconciliation_runs set state = 'done', ended_at = %(now)s
        where shop_id = %(shop)s and id = %(id)s and ended_at is null
        """,
        shop=reading.shop_id,
        id=reading.id,
        now=now,
    )


def fail(conn: Connection, shop_id: int, run_id: int, error: str, now: datetime) -> None:
    """End a run that came to nothing; what it read closes nothing."""
    execute(
        conn,
        """
        with ended as (
            update reconciliation_runs set state = 'failed', ended_at = %(now)s, error = %(error)s
            where shop_id = %(shop)s and id = %(id)s and ended_at is null returning 1
        )
        delete from reconciliation_observations
        where shop_id = %(shop)s and run_id = %(id)s and exists (select from ended)
        """,
        shop=shop_id,
        id=run_id,
        error=error[:4000],
        now=now,
    )


def close_orphans(conn: Connection, now: datetime) -> int:
    """End the runs whose sync run was given up, its worker dead too often, or stopped by a person; returns how many."""
    rows = fetch(
        conn,
        """
        select r.shop_id, r.id,
            coalesce(y.error, 'stopped by ' || y.cancel_asked_by || ': ' || y.cancel_reason) as error
        from reconciliation_runs r
        join sync_runs y on y.shop_id = r.shop_id and y.id = r.sync_run_id and y.state not in ('queued', 'running')
        where r.ended_at is null order by r.shop_id, r.id for update of r skip locked
        """,
    )
    for row in rows:
        fail(conn, row["shop_id"], row["id"], row["error"] or "its run ended without it", now)
    return len(rows)


def _forget(conn: Connection, reading: Reading) -> None:
    execute(
        conn,
        "delete from reconciliation_observations where shop_id = %(shop)s and run_id = %(id)s",
        shop=reading.shop_id,
        id=reading.id,
    )
