"""What people see of identifiers, feeds and notifications."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0021_mapping.sql"))
