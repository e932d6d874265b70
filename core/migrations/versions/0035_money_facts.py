"""What an order's money consists of: taxes of each line, codes, carriage and taxes given back."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0035_money_facts.sql"))
