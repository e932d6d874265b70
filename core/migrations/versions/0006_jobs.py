"""What became of failed jobs and parked messages, and the views of the Jobs screen."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0006_jobs.sql"))
