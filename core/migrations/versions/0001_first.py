"""The first tables: connections, messages, stock, listings, orders, runs, and the guards on them."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0001_functions.sql"))
    op.execute(sql_of("0001_tables.sql"))
    op.execute(sql_of("0001_guards.sql"))
