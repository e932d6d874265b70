"""What the screen of commission rules shows: parties, rules, assignments and their versions."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0038_commission_rule_views.sql"))
