"""Parties, commission rules, what every line comes to, and the ledger that it is posted to."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0036_ledger.sql"))
    op.execute(sql_of("0036_guards.sql"))
