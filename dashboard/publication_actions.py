"""What a person does with products that wait at a channel: one core operation each, the ring after it, a sentence."""

from __future__ import annotations

from collections.abc import Sequence

from core.audit import Actor
from core.clock import utc_now
from core.connections.queries import connection
from core.db import unit_of_work
from core.messaging.doorbell import Lane
from core.publication import operations, queries
from core.publication.operations import NothingToRelease
from core.publication.queries import UnknownLink
from dashboard import formats
from dashboard.connection_actions import Application, application

__all__ = ["application", "release"]


def release(app: Application, shop_id: int, connection_id: int, link_ids: Sequence[int], actor: Actor) -> str:
    """Have products that wait tried again, all in one unit of work. Raises NothingToRelease where none of them can be;
    of several, those that cannot are left as they are, and named."""
    left: list[str] = []
    with unit_of_work(app.engine) as conn:
        row = connection(conn, shop_id, connection_id)
        names = queries.names(conn, row, link_ids)
        for link_id in sorted(link_ids):
            try:
                operations.release_link(conn, row, link_id, actor, utc_now())
            except NothingToRelease as refused:
                left.append(f"{names[link_id]} ({refused.why})")
            except UnknownLink:
                # Nobody had told whose it was, and it was deleted there.
                left.append("one that is not there any more")
        if len(left) == len(link_ids):
            raise NothingToRelease("; ".join(left) or "no product was chosen")
    app.doorbell.ring(Lane("products", shop_id, connection_id))
    done = len(link_ids) - len(left)
    beside = f" {formats.plural(len(left), 'product')} could not be: {'; '.join(left)}." if left else ""
    return f"{formats.plural(done, 'product')} will be tried again with the next turn.{beside}"
