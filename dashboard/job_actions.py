"""What a person does on the Jobs screen: one core operation each, the ring, and a sentence that says what happened.

The rows are committed first. A ring that finds no Redis loses nothing: the sweep rings for what the rows promise.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Protocol

from sqlalchemy import Engine

from core import bootstrap
from core.audit import Actor
from core.clock import utc_now
from core.db import read_only, unit_of_work
from core.errors import Retryable
from core.messaging import parked
from core.messaging.doorbell import Doorbell, Lane
from core.ports import Broker, JobQueue
from core.runs import failures

log = logging.getLogger(__name__)


class Application(Protocol):
    """What these acts need: rows, queue, bell, and the broker's registries."""

    @property
    def engine(self) -> Engine: ...

    @property
    def queue(self) -> JobQueue: ...

    @property
    def doorbell(self) -> Doorbell: ...

    @property
    def broker(self) -> Broker: ...


def application() -> Application:
    """The process's own application, put together once."""
    return bootstrap.application()


def plan_jobs(app: Application, shop_id: int, chosen: failures.Chosen) -> failures.Plan:
    """What a requeue or a discard would do now."""
    with read_only(app.engine) as conn:
        return failures.plan(conn, shop_id, chosen, app.queue.check)


def requeue_jobs(app: Application, shop_id: int, chosen: failures.Chosen, token: str, actor: Actor) -> str:
    """Have the work of failed jobs done again. Raises failures.FactsChanged, BadInput."""
    with unit_of_work(app.engine) as conn:
        done = failures.requeue(conn, shop_id, chosen, token, actor, utc_now(), app.queue.check)
    rung = [_told(partial(app.queue.enqueue_once, w.ref, w.function, w.arguments)) for w in done.works]
    _told(lambda: app.broker.take_back(done.refs))
    works = _many(len(done.works), "piece of work is", "pieces of work are")
    when = "queued again" if all(rung) else "kept; Redis does not answer, so it begins when Redis is back"
    return f"{_many(done.jobs, 'failed job is', 'failed jobs are')} dealt with: {works} {when}."


def discard_jobs(app: Application, shop_id: int, chosen: failures.Chosen, token: str, actor: Actor) -> str:
    """Give failed jobs up. Raises failures.FactsChanged."""
    with unit_of_work(app.engine) as conn:
        done = failures.discard(conn, shop_id, chosen, token, actor, utc_now())
    _told(lambda: app.broker.take_back(done.refs))
    return f"{_many(done.jobs, 'failed job is', 'failed jobs are')} discarded. Who and why is on record."


def plan_messages(app: Application, shop_id: int, chosen: parked.Chosen) -> parked.Plan:
    """What another turn or a discard would touch now."""
    with read_only(app.engine) as conn:
        return parked.plan(conn, shop_id, chosen)


def requeue_messages(app: Application, shop_id: int, chosen: parked.Chosen, token: str, actor: Actor) -> str:
    """Give parked messages another turn. Raises parked.MessagesChanged."""
    with unit_of_work(app.engine) as conn:
        messages = parked.requeue(conn, shop_id, chosen, token, actor, utc_now())
    is_rung = app.doorbell.ring(Lane("events", shop_id, chosen.connection_id))
    when = "It begins within seconds." if is_rung else "Redis does not answer: it begins when Redis is back."
    return f"{_many(messages, 'message has', 'messages have')} another turn. {when}"


def discard_messages(app: Application, shop_id: int, chosen: parked.Chosen, token: str, actor: Actor) -> str:
    """Give parked messages up. Raises parked.MessagesChanged."""
    with unit_of_work(app.engine) as conn:
        messages = parked.discard(conn, shop_id, chosen, token, actor, utc_now())
    return f"{_many(messages, 'message is', 'messages are')} discarded, and kept word for word with who and why."


def _told(tell: Callable[[], object]) -> bool:
    try:
        tell()
    except Retryable as error:
        log.warning("the broker was not told: %s", error)
        return False
    return True


def _many(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
