"""Failures of every kind in one place, and what a requeue does about them."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0024_failures.sql"))
