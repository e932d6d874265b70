"""A recovery is released by what each of its works takes; what was discarded can be taken back."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0033_recovery.sql"))
