"""Ids at targets carry the shop's mark; what only lacks a setting of the connection stays as it was told."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0049"
down_revision = "0048"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0049_target_ids.sql"))
