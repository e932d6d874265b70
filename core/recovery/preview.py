"""What a requeue would do, before anybody does it: what is still needed, whom it bothers, how long it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.db import fetch
from core.recovery.choosing import MEANT, Check, Chosen, obstacle_of, parameters, token_of
from core.recovery.costs import Allowance, Costs, allowances_of, costs_of
from core.recovery.money import moves_money
from core.recovery.pacing import Pace, asked_for, pace
from core.recovery.works import JobWork, Rows, job_works, rows_meant
from core.runs import words

STILL_THE_SAME = 3
"""So many failures of a cause in the last minutes, and none that went well since: it persists."""
LAST_MINUTES = timedelta(minutes=15)

_WRITES = ("stock.push", "stock.feed", "shipments.confirm")


@dataclass(frozen=True, slots=True)
class QuotaUse:
    """What a recovery takes of a connection's quota, by what runs of the same jobs took that went well.

    `units` (points, requests) is None where no such run was measured. Where all operations share a bucket, `operation`
    is None and `has` what the channel last said is left of it. Where each has a rate of its own, it is the one that is
    tightest, and `has` what that gives in a minute.
    """

    connection_id: int
    connection: str
    unit: str
    units: float | None
    has: float | None
    operation: str | None = None

    @property
    def share(self) -> float | None:
        """Of what is left of a bucket; above 1 it does not last."""
        return None if self.operation is not None or self.units is None or not self.has else self.units / self.has


@dataclass(frozen=True, slots=True)
class Preview:
    """What a requeue would do now; hand `token` back to do exactly that.

    `items` are failures, `works` the pieces of work to be begun. Of the items `needed` are still needed, `superseded`
    were made moot by a later run or message, `under_way` are being done again already. `to_begin` of the items are done
    again; of these `repeated` are messages that say what a later one has told: they have their turn all the same, and
    change nothing. `to_close` are failures of jobs that a later run made moot. `money_calls` of the works may move
    money. `obstacles` hold work up or keep it from being queued; `warning` says that the cause persists. `is_possible`:
    there is something that may be queued or closed.
    """

    token: str
    items: int
    works: int
    needed: int
    superseded: int
    under_way: int
    to_begin: int
    repeated: int
    to_close: int
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

    Without `per_minute` the pace is worked out from quota and measured speed, so that live work is not starved. Raises
    BadInput too for a pace that is none.
    """
    return plan(conn, shop_id, parameters(conn, shop_id, chosen), check, now, per_minute).seen


class Plan(NamedTuple):
    """What was `seen`, and what does it: the `jobs` to be begun, and the pace."""

    seen: Preview
    jobs: list[JobWork]
    pace: Pace


def plan(
    conn: Connection,
    shop_id: int,
    meant: Mapping[str, Any],
    check: Check,
    now: datetime,
    per_minute: float | None = None,
) -> Plan:
    """The preview of the failures meant, the jobs that are to be begun, and at what pace."""
    items, token = token_of(conn, meant)
    jobs, rows = job_works(conn, meant), rows_meant(conn, meant)
    to_begin = [work for work in jobs if work.items and not work.is_under_way]
    begun = [work for work in jobs if work.items and work.is_under_way]
    under_way = sum(work.items for work in begun) + sum(row.under_way for row in rows)
    superseded = sum(work.moot for work in jobs) + sum(row.moot for row in rows)
    works = len(to_begin) + sum(row.to_begin for row in rows)
    to_close = sum(work.moot for work in jobs)
    costs = costs_of(conn, shop_id, to_begin, now)
    allowed = allowances_of(conn, shop_id, [work.connection_id for work in to_begin if work.connection_id is not None])
    paced = pace(conn, shop_id, to_begin, rows, costs, allowed, asked_for(per_minute))
    refused = obstacle_of([(work.function, work.arguments) for work in to_begin], check)
    obstacles = refused + _held(conn, shop_id, to_begin, rows)
    found = Preview(
        token=token,
        items=items,
        works=works,
        needed=items - superseded,
        superseded=superseded,
        under_way=under_way,
        to_begin=sum(work.items for work in to_begin) + sum(row.to_begin for row in rows),
        repeated=sum(row.moot_to_begin for row in rows),
        to_close=to_close,
        money_calls=sum(moves_money(work.function) for work in to_begin),
        quota=tuple(_quota(conn, shop_id, to_begin, costs, allowed)),
        per_minute=paced.per_minute,
        seconds_to_drain=works * 60.0 / paced.per_minute,
        obstacles=tuple(obstacles),
        warning=_persists(conn, meant, now),
        is_possible=works + to_close > 0 and not refused,
    )
    return Plan(found, to_begin, paced)


