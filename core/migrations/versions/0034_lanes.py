"""The oldest message of a lane is found by the index of its lane, however much waits elsewhere."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0034_lanes.sql"))
