"""Imports of products: files on their way into the catalogue, and how their columns were mapped."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0045"
down_revision = "0044"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0045_imports.sql"))
