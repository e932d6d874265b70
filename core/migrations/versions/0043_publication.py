"""Products at channels: who is master of a field, what a channel shows, and every write to one."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0043_publication.sql"))
