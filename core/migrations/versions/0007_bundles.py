"""Bundles, local promises with a deadline, returns taken at the desk, and what each listing may show of its pool."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0007_bundles.sql"))
