"""Documents: files that people hand in and fetch, kept outside of the database; here is what is known of them."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0040_documents.sql"))
