"""What doing a job again takes: of time, and of its connection's quota, by what runs of it took that went well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection

from core.db import fetch
from core.recovery.works import JobWork

MEASURED_OVER = timedelta(hours=24)
CALLS_MAX = 5_000
"""So many of a connection's newest calls are looked at: they tell what a run takes, and are read at once."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run of a job for a connection takes. `units` by operation: points, or calls where the vendor has none.

    `named` is how many things such a run was about, on average: one that is about more takes more.
    """

    seconds: float
    units: Mapping[str, float]
    named: float = 1.0

    def units_for(self, work: JobWork) -> dict[str, float]:
        """What this piece of work takes, by operation."""
        return {name: units * _named(work.arguments) / self.named for name, units in self.units.items()}

    @property
    def in_all(self) -> float:
        """Of all operations together."""
        return sum(self.units.values())


def _named(arguments: Mapping[str, object]) -> int:
    """How many things a job's arguments name: its `refs`, with commas, or the one that it is about."""
    return len(str(arguments.get("refs") or "").split(","))


Costs = Mapping[tuple[str, int | None], Cost]


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a channel lets us take, by its last words. Of a bucket that all operations share `left`; of rates, each
    operation's own, `a_minute` by operation: what it gives in a minute, whatever there is of it just now."""

    left: float | None = None
    a_minute: Mapping[str, float] = field(default_factory=dict)

    def tightest(self, units: Mapping[str, float]) -> tuple[str | None, float, float] | None:
        """The operation for which it is tightest (None: all of them), what of it is wanted, and what there is."""
        rates = [(name, wanted, self.a_minute[name]) for name, wanted in units.items() if self.a_minute.get(name)]
        if rates:
            return max(rates, key=lambda each: each[1] / each[2])
        return None if not self.left else (None, sum(units.values()), self.left)


def costs_of(conn: Connection, shop_id: int, works: Sequence[JobWork], now: datetime) -> Costs:
    """By function and connection, as far as runs that went well say; what failed took what it took for nothing."""
    functions = sorted({work.function for work in works})
    if not functions:
        return {}
    rows = fetch(
        conn,
        """
        with told as (
            select c.id as connection_id, a.purpose, a.operation, a.outcome, coalesce(a.cost, 1) as units, a.called_at
            from connections c
            cross join lateral (
                select n.purpose, n.operation, n.outcome, n.cost, n.called_at from api_calls n
                where n.shop_id = c.shop_id and n.connection_id = c.id and n.called_at > %(since)s
                order by n.called_at desc limit %(calls)s
            ) a
            where c.shop_id = %(shop)s and c.id = any(%(ids)b::int8[])
        ),
        windows as (
            select connection_id, case when count(*) < %(calls)s then %(since)s else min(called_at) end as since
            from told group by 1
        ),
        spent as (
            select connection_id, purpose, jsonb_object_agg(operation, units) as units
            from (
                select connection_id, purpose, operation, sum(units) as units from told
                where outcome = 'ok' and purpose = any(%(functions)b::text[]) group by 1, 2, 3
            ) s
            group by 1, 2
        ),
        ran as (
            select r.function, c.id as connection_id,
                avg(extract(epoch from r.ended_at - r.started_at))::float8 as seconds,
                avg(cardinality(string_to_array(coalesce(nullif(r.arguments ->> 'refs', ''), '-'), ',')))::float8
                    as named,
                count(*) filter (where w.since is null or r.started_at >= w.since) as runs
            from job_runs r
            left join connections c on c.shop_id = %(shop)s and c.id::text = r.arguments ->> 'connection_id'
            left join windows w on w.connection_id = c.id
            where r.started_at > %(since)s and r.function = any(%(functions)b::text[]) and r.outcome = 'finished'
                and coalesce(r.arguments ->> 'shop_id', %(shop)s::text) = %(shop)s::text
            group by 1, 2
        )
        select ran.function, ran.connection_id, ran.seconds, ran.named, ran.runs, s.units
        from ran left join spent s on s.connection_id = ran.connection_id and s.purpose = ran.function
        """,
        shop=shop_id,
        functions=functions,
        ids=sorted({work.connection_id for work in works if work.connection_id is not None}),
        since=now - MEASURED_OVER,
        calls=CALLS_MAX,
    )
    return {
        (row["function"], row["connection_id"]): Cost(
            row["seconds"],
            {name: units / max(row["runs"], 1) for name, units in (row["units"] or {}).items()},
            row["named"],
        )
        for row in rows
    }


def allowances_of(conn: Connection, shop_id: int, connection_ids: Sequence[int]) -> dict[int, Allowance]:
    """What each channel has, by what it said within the last hour."""
    rows = fetch(
        conn,
        """
        select connection_id, operation, quota_left from operation_quota
        where shop_id = %(shop)s and connection_id = any(%(ids)b::int8[]) and quota_left is not null
        order by connection_id, last_at desc, operation
        """,
        shop=shop_id,
        ids=sorted(set(connection_ids)),
    )
    said: dict[int, list[tuple[str, str]]] = {}
    for row in rows:
        said.setdefault(row["connection_id"], []).append((row["operation"], row["quota_left"]))
    return {connection_id: allowance(words) for connection_id, words in said.items()}


def allowance(said: Sequence[tuple[str, str]]) -> Allowance:
    """By operation and its words, newest first: `1500 of 2000` of a shared bucket, `0.5/s` of a rate of its own."""
    rates = {name: float(words.removesuffix("/s")) * 60 for name, words in said if words.endswith("/s")}
    buckets = [words for _, words in said if " of " in words]
    return Allowance(float(buckets[0].split(" of ")[0]) if buckets else None, rates)
