"""The distinct pieces of work behind failures: jobs are rings, so that one repetition makes good all of a kind."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from core.db import fetch, scalar
from core.recovery.choosing import MEANT
from core.runs.schedules import work_behind


@dataclass(slots=True)
class JobWork:
    """A job to be done again. `keys` are those under which its failures are on record; `items` the failures that are
    still needed, `moot` the others; `item_id` the newest."""

    function: str
    arguments: Mapping[str, object]
    connection_id: int | None
    item_id: int
    items: int
    moot: int
    keys: list[UUID] = field(default_factory=list)
    is_under_way: bool = False


@dataclass(frozen=True, slots=True)
class Rows:
    """Messages or notices: each is a piece of work of its own. Of the `items`, `moot` say what a later one has told
    (`moot_to_begin` of these are not under way), and `under_way` are being done again already."""

    source: str
    connection_id: int | None
    function: str
    items: int
    moot: int
    under_way: int
    moot_to_begin: int

    @property
    def to_begin(self) -> int:
        """How many are to have another turn."""
        return self.items - self.under_way


def job_works(conn: Connection, meant: Mapping[str, Any]) -> list[JobWork]:
    """The distinct jobs behind the failures meant. A schedule's ring stands for the job that it rings for."""
    rows = fetch(
        conn,
        f"""
        with meant as materialized (
            select f.work_key, f.item_id, f.at, f.subject, f.kind_id from failures f where {MEANT} and f.source = 'job'
        ), done as (
            select s.subject, (
                select max(r.started_at) from job_runs r
                where r.subject = s.subject and did_its_work(r.outcome, r.business)
            ) as done_at
            from (select distinct subject from meant) s
        ), works as (
            select m.work_key, max(m.item_id) as item_id, max(m.kind_id) as kind_id, count(*) as items,
                count(*) filter (where m.at < d.done_at) as moot
            from meant m join done d using (subject) group by m.work_key
        )
        select w.work_key, w.item_id, w.items, w.moot, r.function, r.arguments, k.connection_id
        from works w join job_runs r on r.id = w.item_id
        join failure_kinds k on k.shop_id = %(shop)s and k.id = w.kind_id
        order by w.item_id
        """,
        **meant,
    )
    works: dict[str, JobWork] = {}
    for row in rows:
        function, arguments = work_behind(row["function"], row["arguments"], meant["shop"])
        key = f"{function}:{json.dumps(arguments, sort_keys=True)}"
        work = works.get(key)
        if work is None:
            work = works[key] = JobWork(function, arguments, row["connection_id"], 0, 0, 0)
        work.item_id = max(work.item_id, row["item_id"])
        work.items += row["items"] - row["moot"]
        work.moot += row["moot"]
        work.keys.append(row["work_key"])
    found = list(works.values())
    for place in _under_way(conn, meant["shop"], found):
        found[place].is_under_way = True
    return found


def moot_runs(conn: Connection, meant: Mapping[str, Any], *, lock: bool = False) -> list[int]:
    """The failed runs meant whose work a later run has done, in the order of their keys; locked if asked."""
    rows = fetch(
        conn,
        f"""
        with meant as materialized (
            select f.item_id, f.at, f.subject from failures f where {MEANT} and f.source = 'job'
        ), done as (
            select s.subject, (
                select max(r.started_at) from job_runs r
                where r.subject = s.subject and did_its_work(r.outcome, r.business)
            ) as done_at
            from (select distinct subject from meant) s
        )
        select r.id from job_runs r
        where r.resolution is null and r.id in (
            select m.item_id from meant m join done d using (subject) where m.at < d.done_at)
        order by r.id {"for update" if lock else ""}
        """,
        **meant,
    )
    return [row["id"] for row in rows]


def rows_meant(conn: Connection, meant: Mapping[str, Any]) -> list[Rows]:
    """Messages and notices among the failures meant, added up by what they are about."""
    found = fetch(
        conn,
        f"""
        select f.source, k.connection_id, k.function, count(*) as items, count(*) filter (where f.is_moot) as moot,
            count(w.work_key) as under_way, count(*) filter (where f.is_moot and w.work_key is null) as moot_to_begin
        from failures f
        join failure_kinds k on k.shop_id = f.shop_id and k.id = f.kind_id
        left join recovery_works w on w.shop_id = f.shop_id and w.source = f.source and w.work_key = f.work_key
            and w.state in ('waiting', 'released')
        where {MEANT} and f.source <> 'job' group by 1, 2, 3 order by 1, 2, 3
        """,
        **meant,
    )
    return [Rows(**row) for row in found]


def arrays(works: Sequence[JobWork]) -> dict[str, list[Any]]:
    """Functions and arguments of some works, to travel to the database."""
    return {
        "functions": [work.function for work in works],
        "arguments": [json.dumps(dict(work.arguments)) for work in works],
    }


WORK_KEY = "md5(w.function || (w.arguments::jsonb)::text)::uuid"
"""What names a job's work, of a row `w`: the same as the trigger that files failed runs makes of them."""


def _under_way(conn: Connection, shop_id: int, works: Sequence[JobWork]) -> set[int]:
    """The places of those works that a recovery is already at."""
    sql = """
        select exists (select from recovery_works where shop_id = %(shop)s and source = 'job'
            and state in ('waiting', 'released'))
    """
    if not works or not scalar(conn, sql, shop=shop_id):
        return set()
    rows = fetch(
        conn,
        f"""
        select w.place::int - 1 as place
        from unnest(%(functions)b::text[], %(arguments)b::text[]) with ordinality as w (function, arguments, place)
        join recovery_works o on o.shop_id = %(shop)s and o.source = 'job' and o.work_key = {WORK_KEY}
            and o.state in ('waiting', 'released')
        """,
        shop=shop_id,
        **arrays(works),
    )
    return {row["place"] for row in rows}
