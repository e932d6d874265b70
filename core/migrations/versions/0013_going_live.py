"""Going live safely: shadow mode, the switch that stops all writes, take-overs on record."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0013_going_live.sql"))
