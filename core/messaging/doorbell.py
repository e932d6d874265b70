"""Coalescing rings per lane, and one drain per lane.

A ring only says "there is work in this lane"; the work itself is rows in Postgres. Ring after the commit.

**No ring is swallowed.** For a lane there is a flag in Redis and a lock in Postgres:

- `ring` enqueues the lane's job when it could raise the flag; while the flag is up, rings cost nothing more.
- A drain takes the lock, then lowers the flag, then claims its first rows. So whatever was rung for before is seen by
  the claim, and whatever is rung for later raises the flag again and enqueues another job.
- Such a later job may find the lock taken. It raises the flag again (so that its 30 seconds count from now), tries
  the lock once more, and ends. Only a holder ever lowers the flag, and only right after taking the lock; this job found
  the lock taken with the flag up, hence the holder's own look at the flag, which comes after it let go of the lock,
  finds it up, and the holder enqueues another job.
- A holder that ran out of time with rows left enqueues another job, whatever the flag says.

What remains are deaths: of a holder before its last look, of a worker between taking a job and starting it, of Redis.
Then the flag may stand without a job until it falls by itself. The sweep (every 15 seconds) does not wait for that: it
has seen the rows that wait, so it rings whatever the flag says, at the price of a job too many now and then.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from core.errors import Retryable
from core.ports import PROMISED_RING, JobQueue

log = logging.getLogger(__name__)

FLAG_SECONDS = 30
# A healthy drain ends by its own clock after 20 seconds; a frozen one must not keep its lane for ever.
LOCK_IDLE_SECONDS = 180

# The job that drains a lane of each kind.
LANE_JOBS = {
    "events": "inbox.drain",
    "stock": "stock.push",
    "stock-check": "stock.check",
    # The seats of a target: any of them does all there is to do, several do it at once.
    "targets": "targets.drain",
    "targets-2": "targets.drain_2",
    "targets-3": "targets.drain_3",
    "targets-4": "targets.drain_4",
    "products": "products.push",
}


@dataclass(frozen=True, slots=True)
class Lane:
    """The unit of parallelism: one connection's work of one kind."""

    queue: str
    shop_id: int
    connection_id: int

    @property
    def key(self) -> str:
        """The lane's name, for its flag and its lock."""
        return f"{self.queue}:{self.shop_id}:{self.connection_id}"


class Bell(JobQueue, Protocol):
    """A job queue with flags; every method raises Retryable when it does not answer."""

    def raise_flag(self, key: str, seconds: int, *, only_if_down: bool) -> bool:
        """Set a flag that falls by itself; returns whether it was set now."""

    def lower_flag(self, key: str) -> None:
        """Clear a flag."""

    def flag_is_up(self, key: str) -> bool:
        """Whether a flag is set."""


@dataclass(slots=True)
class Drain:
    """A drain's hold on its lane. `is_held` false: another drain is at work, do nothing. Set `has_more` when rows are
    left at the end."""

    is_held: bool
    has_more: bool = False


