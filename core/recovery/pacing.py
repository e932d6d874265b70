"""At what pace failed work is done again: each piece by what it takes, so that live work goes first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from core.db import fetch
from core.errors import BadInput
from core.recovery.costs import Allowance, Costs
from core.recovery.works import JobWork, Rows

SPARE_SHARE = 0.25
"""Of the quota that a connection has now, what a recovery takes in a minute: live work keeps the rest."""
JOBS_A_MINUTE = 60.0
MESSAGES_A_MINUTE = 600.0
NOTICES_A_MINUTE = 60.0
BUSY_SHARE = 0.5
"""Of the measured speed of a queue, what a recovery takes."""
SLOWEST_JOB = 0.1
"""Whatever a job takes, one goes out in ten minutes."""
PER_MINUTE_MIN = 0.01
PER_MINUTE_MAX = 60_000.0


@dataclass(frozen=True, slots=True)
class Pace:
    """Pieces of work a minute, and how many average ones a piece stands for: a job by its place among the jobs to be
    begun, messages and notices by source and connection."""

    per_minute: float
    of_jobs: Sequence[float]
    of_rows: Mapping[tuple[str, int | None], float] = field(default_factory=dict)


def asked_for(per_minute: float | None) -> float | None:
    """A pace that a person names. Raises BadInput for one that is none."""
    if per_minute is not None and not 0 < per_minute <= PER_MINUTE_MAX:
        raise BadInput(f"a pace is more than 0 and at most {PER_MINUTE_MAX:,.0f} a minute, not {per_minute:g}")
    return per_minute


def pace(
    conn: Connection,
    shop_id: int,
    works: Sequence[JobWork],
    rows: Sequence[Rows],
    costs: Costs,
    allowed: Mapping[int, Allowance],
    per_minute: float | None,
) -> Pace:
    """As a person asked, every piece alike; else as long as all pieces take one after the other, each at its own pace.

    What is dear goes out seldom then, however much that is cheap is done along with it.
    """
    if per_minute is not None:
        return Pace(per_minute, [1.0] * len(works))
    ids = {work.connection_id for work in works} | {row.connection_id for row in rows}
    others = _others(conn, shop_id, ids)
    of_jobs = [others.get(work.connection_id, 1) / _job_pace(work, costs, allowed) for work in works]
    drained = _drained(conn, shop_id, [row.connection_id for row in rows if row.connection_id is not None])
    of_rows = {
        (row.source, row.connection_id): others.get(row.connection_id, 1)
        / (drained.get(row.connection_id, MESSAGES_A_MINUTE) if row.source == "message" else NOTICES_A_MINUTE)
        for row in rows
    }
    count = len(works) + sum(row.to_begin for row in rows)
    minutes = sum(of_jobs) + sum(row.to_begin * of_rows[row.source, row.connection_id] for row in rows)
    if not minutes:
        return Pace(JOBS_A_MINUTE, [])
    found = max(round(count / minutes, 2), PER_MINUTE_MIN)
    return Pace(
        found,
        [each * count / minutes for each in of_jobs],
        {key: each * count / minutes for key, each in of_rows.items()},
    )


def _others(conn: Connection, shop_id: int, connection_ids: set[int | None]) -> dict[int | None, int]:
    """By how much less of a connection is free for each recovery that is at it already: half of the half, and so on, so
    that all together never take more than twice what one does."""
    rows = fetch(
        conn,
        """
        select w.connection_id, count(distinct w.recovery_id) as recoveries
        from recoveries v join recovery_works w on w.shop_id = v.shop_id and w.recovery_id = v.id
        where v.shop_id = %(shop)s and v.ended_at is null and v.state = 'running' and w.state = 'waiting'
            and w.connection_id = any(%(ids)b::int8[]) group by 1
        """,
        shop=shop_id,
        ids=sorted(each for each in connection_ids if each is not None),
    )
    return {row["connection_id"]: 2 ** row["recoveries"] for row in rows}


def _job_pace(work: JobWork, costs: Costs, allowed: Mapping[int, Allowance]) -> float:
    cost = costs.get((work.function, work.connection_id))
    if cost is None:
        return JOBS_A_MINUTE
    found = min(JOBS_A_MINUTE, BUSY_SHARE * 60 / cost.seconds) if cost.seconds > 0 else JOBS_A_MINUTE
    has = allowed.get(work.connection_id or 0, Allowance())
    if (tightest := has.tightest(cost.units)) is not None and tightest[1] > 0:
        found = min(found, SPARE_SHARE * tightest[2] / tightest[1])
    return max(found, SLOWEST_JOB)


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
