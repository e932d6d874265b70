"""The views that the dashboard reads, and the indexes that keep them fast on big tables."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0002_views.sql"))
