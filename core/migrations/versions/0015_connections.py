"""What people see of a connection: who used its quota, its subscriptions, its versions."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0015_connections.sql"))
