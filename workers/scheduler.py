"""The process that rings by the clock: `python -m workers.scheduler`. It holds nothing that could be lost.

rq-scheduler keeps its entries in Redis, where FLUSHALL removes them, and loses one when it dies at the wrong moment.
Our loop therefore compares Redis with the table of `workers.schedule` every second. Any number of them may run.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from datetime import UTC, datetime
from typing import Any

import redis
from rq.utils import as_text
from rq_scheduler import Scheduler
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from core import logs
from core.adapters.rq import JOB_QUEUES, SwJob
from core.config import Settings
from core.db import make_engine, read_only
from core.runs import queries
from core.runs.schedules import ENTRY_PREFIX, SCHEDULES, Schedule

log = logging.getLogger(__name__)

LOOP_SECONDS = 1.0
PAUSES_SECONDS = 5.0
FAILURE_SECONDS = 86400
# An entry that is to ring later than its rhythm says was written by a clock that has been put back since.
AHEAD_SECONDS = 60


class Ringer:
    """Keeps rq-scheduler's entries like our table, and has it ring what is due."""

    def __init__(self, connection: redis.Redis, schedules: tuple[Schedule, ...] = SCHEDULES) -> None:
        self._connection = connection
        self._schedules = {schedule.entry_id: schedule for schedule in schedules}
        self._scheduler = Scheduler(connection=connection, interval=1, job_class=SwJob)
        # Entries of an earlier version are looked at once; later only what is missing is put back.
        self._known_alike: set[str] = set()

    def turn(self, paused: set[str]) -> int:
        """One round: re-sync, heartbeat, ring what is due. Returns how many entries were written or cancelled."""
        if not self._connection.exists(self._scheduler.key):
            self._scheduler.register_birth()
        changes = self.sync(paused)
        self._scheduler.heartbeat()
        if self._scheduler.acquire_lock():
            try:
                self._scheduler.enqueue_jobs()
            finally:
                self._scheduler.remove_lock()
        return changes

    def sync(self, paused: set[str]) -> int:
        """Write missing and changed entries, cancel those that left the table or are paused."""
        wanted = {id_: entry for id_, entry in self._schedules.items() if entry.name not in paused}
        present = self._present()
        stale = {id_ for id_ in present.keys() - wanted.keys() if id_.startswith(ENTRY_PREFIX)}
        for id_ in sorted(stale):
            self._scheduler.cancel(id_)
        # Writing an entry moves its next ring to now, so only what differs is written.
        latest = time.time() + AHEAD_SECONDS
        differing = {
            id_
            for id_, entry in wanted.items()
            if id_ not in present or present[id_] > latest + entry.ring_seconds or not self._is_alike(id_, entry)
        }
        for id_ in sorted(differing):
            self._write(id_, wanted[id_])
        return len(stale) + len(differing)

    def end(self) -> None:
        """Say that this scheduler is gone."""
        self._scheduler.register_death()

    def _present(self) -> dict[str, float]:
        """When each entry rings next, in seconds since 1970."""
        found: Any = self._connection.zrange(Scheduler.scheduled_jobs_key, 0, -1, withscores=True)
        return {as_text(id_): float(at) for id_, at in found}

    def _is_alike(self, id_: str, schedule: Schedule) -> bool:
        if id_ in self._known_alike:
            return True
        try:
            job = SwJob.fetch(id_, connection=self._connection)
        except Exception as error:  # noqa: BLE001 (unreadable or gone: either way it is written anew)
            log.info("entry %s is written anew: %s", id_, error)
            return False
        alike = (
            job.func_name == schedule.ring_job
            and job.meta.get("interval") == schedule.ring_seconds
            and job.origin == JOB_QUEUES[schedule.job]
        )
        if alike:
            self._known_alike.add(id_)
        return alike

    def _write(self, id_: str, schedule: Schedule) -> None:
        job = self._scheduler.schedule(
            datetime.now(UTC),
            schedule.ring_job,
            interval=schedule.ring_seconds,
            # Longer than to the next ring: with its hash the entry would go, too.
            result_ttl=2 * schedule.ring_seconds + 3600,
            id=id_,
            description=schedule.ring_job,
            queue_name=JOB_QUEUES[schedule.job],
        )
        job.failure_ttl = FAILURE_SECONDS
        job.save()
        self._known_alike.add(id_)


class Pauses:
    """Which schedules people have paused; the last answer counts while the database is away."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._names: set[str] = set()
        self._read_at = float("-inf")

    def names(self) -> set[str]:
        """Names of paused schedules, at most a few seconds old."""
        if time.monotonic() - self._read_at >= PAUSES_SECONDS:
            self._read_at = time.monotonic()
            try:
                with read_only(self._engine) as conn:
                    self._names = queries.paused_schedules(conn)
            except SQLAlchemyError as error:
                log.warning("pauses not read, the former ones stand: %s", error)
        return self._names


def run(settings: Settings, stop: threading.Event) -> None:
    """Ring until `stop` is set; Redis and Postgres may come and go meanwhile."""
    ringer = Ringer(redis.Redis.from_url(settings.redis_url, socket_timeout=5, socket_connect_timeout=2))
    pauses = Pauses(make_engine(settings.database_url, name="switchyard-scheduler", pool_size=1, statement_seconds=5))
    is_redis_away = False
    while not stop.wait(LOOP_SECONDS):
        try:
            changes = ringer.turn(pauses.names())
        except redis.RedisError as error:
            if not is_redis_away:
                log.warning("Redis does not answer, nothing rings: %s", error)
            is_redis_away = True
            continue
        if is_redis_away or changes:
            log.info("ringing; %d entries brought in line", changes)
        is_redis_away = False
    try:
        ringer.end()
    except redis.RedisError as error:
        log.info("leaving without a word to Redis: %s", error)


def main() -> None:
    """Ring until SIGTERM."""
    # rq-scheduler reads clocks in the process's own zone.
    os.environ["TZ"] = "UTC"
    time.tzset()
    logs.configure("scheduler")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    run(Settings.from_environment(), stop)


if __name__ == "__main__":
    main()
