"""What a requeue would do, before anybody does it: what is still needed, whom it bothers, how long it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from core.db import fetch
from core.recovery.choosing import MEANT, Check, Chosen, obstacle_of, parameters, token_of
from core.recovery.money import moves_money
from core.recovery.works import JobWork, Rows, job_works, rows_meant

MEASURED_OVER = timedelta(hours=24)
STILL_THE_SAME = 3
"""So many failures of a cause in the last minutes, and none that went well since: it persists."""
LAST_MINUTES = timedelta(minutes=15)

SPARE_SHARE = 0.25
"""Of the quota that a connection has now, what a recovery takes in a minute: live work keeps the rest."""
JOBS_A_MINUTE = 60.0
MESSAGES_A_MINUTE = 600.0
NOTICES_A_MINUTE = 60.0
BUSY_SHARE = 0.5
"""Of the measured speed of a queue, what a recovery takes."""

_WRITES = ("stock.push", "stock.feed", "shipments.confirm")


@dataclass(frozen=True, slots=True)
class QuotaUse:
    """What a recovery takes of a connection's quota, as runs of the same jobs took of late.

    `units` (points, requests) is None where no run was measured; `has` is what the channel last said it has (a minute's
    worth where it speaks of a rate), `share` the one in terms of the other: above 1 the quota does not last.
    """

    connection_id: int
    connection: str
    unit: str
    units: float | None
    has: float | None

    @property
    def share(self) -> float | None:
        return None if self.units is None or not self.has else self.units / self.has


@dataclass(frozen=True, slots=True)
class Preview:
    """What a requeue would do now; hand `token` back to do exactly that.

    `items` are failures, `works` the pieces of work to be begun. Of the items `needed` are still needed, `superseded`
    were made moot by a later run or message, `under_way` are being done again already. `money_calls` of the works may
    move money. `obstacles` hold work up or keep it from being queued; `warning` says that the cause persists.
    `is_possible`: there is something that may be queued.
    """

    token: str
    items: int
    works: int
    needed: int
    superseded: int
    under_way: int
    money_calls: int
    quota: tuple[QuotaUse, ...]
    per_minute: float
    seconds_to_drain: float
    obstacles: tuple[str, ...]
    warning: str | None
    is_possible: bool


def preview(
    conn: Connection, shop_id: int, chosen: Chosen, check: Check, now: datetime, per_minute: float | None = None
) -> Preview:
    """Count what a requeue or a discard would do; changes nothing. Raises BadInput for a group that there is not.

    Without `per_minute` the pace is worked out from quota and measured speed, so that live work is not starved.
    """
    return plan(conn, shop_id, parameters(conn, shop_id, chosen), check, now, per_minute)[0]


def plan(
    conn: Connection,
    shop_id: int,
    meant: Mapping[str, Any],
    check: Check,
    now: datetime,
    per_minute: float | None = None,
) -> tuple[Preview, list[JobWork]]:
    """The preview of the failures meant, and the jobs that are to be begun."""
    items, token = token_of(conn, meant)
    jobs, rows = job_works(conn, meant), rows_meant(conn, meant)
    to_begin = [work for work in jobs if work.items and not work.is_under_way]
    begun = [work for work in jobs if work.items and work.is_under_way]
    under_way = sum(work.items for work in begun) + sum(row.under_way for row in rows)
    superseded = sum(work.moot for work in jobs) + sum(row.moot for row in rows)
    works = len(to_begin) + sum(row.items - row.under_way for row in rows)
    measured = _measured(conn, shop_id, to_begin, now)
    quota = _quota(conn, shop_id, to_begin, measured)
    pace = per_minute or _pace(conn, shop_id, to_begin, rows, measured, quota)
    refused = obstacle_of([(work.function, work.arguments) for work in to_begin], check)
    obstacles = refused + _held(conn, shop_id, to_begin, rows)
    found = Preview(
        token=token,
        items=items,
        works=works,
        needed=items - superseded,
        superseded=superseded,
        under_way=under_way,
        money_calls=sum(moves_money(work.function) for work in to_begin),
        quota=tuple(quota.values()),
        per_minute=pace,
        seconds_to_drain=works * 60.0 / pace,
        obstacles=tuple(obstacles),
        warning=_persists(conn, meant, now),
        is_possible=works > 0 and not refused,
    )
    return found, to_begin


@dataclass(frozen=True, slots=True)
class _Measure:
    """What a run of a job for a connection takes: of its time, and of the connection's quota."""

    runs: int
    seconds: float
    points: float


