"""The desk: documents of receipts, adjustments, counts, transfers, returns, purchase orders and quarantine."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0009_desk.sql"))
