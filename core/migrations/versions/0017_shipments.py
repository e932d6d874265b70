"""Shipments that a channel is to be told of, and who ships an order."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0017_shipments.sql"))
