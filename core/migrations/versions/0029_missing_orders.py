"""Orders and refunds that are missing here or at their channel."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0029_missing_orders.sql"))
