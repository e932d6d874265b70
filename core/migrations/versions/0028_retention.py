"""Who is told of what, and what each was told."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0028_retention.sql"))
