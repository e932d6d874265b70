"""How much is open of each cause, counted as it changes, so that screens stay quick whatever has failed."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0031_counts.sql"))
