"""Products, their variants, categories and metafields, with every version they ever had."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0041_catalogue.sql"))
