"""Changes that must reach several systems, a leg for each."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0014_changes.sql"))
