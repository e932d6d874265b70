"""Alerts with states, subjects and a history; who is told of them, and how."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0023_alerts.sql"))
