"""What is wrong with a file and what applying it would do, counted while it is read; lists of few items among many."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0047"
down_revision = "0046"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0047_import_sums.sql"))
