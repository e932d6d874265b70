"""Oversell risk on screen, shortages on record, alerts on exposure."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0012_oversell.sql"))