def _quota(
    conn: Connection, shop_id: int, works: Sequence[JobWork], costs: Costs, allowed: Mapping[int, Allowance]
) -> list[QuotaUse]:
    """What the works take of each connection's quota."""
    of_connection: dict[int, list[JobWork]] = {}
    for work in works:
        if work.connection_id is not None:
            of_connection.setdefault(work.connection_id, []).append(work)
    if not of_connection:
        return []
    rows = fetch(
        conn,
        """
        select c.id, c.name, case c.vendor when 'shopify' then 'points' else 'requests' end as unit
        from connections c where c.shop_id = %(shop)s and c.id = any(%(ids)b::int8[]) order by c.id
        """,
        shop=shop_id,
        ids=sorted(of_connection),
    )
    found = []
    for row in rows:
        units = _wanted(of_connection[row["id"]], costs)
        has = allowed.get(row["id"], Allowance())
        tightest = has.tightest(units or {})
        if tightest is None:
            in_all = None if units is None else sum(units.values())
            found.append(QuotaUse(row["id"], row["name"], row["unit"], in_all, has.left))
        else:
            operation, wanted, there = tightest
            found.append(QuotaUse(row["id"], row["name"], row["unit"], wanted, there, operation))
    return found


def _wanted(works: Sequence[JobWork], costs: Costs) -> dict[str, float] | None:
    """Units by operation for all works; None where no run of any was measured. What was not measured takes the mean."""
    known = [(work, cost) for work in works if (cost := costs.get((work.function, work.connection_id))) is not None]
    if not known:
        return None
    total: dict[str, float] = {}
    for work, cost in known:
        for name, units in cost.units_for(work).items():
            total[name] = total.get(name, 0.0) + units
    return {name: units * len(works) / len(known) for name, units in total.items()}


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
        select k.function, c.name as connection, count(*) as times, max(f.at) as last_at, exists (
            select from api_calls a
            where a.shop_id = %(shop)s and a.connection_id = k.connection_id and a.outcome = 'ok'
                and a.called_at > max(f.at)
        ) as is_answered
        from failures f
        join failure_kinds k on k.shop_id = f.shop_id and k.id = f.kind_id
        left join connections c on c.shop_id = k.shop_id and c.id = k.connection_id
        where f.shop_id = %(shop)s and f.at > %(since)s and f.state in ('open', 'superseded', 'requeued')
            and f.kind_id in (select distinct f.kind_id from failures f where {MEANT})
            and not exists (
                select from job_runs r
                where r.subject = f.subject and did_its_work(r.outcome, r.business) and r.started_at > f.at
            )
            -- Once the same job is answered again, it is over.
            and not exists (
                select from job_runs failed join api_calls a on a.shop_id = f.shop_id
                    and a.connection_id = k.connection_id and a.called_at > failed.ended_at and a.outcome = 'ok'
                    and a.purpose = k.function
                where f.source = 'job' and failed.id = f.item_id
            )
        group by k.function, c.name, k.connection_id having count(*) >= %(times)s order by times desc limit 1
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
        f"{words.function(row['function'])}{where} failed {row['times']:,} times the same way in the last"
        f" {int(LAST_MINUTES.total_seconds() // 60)} minutes, last {when}: {_advice(row)}"
    )


def _advice(row: RowMapping) -> str:
    if row["is_answered"]:
        return f"{row['connection']} has answered other calls since: go on if it was only away."
    return "repair the cause first."
