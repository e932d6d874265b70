"""What is worked out in sets: the stock of order lines, and tables that have outgrown their statistics."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0003_sets.sql"))
