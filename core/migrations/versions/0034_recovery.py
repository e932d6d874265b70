"""A recovery is released by what each of its works takes; what was discarded can be taken back."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0034"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0034_recovery.sql"))
