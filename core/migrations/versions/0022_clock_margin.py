"""How far a channel's clocks may be apart stands with the connection."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0022_clock_margin.sql"))
