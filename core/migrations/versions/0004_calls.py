"""The views of outgoing calls, and the indexes that keep their page fast at any number of them."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0004_calls.sql"))
