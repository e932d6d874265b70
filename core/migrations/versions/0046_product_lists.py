"""Products by status, vendor or type, in order of title."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0046"
down_revision = "0045"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0046_product_lists.sql"))
