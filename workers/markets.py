"""Asking a channel where its seller takes part, for whoever reads its orders."""

from __future__ import annotations

from core.bootstrap import Application
from core.clock import utc_now
from core.connections import markets
from core.connections.queries import ConnectionRow
from core.db import unit_of_work
from core.errors import Retryable


def known(app: Application, row: ConnectionRow) -> ConnectionRow:
    """The connection with its marketplaces, asked for where nobody did yet. Raises what the channel raises."""
    return row if markets.is_known(row.settings) else _ask(app, row)


def refreshed(app: Application, row: ConnectionRow) -> ConnectionRow:
    """The connection with its marketplaces as they are now; as they were last where the channel has no time.

    Raises what the channel raises.
    """
    if not row.settings.get("marketplace_id"):
        return row
    try:
        return _ask(app, row)
    except Retryable:
        if not markets.is_known(row.settings):
            raise
        return row


def _ask(app: Application, row: ConnectionRow) -> ConnectionRow:
    asked_at = utc_now()
    with app.channel(row) as channel:
        found = channel.markets()
    with unit_of_work(app.engine) as conn:
        return markets.note(conn, row, found, asked_at)
