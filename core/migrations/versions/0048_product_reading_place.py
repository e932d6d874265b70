"""A reading of all products of a channel is taken up where it was."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0048"
down_revision = "0047"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0048_product_reading_place.sql"))