class Doorbell:
    """Rings lanes. No method raises: what a dead Redis loses, the sweep repairs."""

    def __init__(self, bell: Bell) -> None:
        self._bell = bell

    def ring(self, lane: Lane, stands: int = FLAG_SECONDS) -> bool:
        """Say that there is work in `lane`; returns False when nobody could be told.

        The flag falls by itself after `stands` seconds: longer than the job waits for a worker, where none may pile up.
        """
        try:
            if not self._bell.raise_flag(_flag(lane), stands, only_if_down=True):
                return True
            self._enqueue(lane)
        except Retryable as error:
            self._give_up(lane, error)
            return False
        return True

    def insist(self, lane: Lane) -> bool:
        """Ring whatever the flag says: for who has seen that rows wait. Returns False when nobody could be told."""
        try:
            self._bell.raise_flag(_flag(lane), FLAG_SECONDS, only_if_down=False)
            self._enqueue(lane)
        except Retryable as error:
            self._give_up(lane, error)
            return False
        return True

    def ring_at(self, lane: Lane, at: datetime) -> bool:
        """Ring when the time has come; one ring a second and lane at most. Returns False when nobody could be told.

        For work that falls due by itself: nobody will ring for it then but the sweep, which comes every 15 seconds.
        """
        ref = f"{PROMISED_RING}{lane.key}-{int(at.timestamp())}".replace(":", "-")
        arguments = {"shop_id": lane.shop_id, "connection_id": lane.connection_id}
        try:
            self._bell.enqueue_at(ref, at, LANE_JOBS[lane.queue], arguments)
        except Retryable as error:
            log.warning("lane %s will not be rung: %s", lane.key, error)
            return False
        return True

    def answer(self, lane: Lane) -> bool:
        """Lower the flag: called by the lane's holder before its first claim."""
        try:
            self._bell.lower_flag(_flag(lane))
        except Retryable as error:
            log.warning("flag of lane %s not lowered: %s", lane.key, error)
            return False
        return True

    @contextmanager
    def draining(self, engine: Engine, lane: Lane) -> Iterator[Drain]:
        """Hold the lane for the length of the block, as argued at the top of this module.

        with doorbell.draining(engine, lane) as drain:
            if not drain.is_held:
                return {"busy": True}
            ... claim and handle until nothing is left or the time is up ...
            drain.has_more = left > 0
        """
        drain = Drain(is_held=False)
        try:
            with lane_lock(engine, lane) as held:
                if held:
                    drain.is_held = True
                    self.answer(lane)
                    yield drain
            if not held:
                with self._second_try(engine, lane) as held:
                    drain.is_held = held
                    if held:
                        self.answer(lane)
                    yield drain
        finally:
            # After the lock is free, also when the block raised.
            if drain.is_held and (drain.has_more or self._is_rung(lane)):
                self.insist(lane)

    @contextmanager
    def _second_try(self, engine: Engine, lane: Lane) -> Iterator[bool]:
        try:
            self._bell.raise_flag(_flag(lane), FLAG_SECONDS, only_if_down=False)
        except Retryable as error:
            log.warning("lane %s not handed on: %s", lane.key, error)
        with lane_lock(engine, lane) as held:
            yield held

    def _enqueue(self, lane: Lane) -> None:
        self._bell.enqueue(LANE_JOBS[lane.queue], shop_id=lane.shop_id, connection_id=lane.connection_id)

    def _give_up(self, lane: Lane, error: Retryable) -> None:
        """An answer that came too late may have raised the flag all the same; without a job it would swallow the next
        rings. Lowering it costs at most a job too many."""
        log.warning("lane %s not rung: %s", lane.key, error)
        self.answer(lane)

    def _is_rung(self, lane: Lane) -> bool:
        try:
            return self._bell.flag_is_up(_flag(lane))
        except Retryable as error:
            log.warning("flag of lane %s not read: %s", lane.key, error)
            return False


@contextmanager
def lane_lock(engine: Engine, lane: Lane, idle_seconds: int = LOCK_IDLE_SECONDS) -> Iterator[bool]:
    """One holder per lane among all processes; yields whether it is us.

    The lock lives on a connection of its own that does nothing else and is really closed afterwards, never given back
    to the pool: it cannot outlive the block. It is let go of before that, since a server ends a closed session only
    when it gets to it. The server frees it at once when the holder is killed, and closes the connection of a holder
    that is frozen, or that says nothing on it, for `idle_seconds`.
    """
    conn = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    name = {"name": f"lane:{lane.key}"}
    held = False
    try:
        conn.detach()
        conn.exec_driver_sql(f"set idle_session_timeout = '{idle_seconds}s'")
        held = bool(conn.exec_driver_sql("select pg_try_advisory_lock(hashtextextended(%(name)s, 0))", name).scalar())
        yield held
    finally:
        try:
            if held:
                conn.exec_driver_sql("select pg_advisory_unlock(hashtextextended(%(name)s, 0))", name)
        except DBAPIError as error:
            log.warning("the lock of lane %s was already gone: %s", lane.key, error.orig)
        finally:
            with suppress(DBAPIError):
                conn.close()


def ring_resumed(queue: JobQueue, doorbell: Doorbell, shop_id: int, connection_id: int) -> None:
    """After a pause: ask at once what the connection sold meanwhile, write what differs, read back what is open.

    Nothing is raised: what a dead Redis loses, the next poll and the sweeps repair.
    """
    try:
        queue.enqueue("connection.poll", shop_id=shop_id, connection_id=connection_id)
    except Retryable as error:
        log.warning("connection %d is polled with the others: %s", connection_id, error)
    for kind in ("stock", "stock-check"):
        doorbell.ring(Lane(kind, shop_id, connection_id))


def _flag(lane: Lane) -> str:
    return f"switchyard:rung:{lane.key}"
