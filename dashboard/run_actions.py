"""What a person does about runs and schedules: one core operation each, the ring, and a sentence of what happened.

The rows are committed first. A ring that finds no Redis loses nothing: the sweep of runs rings again.
"""

from __future__ import annotations

import logging

from core.audit import Actor
from core.clock import utc_now
from core.db import unit_of_work
from core.errors import Retryable
from core.reconciliation import cancelling
from core.runs import control, scheduling
from core.runs.queries import RUN_JOBS
from dashboard.actions import Application, application

__all__ = ["application", "cancel_sync", "pause_schedule", "resume_schedule", "retry_sync", "run_schedule"]

log = logging.getLogger(__name__)


def cancel_sync(app: Application, shop_id: int, run_id: int, actor: Actor) -> str:
    """Stop a sync. Raises as `control.cancel`."""
    with unit_of_work(app.engine) as conn:
        is_over = control.cancel(conn, shop_id, run_id, actor, utc_now())
    return f"Sync run {run_id} is stopped." if is_over else f"Sync run {run_id} stops at its next step."


def retry_sync(app: Application, shop_id: int, run_id: int, actor: Actor) -> str:
    """Have a failed sync, or comparison, done again. Raises as `cancelling.retry_any`."""
    with unit_of_work(app.engine) as conn:
        new = cancelling.retry_any(conn, shop_id, run_id, actor, utc_now())
    rung = _ring(app, RUN_JOBS[new["kind"]], shop_id=shop_id, connection_id=new["connection_id"], sync_run_id=new["id"])
    return f"Sync run {new['id']} does it again. {_when(rung)}"


def run_schedule(app: Application, shop_id: int, name: str, actor: Actor) -> str:
    """Ask for a turn of a schedule now. Raises as `scheduling.request_run`."""
    with unit_of_work(app.engine) as conn:
        scheduling.request_run(conn, shop_id, name, actor, utc_now())
    return f"A turn of {name} is asked for. {_when(_ring(app, 'schedules.ring'))}"


def pause_schedule(app: Application, shop_id: int, name: str, actor: Actor) -> str:
    """Pause a schedule. Raises as `scheduling.pause`."""
    with unit_of_work(app.engine) as conn:
        scheduling.pause(conn, shop_id, name, actor, utc_now())
    return f"{name} is paused: nothing of it begins from now on."


def resume_schedule(app: Application, shop_id: int, name: str, actor: Actor) -> str:
    """Resume a schedule. Raises as `scheduling.resume`."""
    with unit_of_work(app.engine) as conn:
        scheduling.resume(conn, shop_id, name, actor, utc_now())
    return f"{name} runs again, by its rhythm."


def _when(is_rung: bool) -> str:
    return "It begins within seconds." if is_rung else "Redis does not answer: it begins when Redis is back."


def _ring(app: Application, job: str, **arguments: object) -> bool:
    try:
        app.queue.enqueue(job, **arguments)
    except Retryable as error:
        log.warning("%s is not rung for, the sweep will: %s", job, error)
        return False
    return True
