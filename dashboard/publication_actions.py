"""What a person does with products that wait at a channel: one core operation each, the ring after it, a sentence."""

from __future__ import annotations

from collections.abc import Sequence

from core.audit import Actor
from core.clock import utc_now
from core.connections.queries import connection
from core.db import unit_of_work
from core.messaging.doorbell import Lane
from core.publication import operations
from core.publication.operations import NothingToRelease
from dashboard import formats
from dashboard.connection_actions import Application, application

__all__ = ["application", "release"]


def release(app: Application, shop_id: int, connection_id: int, link_ids: Sequence[int], actor: Actor) -> str:
    """Have products that wait tried again, all in one unit of work. Raises NothingToRelease where none of them can be;
    of several, those that cannot are left as they are."""
    done, why = 0, NothingToRelease("they wait no more")
    with unit_of_work(app.engine) as conn:
        row = connection(conn, shop_id, connection_id)
        for link_id in sorted(link_ids):
            try:
                operations.release_link(conn, row, link_id, actor, utc_now())
            except NothingToRelease as refused:
                why = refused
            else:
                done += 1
        if not done:
            raise why
    app.doorbell.ring(Lane("products", shop_id, connection_id))
    left = len(link_ids) - done
    beside = f" {formats.plural(left, 'product')} could not be: {why}." if left else ""
    return f"{formats.plural(done, 'product')} will be tried again with the next turn.{beside}"
