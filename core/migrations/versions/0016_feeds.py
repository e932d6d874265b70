"""Bulk submissions of quantities, and which road each write took."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0016_feeds.sql"))
