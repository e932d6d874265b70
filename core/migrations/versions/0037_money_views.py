"""What screens read of money: balances, statements, splits of orders, what is held and why."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0037_money_views.sql"))
