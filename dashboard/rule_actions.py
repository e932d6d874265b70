"""What a person does on the Channel rules screen: one core operation each, the ring, and the version it made."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from core.audit import Actor
from core.clock import utc_now
from core.db import unit_of_work
from core.errors import Retryable
from core.policies import operations
from core.policies.queries import Change
from dashboard.actions import Application

log = logging.getLogger(__name__)

REPLAN_JOB = "policies.replan"


def save(app: Application, shop_id: int, changes: Sequence[Change], token: str, actor: Actor) -> int:
    """Save rules as they were previewed; returns the version. Raises RulesChanged, NothingToChange, BadRule."""
    with unit_of_work(app.engine) as conn:
        version_id = operations.save(conn, shop_id, changes, actor, utc_now(), token=token)
    _ring(app, shop_id)
    return version_id


def undo(app: Application, shop_id: int, version_id: int, actor: Actor) -> int:
    """Take a version back; returns the version that does. Raises CannotUndo, BadRule."""
    with unit_of_work(app.engine) as conn:
        new_id = operations.undo(conn, shop_id, version_id, actor, utc_now())
    _ring(app, shop_id)
    return new_id


def _ring(app: Application, shop_id: int) -> None:
    try:
        app.queue.enqueue(REPLAN_JOB, shop_id=shop_id)
    except Retryable as error:
        # The version is committed: the sweep rings for it when Redis is back.
        log.warning("the re-plan of shop %s was not rung, the sweep will: %s", shop_id, error)