Measures = Mapping[tuple[str, int | None], _Measure]


def _measured(conn: Connection, shop_id: int, works: Sequence[JobWork], now: datetime) -> Measures:
    functions = sorted({work.function for work in works})
    if not functions:
        return {}
    rows = fetch(
        conn,
        """
        with ran as (
            select r.function, c.id as connection_id, count(*) as runs,
                avg(extract(epoch from r.ended_at - r.started_at))::float8 as seconds
            from job_runs r
            left join connections c on c.shop_id = %(shop)s and c.id::text = r.arguments ->> 'connection_id'
            where r.started_at > %(since)s and r.function = any(%(functions)b::text[]) and r.outcome is not null
                and coalesce(r.arguments ->> 'shop_id', %(shop)s::text) = %(shop)s::text
            group by 1, 2
        )
        select ran.*, coalesce((
            select sum(q.points) from quota_tallies q
            where q.shop_id = %(shop)s and q.connection_id = ran.connection_id and q.purpose = ran.function
                and q.bucket_at > %(since)s
        ), 0) as points
        from ran
        """,
        shop=shop_id,
        functions=functions,
        since=now - MEASURED_OVER,
    )
    return {
        (row["function"], row["connection_id"]): _Measure(row["runs"], row["seconds"], row["points"] / row["runs"])
        for row in rows
    }


def _quota(conn: Connection, shop_id: int, works: Sequence[JobWork], measured: Measures) -> dict[int, QuotaUse]:
    """What the works take of each connection's quota, by its id."""
    counts: dict[int, list[JobWork]] = {}
    for work in works:
        if work.connection_id is not None:
            counts.setdefault(work.connection_id, []).append(work)
    if not counts:
        return {}
    rows = fetch(
        conn,
        """
        select c.id, c.name, case c.vendor when 'shopify' then 'points' else 'requests' end as unit,
            array(
                select q.quota_left from operation_quota q
                where q.shop_id = c.shop_id and q.connection_id = c.id and q.quota_left is not null
                order by q.last_at desc
            ) as said
        from connections c where c.shop_id = %(shop)s and c.id = any(%(ids)b::int8[]) order by c.id
        """,
        shop=shop_id,
        ids=sorted(counts),
    )
    found = {}
    for row in rows:
        measures = [measured.get((work.function, row["id"])) for work in counts[row["id"]]]
        known = [measure.points for measure in measures if measure is not None]
        units = None if not known else sum(known) * len(measures) / len(known)
        found[row["id"]] = QuotaUse(row["id"], row["name"], row["unit"], units, has_now(row["said"]))
    return found


def has_now(said: Sequence[str]) -> float | None:
    """What is left of a quota by a channel's last words, newest first: `1500 of 2000`, or of rates (`0.5/s`) the
    scarcest as what it allows in a minute. None where nothing is said."""
    rates = [float(words.removesuffix("/s")) * 60 for words in said if words.endswith("/s")]
    if rates:
        return min(rates)
    return float(said[0].split(" of ")[0]) if said else None


def _pace(
    conn: Connection,
    shop_id: int,
    works: Sequence[JobWork],
    rows: Sequence[Rows],
    measured: Measures,
    quota: Mapping[int, QuotaUse],
) -> float:
    """Pieces of work a minute: as long as all parts take one after the other, each at its own pace."""
    minutes = 0.0
    for work in works:
        minutes += 1 / _job_pace(work, measured, quota)
    drained = _drained(conn, shop_id, [row.connection_id for row in rows if row.connection_id is not None])
    for row in rows:
        rate = drained.get(row.connection_id, MESSAGES_A_MINUTE) if row.source == "message" else NOTICES_A_MINUTE
        minutes += (row.items - row.under_way) / rate
    count = len(works) + sum(row.items - row.under_way for row in rows)
    return round(max(count / minutes, 1.0), 1) if minutes else JOBS_A_MINUTE


