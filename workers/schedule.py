"""What happens by the clock: the rings of the table in `core.runs.schedules`.

rq-scheduler only rings. Once per period is decided in Postgres: a ring takes its period (`schedule_runs`, unique by
name and period) before it runs the job, so that two schedulers, a repeated ring or an old one do no harm.
Every schedule rings as a job of its own, named `schedule.` and its name, in the queue and with the timeout of the job
that it runs; the job itself can be run at any other time without asking for a period.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, partial
from zoneinfo import ZoneInfo

from sqlalchemy import Engine

from core.adapters.rq import REGISTRY, JobSpec, register
from core.clock import business_day, utc_now
from core.config import Settings
from core.db import make_engine, read_only, unit_of_work
from core.logs import bound
from core.runs import operations, queries
from core.runs.schedules import SCHEDULES, Schedule

log = logging.getLogger(__name__)

# A day that failed, or whose worker died, is tried again.
DAILY_RETAKE = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Period:
    """One turn of a schedule: its unique key, and what the job is called with."""

    key: str
    arguments: Mapping[str, int]


def due_periods(schedule: Schedule, shops: Sequence[tuple[int, str]], now: datetime) -> list[Period]:
    """The periods that `now` lies in; whether they are still to be run is for Postgres to say."""
    if schedule.every_seconds is not None:
        return [Period(str(int(now.timestamp()) // schedule.every_seconds), {})]
    return [
        Period(f"{business_day(now, zone)}:shop:{shop_id}", {"shop_id": shop_id})
        for shop_id, zone in shops
        if now.astimezone(ZoneInfo(zone)).hour >= (schedule.daily_after_hour or 0)
    ]


def ring(
    schedule: Schedule, engine: Engine, run: Callable[..., object], clock: Callable[[], datetime] = utc_now
) -> dict[str, object]:
    """Run what is due and not taken yet; returns the outcome of each period.

    Raises what `run` raises, at once: after a timeout nothing more may be started. What else is due has its turn at the
    next ring, since the failed period is taken.
    """
    shops: Sequence[tuple[int, str]] = ()
    if schedule.daily_after_hour is not None:
        with read_only(engine) as conn:
            shops = queries.shop_zones(conn)
    outcomes: dict[str, object] = {}
    for period in due_periods(schedule, shops, clock()):
        if _take(schedule, period, engine, clock()):
            with bound(schedule=schedule.name, period=period.key):
                outcomes[period.key] = _run(schedule, period, engine, run, clock)
    return outcomes


def _take(schedule: Schedule, period: Period, engine: Engine, now: datetime) -> bool:
    retake = DAILY_RETAKE if schedule.daily_after_hour is not None else None
    with unit_of_work(engine) as conn:
        return operations.begin_period(conn, schedule.name, period.key, now, retake_after=retake)


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
            register(schedule.ring_job, partial(_ring_here, schedule, declared.function), spec)


def _ring_here(schedule: Schedule, run: Callable[..., object]) -> dict[str, object]:
    return ring(schedule, _engine(Settings.from_environment().database_url), run)


@cache
def _engine(database_url: str) -> Engine:
    return make_engine(database_url, name="switchyard-schedule", pool_size=1, statement_seconds=10)
