"""The day closed: one report for each shop and business day, and its corrections."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0026_reports.sql"))
