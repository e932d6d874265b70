"""What targets are to be told of the catalogue, what they confirmed, and the jobs that told it."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0042_targets.sql"))
