"""What the screen of commission rules shows: parties, rules, assignments and their versions."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0039"
down_revision = "0036"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0039_commission_rule_views.sql"))
