"""Stock that channels keep themselves."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0019_external.sql"))