def _job_pace(work: JobWork, measured: Measures, quota: Mapping[int, QuotaUse]) -> float:
    pace = JOBS_A_MINUTE
    measure = measured.get((work.function, work.connection_id))
    if measure is not None and measure.seconds > 0:
        pace = min(pace, BUSY_SHARE * 60 / measure.seconds)
    use = quota.get(work.connection_id) if work.connection_id is not None else None
    if use is not None and use.has is not None and measure is not None and measure.points > 0:
        pace = min(pace, SPARE_SHARE * use.has / measure.points)
    return max(pace, 0.1)


def _drained(conn: Connection, shop_id: int, connection_ids: Sequence[int]) -> dict[int | None, float]:
    """Messages a minute that a recovery adds to each lane: half of the best minute of the last hour."""
    if not connection_ids:
        return {}
    rows = fetch(
        conn,
        """
        select connection_id, max(drained) as drained from job_lane_minutes
        where shop_id = %(shop)s and connection_id = any(%(ids)b::int8[]) and kind = 'events' group by 1
        """,
        shop=shop_id,
        ids=sorted(set(connection_ids)),
    )
    return {row["connection_id"]: max(60.0, BUSY_SHARE * row["drained"]) for row in rows if row["drained"]}


def _held(conn: Connection, shop_id: int, works: Sequence[JobWork], rows: Sequence[Rows]) -> list[str]:
    """What keeps the work from doing any good now, in sentences."""
    ids = {work.connection_id for work in works} | {row.connection_id for row in rows}
    writes = {work.connection_id for work in works if work.function in _WRITES}
    found = fetch(
        conn,
        """
        select connection_id, connection, state, is_stopped, stopped_by, stop_reason, write_mode
        from connection_switches where shop_id = %(shop)s and connection_id = any(%(ids)b::int8[]) order by 1
        """,
        shop=shop_id,
        ids=sorted(each for each in ids if each is not None),
    )
    said = []
    for row in found:
        if row["state"] != "active":
            said.append(f"{row['connection']} is paused: its work waits until somebody resumes it.")
        elif row["connection_id"] in writes and row["is_stopped"]:
            said.append(
                f"{row['stopped_by']} stopped writes to {row['connection']} ({row['stop_reason']}): nothing leaves."
            )
        elif row["connection_id"] in writes and row["write_mode"] != "live":
            said.append(f"{row['connection']} is in shadow mode: nothing leaves.")
    return said


def _persists(conn: Connection, meant: Mapping[str, Any], now: datetime) -> str | None:
    """A warning where a cause has struck again and again in the last minutes, and nothing went well since."""
    rows = fetch(
        conn,
        f"""
        select k.function, c.name as connection, count(*) as times, max(f.at) as last_at
        from failures f
        join failure_kinds k on k.shop_id = f.shop_id and k.id = f.kind_id
        left join connections c on c.shop_id = k.shop_id and c.id = k.connection_id
        where f.shop_id = %(shop)s and f.at > %(since)s and f.state in ('open', 'superseded', 'requeued')
            and f.kind_id in (select distinct f.kind_id from failures f where {MEANT})
            and not exists (
                select from job_runs r where r.subject = f.subject and r.outcome = 'finished' and r.started_at > f.at
            )
        group by 1, 2 having count(*) >= %(times)s order by times desc limit 1
        """,
        since=now - LAST_MINUTES,
        times=STILL_THE_SAME,
        **meant,
    )
    if not rows:
        return None
    row = rows[0]
    where = f" for {row['connection']}" if row["connection"] else ""
    minutes = max(0, int((now - row["last_at"]).total_seconds() // 60))
    when = "less than a minute ago" if minutes == 0 else f"{minutes} min ago"
    return (
        f"{row['function']}{where} failed {row['times']:,} times the same way in the last"
        f" {int(LAST_MINUTES.total_seconds() // 60)} minutes, last {when}: repair the cause first."
    )
