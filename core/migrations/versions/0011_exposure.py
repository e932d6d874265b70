"""Exposure, the watermark, and how a pool is shared."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0011_exposure.sql"))
