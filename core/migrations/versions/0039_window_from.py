"""From when a window counts is noted with it: what the shop decides later holds for later orders."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0039_window_from.sql"))
