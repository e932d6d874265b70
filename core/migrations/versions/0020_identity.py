"""Which SKU an identifier means."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0020_identity.sql"))
