"""Sync runs with their speed, and schedules that are run now, paused and caught up."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0027_runs.sql"))
