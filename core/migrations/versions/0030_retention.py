"""How long what is past is kept, and the one way by which messages may be forgotten."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0030_retention.sql"))
