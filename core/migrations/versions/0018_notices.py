"""Queues that channels put their notifications into."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0018_notices.sql"))
