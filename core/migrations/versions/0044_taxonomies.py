"""Which entry of Google's, Shopify's and Klaviyo's categories each category is."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0044"
down_revision = "0043"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0044_taxonomies.sql"))
