"""Counts for monitoring that never fall."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0005_tallies.sql"))
