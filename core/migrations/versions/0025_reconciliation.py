"""What channels report, held against what we know, and the differences found."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0025_reconciliation.sql"))
