"""What happens by the clock: the rings of the table in `core.runs.schedules`.

rq-scheduler only rings. Once per period is decided in Postgres: a ring takes its period (`schedule_runs`, unique by
name and period) before it runs the job, so that two schedulers, a repeated ring or an old one do no harm. A lock that
ends with its holder lets one turn of a schedule be at work at a time; the one that finds it held is noted as skipped.
Every schedule rings as a job of its own, named `schedule.` and its name, in the queue and with the timeout of the job
that it runs; the job itself can be run at any other time without asking for a period.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from sqlalchemy import Engine
from sqlalchemy.engine import RowMapping

from core.adapters.rq import REGISTRY, JobSpec, register
from core.clock import utc_now
from core.config import Settings
from core.db import engine_of_jobs, read_only, unit_of_work
from core.logs import bound
from core.messaging.doorbell import Lane, lane_lock
from core.runs import days, operations, queries, scheduling
from core.runs.queries import ShopZone
from core.runs.schedules import SCHEDULES, Schedule

log = logging.getLogger(__name__)

# A day that failed, or whose worker died, is tried again.
DAILY_RETAKE = timedelta(hours=1)
# A job that is killed at its timeout takes a little longer to end.
LOCK_MARGIN_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Period:
    """One turn of a schedule: its unique key, when it was due, and what the job is called with.

    `request` is (shop, number) of a person's wish; such a turn has a key of its own.
    """

    key: str
    due_at: datetime
    arguments: Mapping[str, int]
    request: tuple[int, int] | None = None

    @property
    def scope(self) -> str:
        """The end of the key that says whose turn it is: one shop's, or everybody's (empty)."""
        shop = self.arguments.get("shop_id")
        return "" if shop is None else f":shop:{shop}"


def due_periods(schedule: Schedule, shops: Sequence[ShopZone], now: datetime) -> list[Period]:
    """The last period that is due by `now`, for each shop of a daily one; whether it is still to be run is for Postgres
    to say.

    However many were missed, only the last is there: it is run in the place of all of them. A shop has none from
    before there was a shop.
    """
    after = schedule.daily_after
    if schedule.every_seconds is not None or after is None:
        every = schedule.every_seconds or 1
        number = int(now.timestamp()) // every
        return [Period(str(number), datetime.fromtimestamp(number * every, UTC), {})]
    found = []
    for shop in shops:
        day = days.latest_due_day(now, after, shop.time_zone)
        due = days.due_at(day, after, shop.time_zone)
        if due >= shop.since or day == days.business_day(now, shop.time_zone):
            found.append(Period(f"{day}:shop:{shop.shop_id}", due, {"shop_id": shop.shop_id}))
    return found


def ring(
    schedule: Schedule,
    engine: Engine,
    run: Callable[..., object],
    clock: Callable[[], datetime] = utc_now,
    timeout_seconds: int = 3600,
) -> dict[str, object]:
    """Run what people asked for, then what is due and not taken yet; returns the outcome of each period.

    Raises what `run` raises, at once: after a timeout nothing more may be started. What else is due has its turn at the
    next ring, since the failed period is taken. `timeout_seconds`: the job's own, after which nobody holds the lock.
    """
    outcomes: dict[str, object] = {}
    for period in _to_do(schedule, engine, clock()):
        with _alone(schedule, period, engine, timeout_seconds) as is_alone:
            if not is_alone:
                _skip(schedule, period, engine, clock())
            elif _take(schedule, period, engine, clock()):
                with bound(schedule=schedule.name, period=period.key):
                    outcomes[period.key] = _run(schedule, period, engine, run, clock)
    return outcomes


def _to_do(schedule: Schedule, engine: Engine, now: datetime) -> list[Period]:
    with read_only(engine) as conn:
        shops = queries.shop_zones(conn) if schedule.daily_after is not None else ()
        asked = [_asked(schedule, row) for row in scheduling.waiting_requests(conn, schedule.name)]
        due = [p for p in due_periods(schedule, shops, now) if not scheduling.is_over(conn, schedule.name, p.key, now)]
    return [*asked, *due]


def _asked(schedule: Schedule, row: RowMapping) -> Period:
    shop, number = row["shop_id"], row["id"]
    if schedule.daily_after is None:
        return Period(f"click:{shop}.{number}", row["requested_at"], {}, (shop, number))
    return Period(f"click:{number}:shop:{shop}", row["requested_at"], {"shop_id": shop}, (shop, number))


@contextmanager
def _alone(schedule: Schedule, period: Period, engine: Engine, timeout_seconds: int) -> Iterator[bool]:
    """Whether no other turn of the schedule, for the same shop, is at work; nobody else begins one meanwhile."""
    lane = Lane(schedule.ring_job, period.arguments.get("shop_id", 0), 0)
    with lane_lock(engine, lane, idle_seconds=timeout_seconds + LOCK_MARGIN_SECONDS) as is_held:
        yield is_held


def _skip(schedule: Schedule, period: Period, engine: Engine, now: datetime) -> None:
    # A person's turn waits for the one at work; the clock's gives way, and says so.
    if period.request is None:
        with unit_of_work(engine) as conn:
            scheduling.skip(conn, schedule.name, period.key, period.due_at, now)


def _take(schedule: Schedule, period: Period, engine: Engine, now: datetime) -> bool:
    with unit_of_work(engine) as conn:
        scheduling.settle_dead(conn, schedule.name, period.scope, now)
        if period.request is not None:
            return scheduling.begin_request(conn, *period.request, period.key, now)
        return operations.begin_period(
            conn,
            schedule.name,
            period.key,
            now,
            due_at=period.due_at,
            missed=scheduling.missed(conn, schedule, period.scope, period.due_at, now),
            retake_after=DAILY_RETAKE if schedule.daily_after is not None else None,
            ahead=scheduling.CLOCK_AHEAD,
        )


def _run(
    schedule: Schedule, period: Period, engine: Engine, run: Callable[..., object], clock: Callable[[], datetime]
) -> object:
    outcome, result = "failed", None
    try:
        result = run(**period.arguments)
        outcome = "finished"
        return result
    finally:
        with unit_of_work(engine) as conn:
            operations.finish_period(conn, schedule.name, period.key, outcome, result, clock())


def register_rings() -> None:
    """Make every schedule whose job is declared a job of its own; called when all jobs are declared."""
    for schedule in SCHEDULES:
        declared = REGISTRY.get(schedule.job)
        if declared is None:
            log.warning("schedule %s: no job %s is declared", schedule.name, schedule.job)
        elif schedule.ring_job not in REGISTRY:
            spec = JobSpec(declared.spec.queue, declared.spec.timeout_seconds)
            register(schedule.ring_job, partial(_ring_here, schedule, declared.function, spec.timeout_seconds), spec)


def _ring_here(schedule: Schedule, run: Callable[..., object], timeout_seconds: int) -> dict[str, object]:
    engine = engine_of_jobs(Settings.from_environment().database_url)
    return ring(schedule, engine, run, timeout_seconds=timeout_seconds)
