"""What a person does about failures: one core operation each, the ring, and a sentence that says what happened.

The rows are committed first. A ring that finds no Redis loses nothing: the sweep rings for what the rows promise.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from core import bootstrap
from core.audit import Actor
from core.clock import utc_now
from core.db import read_only, unit_of_work
from core.errors import Retryable
from core.messaging.doorbell import Lane
from core.ports import Facts
from core.recovery import operations, payloads, taking_back
from core.recovery.choosing import Chosen, Source
from core.recovery.payloads import Payload
from core.recovery.preview import Preview, preview
from dashboard import failure_plans, formats
from dashboard.job_actions import Application, application
from dashboard.people import Shop

log = logging.getLogger(__name__)

__all__ = [
    "application",
    "cancel",
    "discard",
    "edit_and_requeue",
    "look",
    "payload",
    "requeue",
    "show_payload",
    "take_back",
]


def look(app: Application, shop_id: int, chosen: Chosen) -> Preview:
    """What a requeue or a discard would do now."""
    with read_only(app.engine) as conn:
        return preview(conn, shop_id, chosen, app.queue.check, utc_now())


def requeue(
    app: Application, shop: Shop, chosen: Chosen, plan: Preview, actor: Actor, name: str, per_minute: float | None
) -> str:
    """Have the work of failures done again. Raises FactsChanged, NothingToDo, BadInput."""
    now = utc_now()
    with unit_of_work(app.engine) as conn:
        done = operations.requeue(
            conn, shop.id, chosen, plan.token, actor, now, app.queue.check, name=name, per_minute=per_minute
        )
    _told(partial(app.broker.take_back, done.job_refs))
    is_rung = done.recovery_id is None or _told(partial(app.queue.enqueue, "runs.recover"))
    return failure_plans.requeued(done, is_rung, partial(_clock, now, shop.zone))


def _clock(now: datetime, zone: str, seconds: float) -> str:
    return formats.moment(now + timedelta(seconds=seconds), now, zone)


def discard(app: Application, shop_id: int, chosen: Chosen, token: str, actor: Actor) -> str:
    """Give failures up. Raises FactsChanged."""
    with unit_of_work(app.engine) as conn:
        done = operations.discard(conn, shop_id, chosen, token, actor, utc_now())
    _told(partial(app.broker.take_back, done.job_refs))
    given_up = formats.plural(done.items, "failure is", "failures are")
    return f"{given_up} discarded. Who and why is on record."


def cancel(app: Application, shop_id: int, recovery_id: int, actor: Actor) -> str:
    """Begin no more of a recovery. Raises NotRunning."""
    with unit_of_work(app.engine) as conn:
        works = operations.cancel_recovery(conn, shop_id, recovery_id, actor, utc_now())
    return f"Cancelled: {formats.plural(works, 'piece of work is', 'pieces of work are')} not begun and open again."


def take_back(app: Application, shop_id: int, chosen: Chosen, actor: Actor) -> str:
    """Open what was given up again. Raises NotDiscarded."""
    with unit_of_work(app.engine) as conn:
        items = taking_back.take_back(conn, shop_id, chosen, actor, utc_now())
    return (
        f"{formats.plural(items, 'failure is', 'failures are')} open again, to be requeued. Who gave up is on record."
    )


def payload(app: Application, shop_id: int, source: Source, item_id: int) -> Payload:
    """What failed, with what names people covered. Raises UnknownFailure."""
    with read_only(app.engine) as conn:
        return payloads.payload(conn, shop_id, source, item_id)


def show_payload(app: Application, shop_id: int, source: Source, item_id: int, actor: Actor) -> Payload:
    """What failed in full, which is on record with who looked and why. Raises UnknownFailure."""
    with unit_of_work(app.engine) as conn:
        return payloads.show(conn, shop_id, source, item_id, actor, utc_now())


def edit_and_requeue(app: Application, shop_id: int, message_id: int, text: str, actor: Actor) -> str:
    """Handle a mended copy in the place of a parked message. Raises NotEditable, UnknownFailure, BadInput."""
    with unit_of_work(app.engine) as conn:
        copy = payloads.edit_and_requeue(conn, shop_id, message_id, text, actor, utc_now(), _parse, bootstrap.mentions)
    is_rung = app.doorbell.ring(Lane("events", shop_id, copy.connection_id))
    when = "It has its turn within seconds." if is_rung else "Redis does not answer: its turn comes when Redis is back."
    return f"A mended copy takes the message’s place; the original is kept. {when}"


def _parse(
    vendor: str, currency: str, marketplace: str, topic: str, body: bytes, triggered_at: datetime | None
) -> Facts | None:
    found: Facts | None = bootstrap.parser(vendor, currency, {"marketplace_id": marketplace})(topic, body, triggered_at)
    return found


def _told(tell: Callable[[], object]) -> bool:
    try:
        tell()
    except Retryable as error:
        log.warning("the broker was not told: %s", error)
        return False
    return True
