"""Which pool a location belongs to, and what the set-up screen shows."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0010_places.sql"))
