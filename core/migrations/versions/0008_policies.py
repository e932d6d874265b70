"""Channel rules: who may sell how much of what, in versions; categories of SKUs."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0008_policies.sql"))
